"""How large the parts have to be for so many accounts: a model, a table and a picture.

    make sizing                                        the table for 100 to ten million accounts
    make sizing ARGS="250000 --assume daily_active=0.7"
    make sizing ARGS="--file ours.toml"                accounts = [250000], daily_active = 0.7
    make sizing ARGS=--assumptions                     what it takes for granted, with the sources
    make sizing ARGS=--write                           renews what docs/scaling.md has of it

It computes and measures nothing, so it is no part of `make bench`. Exit codes: 0, or 2 for what
makes no sense, which one sentence says.
"""

import argparse
import dataclasses
import json
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from bench.sizing_model import Assumptions, Refused, Sizing, parts, size
from bench.sizing_plot import draw

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "scaling.md"
PICTURE: Final = ROOT / "docs" / "sizing.svg"
SIZES: Final = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
MARKS: Final = {
    "table": "<!-- by make sizing: the table -->",
    "assumptions": "<!-- by make sizing: the assumptions -->",
}
END: Final = "<!-- end -->"
_MOST_SIZES: Final = 20


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    name: str
    of: Callable[[Sizing], float]
    unit: str = ""


ROWS: Final = (
    Row("there on a working day", lambda s: s.active),
    Row("logins/s in the worst minute of the morning", lambda s: s.morning_logins),
    Row("checks/s, with the wrong ones", lambda s: s.checks),
    Row("cores for passwords", lambda s: s.auth_cores),
    Row("replicas of Lalepass", lambda s: s.replicas),
    Row("until all are in again after a sign-out of all", lambda s: s.all_again_minutes, "min"),
    Row("Lalepass: reads/s", lambda s: s.reads),
    Row("Lalepass: writes/s", lambda s: s.writes),
    Row("reads/s beside Valkey", lambda s: s.reads_beside_valkey),
    Row("writes/s beside Valkey", lambda s: s.writes_beside_valkey),
    Row("to a standby, KiB/s", lambda s: s.log_bytes / 1024),
    Row("connections to its PostgreSQL", lambda s: s.connections),
    Row("Valkey: commands/s", lambda s: s.valkey_commands),
    Row("Valkey: memory", lambda s: s.valkey_mib, "MiB"),
    Row("Lalepass: database", lambda s: s.lalepass_gib, "GiB"),
    Row("Synapse: messages/s in the busiest hour", lambda s: s.events),
    Row("homeservers", lambda s: s.homeservers),
    Row("Synapse: cores", lambda s: s.synapse_cores),
    Row("Synapse: workers", lambda s: s.workers),
    Row("Synapse: memory", lambda s: s.synapse_gib, "GiB"),
    Row("Synapse: cores of PostgreSQL", lambda s: s.database_cores),
    Row("Synapse: connections", lambda s: s.synapse_connections),
    Row("Synapse: database, more a year", lambda s: s.synapse_database_gib, "GiB"),
    Row("media, more a year", lambda s: s.media_gib, "GiB"),
)


def shown(value: float) -> str:
    """Return a number with two figures that count; nobody knows more."""
    if value == 0:
        return "0"
    if isinstance(value, int) and value < 1000:
        return str(value)
    if value < 0.01:
        return "< 0.01"
    rounded = float(f"{value:.2g}")
    return spaced(rounded) if rounded >= 10 else f"{rounded:g}"


def spaced(number: float) -> str:
    """Return a whole number in groups of three."""
    return f"{number:,.0f}".replace(",", " ")


def cells(sizings: Sequence[Sizing]) -> list[list[str]]:
    """Return the table, with its head."""
    head = ["accounts", *(spaced(sizing.accounts) for sizing in sizings)]
    body = [
        [row.name, *(f"{shown(row.of(sizing))} {row.unit}".strip() for sizing in sizings)]
        for row in ROWS
    ]
    return [head, *body]


def table(sizings: Sequence[Sizing], given: Assumptions) -> str:
    """Return the table and the parts for people at a terminal."""
    rows = cells(sizings)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    lines += ["", *(f"{spaced(s.accounts)}: {', '.join(parts(s, given))}" for s in sizings)]
    return "\n".join(lines)


def listed(given: Assumptions) -> str:
    """Return the assumptions for people at a terminal."""
    return "\n".join(
        f"{each.name} = {getattr(given, each.name):g}  # {each.metadata['unit']}".ljust(40)
        + f" {each.metadata['what']} ({each.metadata['source']})"
        for each in dataclasses.fields(given)
    )


