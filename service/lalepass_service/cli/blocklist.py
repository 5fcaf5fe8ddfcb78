"""`lalepass blocklist ...`."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lalepass_service.cli import console, passwords
from lalepass_service.cli.files import naming

if TYPE_CHECKING:
    from lalepass_service.adapters.blocklist.sources import Reader, Tally

app = typer.Typer(help="Manage lists of passwords that nobody may choose.")

_STDIN: Final = Path("-")
_LINES_A_REPORT: Final = 10_000_000


class Format(StrEnum):
    """What is in the lines of a source. A test compares them with those that can be read."""

    PLAIN = "plain"
    SHA1_HIBP = "sha1-hibp"


_File = Annotated[Path, typer.Argument(metavar="FILE", help="Made by `lalepass blocklist build`.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_Output = Annotated[
    Path, typer.Option(metavar="FILE", help="The file to write; replaced when done.")
]
_Sources = Annotated[
    list[Path], typer.Argument(metavar="SOURCE", help="Files; - is standard input.")
]
_Format = Annotated[
    Format,
    typer.Option(
        "--format",
        metavar="|".join(Format),
        help="A password a line, or the SHA-1 digests of Have I Been Pwned.",
    ),
]


@app.command()
def build(
    sources: _Sources,
    *,
    output: _Output,
    form: _Format = Format.PLAIN,
    as_json: _Json = False,
) -> None:
    """Build a compact list from one or more lists, for `[passwords] blocklists`."""
    from lalepass_service.adapters.blocklist import build as builder  # noqa: PLC0415 - others wait
    from lalepass_service.adapters.blocklist.sources import FORMATS, Tally  # noqa: PLC0415

    if not output.parent.is_dir():
        raise console.WrongUsage(f"{output.parent} is no folder to write to")
    if output.is_dir():
        raise console.WrongUsage(f"{output} is a folder: name the file to be made in it")
    if any(source.exists() and output.exists() and source.samefile(output) for source in sources):
        raise console.WrongUsage(f"{output} is one of the sources: give the result another name")
    algorithm, reader = FORMATS[form]
    tally = Tally()
    batches = _reported(_digests(sources, reader, tally), tally)
    with naming(output):
        built = builder.build(batches, output, algorithm=algorithm)
    left_out = {"not_utf8": tally.not_text, "too_long": tally.too_long}
    if as_json:
        console.say_json(
            {"entries": built.entries, "bytes": built.size, "lines": tally.lines} | left_out
        )
        return
    console.say(f"{output}: {built.entries} entries of {tally.lines} lines, {built.size} bytes")
    for why, number in left_out.items():
        if number:
            console.explain(f"left out: {number} lines that are {why.replace('_', ' ')}")


@app.command()
def check(file: _File, *, password_stdin: passwords.Stdin = False, as_json: _Json = False) -> None:
    """Check whether a password is on a list, as it is or in lower case."""
    from lalepass_service.adapters.blocklist.file import MappedBlocklist  # noqa: PLC0415
    from lalepass_service.core.policy import is_on  # noqa: PLC0415 - see above

    with closing(MappedBlocklist.open(file)) as opened:
        password = passwords.read(stdin=password_stdin, new=False)
        listed = is_on([opened], password)
    if as_json:
        console.say_json({"listed": listed})
    else:
        console.say("the password is on the list" if listed else "the password is not on the list")


@app.command()
def verify(file: _File, *, as_json: _Json = False) -> None:
    """Read a whole list, and check that it is intact."""
    from lalepass_service.adapters.blocklist.file import MappedBlocklist  # noqa: PLC0415

    with closing(MappedBlocklist.open(file)) as opened:
        opened.verify()
        header = opened.header
    form = header.algorithm.name.lower()
    if as_json:
        console.say_json({"entries": header.count, "algorithm": form})
    else:
        console.say(f"{file}: {header.count} entries ({form}), as they were made")


def _digests(sources: Iterable[Path], reader: "Reader", tally: "Tally") -> Iterator[list[bytes]]:
    for source in sources:
        stdin = source == _STDIN
        name = "standard input" if stdin else str(source)
        opened = nullcontext(sys.stdin.buffer) if stdin else source.open("rb")
        with opened as stream:
            yield from reader(stream, name, tally)


def _reported(batches: Iterable[list[bytes]], tally: "Tally") -> Iterator[list[bytes]]:
    """Say from time to time how far it is, for somebody who waits for minutes."""
    said = 0
    for batch in batches:
        yield batch
        if tally.lines - said >= _LINES_A_REPORT:
            said = tally.lines
            console.explain(f"{said} lines are read")
