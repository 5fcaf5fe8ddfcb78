"""`lalepass topology ...`: an installation of many parts, seen from one of them."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lalepass_service.cli import console
from lalepass_service.cli.looking import Looking

if TYPE_CHECKING:
    from lalepass_service.topology.finding import Finding
    from lalepass_service.topology.parts import Address
    from lalepass_service.topology.plan import Plan

app = typer.Typer(help="Check an installation of many parts: what reaches what.")

_WIDEST: Final = 80
_NARROWEST: Final = 40
_INDENT: Final = " " * 6
_ORDER: Final = ("ok", "note", "warn", "fail")
"""The worst last: that is where a terminal stops."""
_LABELS: Final = {"ok": "ok", "note": "note", "warn": "WARN", "fail": "FAIL"}
_CODES: Final = {"ok": 0, "note": 0, "warn": 1, "fail": 2}

_File = Annotated[
    Path, typer.Argument(metavar="FILE", help="Lists the parts; see docs/topology.md.")
]
_From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="NAME",
        help="The part on whose machine this runs, in whose place it looks.",
    ),
]
_Also = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        metavar="NAME=HOST[:PORT]",
        help="Another address of a part, to be checked in the same way.",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback()
def group() -> None:
    """Keep `check` a command of a group, though it is the only one."""


@app.command(cls=Looking)
def check(
    file: _File,
    *,
    name: _From = None,
    also: _Also = None,
    as_json: _Json = False,
) -> None:
    """Check that each part is up, is what it should be, and is reached by nobody else.

    Takes a few seconds at most. Exit codes: 0 all is well, 1 warnings, 2 something is wrong, 3 the
    file or the command line is.
    """
    # pydantic, psycopg and the cipher's library are slow to import.
    from lalepass_service.topology import look, plan  # noqa: PLC0415 - no other command needs it

    read = plan.load(file)
    places = _places(also or [], read)
    if name is None:
        findings = look.from_here(read)
    elif name in read.parts:
        findings = look.from_part(read, name, also=places)
    else:
        raise console.WrongUsage(f"--from: there is no part {name} in {file}")
    if as_json:
        console.say_json(_document(findings, name))
    else:
        for line in _lines(findings):
            console.say(line)
    raise typer.Exit(max((_CODES[each.severity] for each in findings), default=0))


def _places(given: Sequence[str], read: "Plan") -> dict[str, list["Address"]]:
    from lalepass_service.topology.parts import read_address  # noqa: PLC0415 - the same

    places: dict[str, list[Address]] = {}
    for each in given:
        name, _, text = each.partition("=")
        if name not in read.listening:
            raise console.WrongUsage(f"--also: there is no part {name} that listens")
        port = read.listening[name].place.port
        for candidate in (text, f"{text}:{port}", f"[{text}]:{port}"):
            with suppress(ValueError):
                places.setdefault(name, []).append(read_address(candidate))
                break
        else:
            raise console.WrongUsage(f"--also: {text} is no address")
    return places


def _document(findings: Sequence["Finding"], name: str | None) -> dict[str, Any]:
    count = Counter(finding.severity for finding in findings)
    return {
        "from": name,
        "findings": [
            {
                "part": finding.part,
                "about": finding.about,
                "severity": finding.severity,
                "says": finding.says,
                "fix": finding.fix,
            }
            for finding in findings
        ],
        **{f"{severity}s": count[severity] for severity in ("fail", "warn", "note")},  # type: ignore[index]
    }


def _lines(findings: Sequence["Finding"]) -> Iterator[str]:
    width = max(_NARROWEST, min(_WIDEST, console.width()))
    for severity in _ORDER:
        for finding in findings:
            if finding.severity == severity:
                yield from _wrapped(finding, width)
    count = Counter(str(finding.severity) for finding in findings)
    yield ""
    noted = f", {count['note']} to know" if count["note"] else ""
    yield f"{count['fail']} wrong, {_warnings(count['warn'])}, {count['ok']} ok{noted}"


def _wrapped(finding: "Finding", width: int) -> Iterator[str]:
    paragraphs = [f"{finding.part}: {finding.says}"]
    paragraphs += [f"-> {finding.fix}"] if finding.fix else []
    label = _LABELS[finding.severity]
    for paragraph in paragraphs:
        # Some words are those of who answered.
        text = console.visible(paragraph).replace("\n", " ")
        for line in textwrap.wrap(text, width - len(_INDENT), break_on_hyphens=False):
            yield f"{label:<{len(_INDENT)}}{line}"
            label = ""


def _warnings(number: int) -> str:
    return "1 warning" if number == 1 else f"{number} warnings"