def page_table(given: Assumptions) -> str:
    """Return what the page has of the table."""
    sizings = [size(accounts, given) for accounts in SIZES]
    rows = cells(sizings)
    rule = ["---", *["---:"] * len(SIZES)]
    lines = ["| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:])]
    listed = [f"* {spaced(each.accounts)}: {'; '.join(parts(each, given))}" for each in sizings]
    return "\n".join([*lines, "", "So the parts are, by accounts:", "", *listed])


def page_assumptions(given: Assumptions) -> str:
    """Return what the page has of the assumptions."""
    rows = [["name", "value", "what", "source"], ["---", "---:", "---", "---"]]
    for each in dataclasses.fields(given):
        about, value = each.metadata, getattr(given, each.name)
        told = f"{value:g} {about['unit']}".strip()
        rows.append([f"`{each.name}`", told, about["what"], _linked(about["source"])])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _linked(source: str) -> str:
    if source.startswith("https://"):
        return f"[{source.split('/')[2]}]({source})"
    kind, _, name = source.partition(": ")
    return f"{kind}, `{name}`" if name else kind


def renewed(page: str, given: Assumptions) -> str:
    """Return the page with what the model says now.

    Raises:
        Refused: the page has no place for it.
    """
    for part, made in (("table", page_table(given)), ("assumptions", page_assumptions(given))):
        before, mark, rest = page.partition(MARKS[part])
        _, end, after = rest.partition(END)
        if not (mark and end):
            raise Refused(f"the page has no place for the {part}: {MARKS[part]} ... {END}")
        page = f"{before}{mark}\n{made}\n{end}{after}"
    return page


def read(file: Path) -> tuple[tuple[int, ...] | None, dict[str, object]]:
    """Return the numbers of accounts and the assumptions in a file, if there are any.

    Raises:
        Refused: it is no such file.
    """
    try:
        with file.open("rb") as opened:
            given = tomllib.load(opened)
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{file}: {error}") from None
    accounts = given.pop("accounts", None)
    if accounts is None:
        return None, given
    if not isinstance(accounts, list):
        raise Refused(f"{file}: accounts: should be a list of numbers")
    return tuple(accounts), given


def _assumed(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        # Not refused here: the name may be wrong as well, and comes first.
        return name.strip(), value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make sizing", allow_abbrev=False)
    parser.add_argument("accounts", nargs="*", type=int, metavar="ACCOUNTS", help="how many")
    parser.add_argument("--assume", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--file", type=Path, help="the same, as TOML")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--assumptions", action="store_true", help="list them, with the sources")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it into this file")
    parser.add_argument("--write", action="store_true", help="renew docs/scaling.md, as it is")
    return parser


def _write() -> None:
    """Renew the page and its picture, by our own assumptions."""
    given = Assumptions()
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), given), encoding="utf-8")
    PICTURE.write_text(draw(given), encoding="utf-8")


def _given(options: argparse.Namespace) -> tuple[tuple[int, ...], Assumptions]:
    """Return what was asked for; the command line comes before the file.

    Raises:
        Refused: it makes no sense.
    """
    sizes, changes = read(options.file) if options.file else (None, {})
    changes |= dict(map(_assumed, options.assume))
    sizes = tuple(options.accounts) or sizes or SIZES
    if len(sizes) > _MOST_SIZES:
        raise Refused(f"no more than {_MOST_SIZES} numbers of accounts at a time")
    return sizes, Assumptions().with_changes(changes)


def _refuse(error: Exception) -> NoReturn:
    print(f"sizing: {error}", file=sys.stderr)
    sys.exit(2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute and print."""
    options = _parser().parse_args(arguments)
    try:
        if options.write:
            return _write()
        sizes, given = _given(options)
        sizings = [size(accounts, given) for accounts in sizes]
        if options.svg:
            options.svg.write_text(draw(given), encoding="utf-8")
    except (Refused, OSError) as error:
        _refuse(error)
    if options.assumptions:
        print(listed(given))
    elif options.json:
        found = [
            {**dataclasses.asdict(each), "parts": list(parts(each, given))} for each in sizings
        ]
        told = {"assumptions": dataclasses.asdict(given), "sizes": found}
        print(json.dumps(told, indent=2))
    else:
        print(table(sizings, given))
    return None


if __name__ == "__main__":
    main()
