"""What the commands print, and the one table from exceptions to a sentence and an exit code.

This imports the standard library and our own rules only: it has to work where nothing else does.
"""

import json
import shutil
import sys
import traceback
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Final

from lalepass_service.core.errors import LalepassError, NoAnswer
from lalepass_service.faults import ConfigFault, Fault


class ExitCode(IntEnum):
    """How a command ended, for scripts."""

    OK = 0
    # the rules say no: no such user, a name that is taken, a password that is too short
    REFUSED = 1
    # the command line itself is wrong
    USAGE = 2
    # the configuration is missing or wrong; of `doctor` and `topology check`: they could not look
    CONFIG = 3
    # the database, a port or a file is not as it has to be
    OUTSIDE = 4
    # a fault of the program
    INTERNAL = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


_CODES: Final = (
    # The first that fits decides.
    (ConfigFault, ExitCode.CONFIG),
    (Fault, ExitCode.OUTSIDE),
    (NoAnswer, ExitCode.OUTSIDE),
    (LalepassError, ExitCode.REFUSED),
    (OSError, ExitCode.OUTSIDE),
)

_MIN_WIDTH: Final = 60
_MIN_FOLDED: Final = 8
_GAP: Final = 2
"""Columns of a terminal: of a table, of what is folded in it, and between its columns."""

_NOT_INSTALLED: Final = "this needs the extra [service]: pip install 'lalepass[service]'"


class WrongUsage(Exception):
    """The command line is well-formed, and yet nothing can be done with it."""


class NotLooked(Exception):
    """A command that looks at something else could not. Its other codes are about what it finds."""


def report(error: Exception, *, debug: bool) -> ExitCode:
    """Say in one line on standard error what went wrong, and return how to exit."""
    if debug:
        # Never with local variables: one of them may be a password.
        traceback.print_exception(error)
    if isinstance(error, WrongUsage):
        return _complain(str(error), ExitCode.USAGE)
    if isinstance(error, NotLooked):
        return _complain(str(error), ExitCode.CONFIG)
    if isinstance(error, ModuleNotFoundError) and not _is_ours(error.name):
        return _complain(_NOT_INSTALLED, ExitCode.OUTSIDE)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return _complain(_text(error), code)
    name = type(error).__qualname__
    advice = "" if debug else "; run `lalepass --debug ...` for details"
    return _complain(f"this is a fault of the program ({name}){advice}", ExitCode.INTERNAL)


def say(text: str) -> None:
    """Print a line of the result."""
    sys.stdout.write(f"{visible(text)}\n")


def explain(text: str) -> None:
    """Print a line that is not part of the result."""
    sys.stderr.write(f"{visible(text)}\n")


def say_json(document: object) -> None:
    """Print one JSON document.

    ASCII only: names that people chose could otherwise carry commands for the terminal.
    """
    sys.stdout.write(f"{json.dumps(document, indent=2)}\n")


def say_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, whole: Collection[str] = ()
) -> None:
    """Print a table, without a head if no columns are named.

    What does not fit is folded, so that nothing is lost; but in columns that are to stay `whole`,
    such as times and what is copied from them.
    """
    # Takes a tenth of a second to import, which JSON need not wait for.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, _GAP, 0, 0),
        header_style="bold",
        show_header=bool(columns),
    )
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in whole)
    # Text, not str: a name in square brackets is a name, and no markup.
    cells = [[Text(visible(cell)) for cell in row] for row in rows]
    for row in cells:
        table.add_row(*row)
    needed = 0
    for number, column in enumerate(columns):
        widest = max([len(column), *(row[number].cell_len for row in cells)])
        needed += _GAP + (widest if column in whole else min(widest, _MIN_FOLDED))
    # On a narrower terminal lines are broken; narrower columns would lose what is in them.
    terminal = max(width(), _MIN_WIDTH, needed)
    Console(highlight=False, width=terminal).print(table)


def width() -> int:
    """Return how many columns the terminal has; 80 if there is none."""
    return shutil.get_terminal_size().columns


def iso(time: datetime | None) -> str | None:
    """Return a time as all listings have it: ISO 8601, UTC, seconds."""
    if time is None:
        return None
    return time.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def visible(text: str) -> str:
    """Return the text with everything written out that a terminal might obey or hide."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def one_line(text: str) -> str:
    """Return the text with its line feeds written out: what is in it may not begin a line."""
    return text.replace("\n", "\\n")


def _complain(sentence: str, code: ExitCode) -> ExitCode:
    explain(one_line(f"lalepass: {sentence}"))
    return code


def _is_ours(module: str | None) -> bool:
    return module is None or module.partition(".")[0] in {"lalepass_service", "lalepass_wire"}


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return str(error)
