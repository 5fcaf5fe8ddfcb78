"""`lalepass audit ...`."""

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lalepass_service.cli import console, operate
from lalepass_service.cli.console import WrongUsage
from lalepass_service.cli.names import localpart
from lalepass_service.cli.session import session
from lalepass_service.core.audit import Entry, Event, Fact, document

if TYPE_CHECKING:
    from lalepass_service.adapters.sql.audit import SqlTrail

app = typer.Typer(help="Read the audit trail: every check, and every change by an operator.")

_MOST: Final = 1000

_User = Annotated[str | None, typer.Option(metavar="NAME", help="Only about this account.")]
_Outcome = Annotated[
    str | None, typer.Option(help="Only with this outcome, such as refused_credentials.")
]
_Event = Annotated[
    Event | None,
    typer.Option(metavar="EVENT", help=f"Only of this kind: {', '.join(Event)}."),
]
_Actor = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only by this one: a token's name, or operator:root."),
]
_Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only from then on, such as 2026-03-01 (UTC).")
]
_Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only before that.")]


@app.command()
def tail(  # noqa: PLR0913 - the options of the command line
    context: typer.Context,
    *,
    user: _User = None,
    event: _Event = None,
    outcome: _Outcome = None,
    actor: _Actor = None,
    since: _Since = None,
    until: _Until = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="At most this many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the newest entries, the newest last."""
    conditions = _conditions(
        user=user, event=event, outcome=outcome, actor=actor, since=since, until=until
    )
    found = operate.on_trail(
        session(context).load(),
        lambda trail: trail.entries(newest=True, limit=limit, conditions=conditions),
    )
    entries = [entry for _, entry in found]
    if as_json:
        console.say_json({"entries": [document(entry) for entry in entries]})
        return
    # Most checks have none, and a terminal has little room.
    detailed = any(entry.details for entry in entries)
    columns = ("AT", "WHAT", "USER", "FROM", "BY", "DETAILS")[: None if detailed else -1]
    rows = (_row(entry)[: len(columns)] for entry in entries)
    console.say_table(columns, rows, whole=("AT", "WHAT"))


@app.command()
def export(
    context: typer.Context,
    *,
    user: _User = None,
    event: _Event = None,
    outcome: _Outcome = None,
    actor: _Actor = None,
    since: _Since = None,
    until: _Until = None,
) -> None:
    """Print all entries, the oldest first, one JSON object a line."""
    conditions = _conditions(
        user=user, event=event, outcome=outcome, actor=actor, since=since, until=until
    )

    async def write(trail: "SqlTrail") -> None:
        async for page in trail.pages(conditions=conditions):
            for _, entry in page:
                sys.stdout.write(json.dumps(document(entry)) + "\n")

    operate.on_trail(session(context).load(), write)


def _conditions(
    *,
    user: str | None,
    event: Event | None,
    outcome: str | None,
    actor: str | None,
    since: str | None,
    until: str | None,
) -> dict[str, str]:
    if outcome is not None and not outcome.isascii():
        raise WrongUsage("--outcome is a word such as refused_credentials")
    if actor is not None and not _is_text(actor):
        raise WrongUsage("--actor is a name such as operator:root")
    given = {
        "localpart": None if user is None else localpart(user),
        "event": event,
        "outcome": outcome,
        "actor": actor,
        "since": _time(since, option="--since"),
        "until": _time(until, option="--until"),
    }
    return {name: value for name, value in given.items() if value is not None}


def _time(text: str | None, *, option: str) -> str | None:
    """Return a time as the trail writes it, in UTC unless it names another zone."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        # The first and the last hours that there are may be none in UTC.
        raise WrongUsage(f"{option} is a time such as 2026-03-01 or 2026-03-01T08:00") from None
    return moment.isoformat(timespec="microseconds")


def _is_text(typed: str) -> bool:
    """Say whether it can be looked up: bytes that are no UTF-8 arrive as lone surrogates."""
    try:
        typed.encode()
    except UnicodeEncodeError:
        return False
    return True


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        console.iso(entry.at) or "",
        # Acts have one outcome, and checks are one event.
        entry.outcome if entry.event == Event.CHECK else entry.event,
        entry.localpart or "",
        entry.source_ip or "",
        entry.actor,
        " ".join(f"{name}={_cell(fact)}" for name, fact in entry.details.items()),
    )


def _cell(fact: Fact) -> str:
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    return str(fact)
