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
from lalepass_service.core.audit import Entry

if TYPE_CHECKING:
    from lalepass_service.adapters.sql.audit import SqlTrail

app = typer.Typer(help="The trail of checks.")

_PAGE: Final = 1000

_User = Annotated[str | None, typer.Option(metavar="NAME", help="Only about this account.")]
_Outcome = Annotated[
    str | None, typer.Option(help="Only with this outcome, such as refused_credentials.")
]
_Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only from then on, such as 2026-03-01 (UTC).")
]
_Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only before that.")]


@app.command()
def tail(
    context: typer.Context,
    *,
    user: _User = None,
    outcome: _Outcome = None,
    since: _Since = None,
    until: _Until = None,
    limit: Annotated[int, typer.Option(min=1, max=_PAGE, help="At most so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the newest entries, the newest last."""
    conditions = _conditions(user=user, outcome=outcome, since=since, until=until)
    found = operate.on_trail(
        session(context).load(),
        lambda trail: trail.entries(newest=True, limit=limit, conditions=conditions),
    )
    entries = [entry for _, entry in found]
    if as_json:
        console.say_json({"entries": [_document(entry) for entry in entries]})
        return
    console.say_table(
        ("AT", "OUTCOME", "USER", "FROM", "BY"),
        (
            (
                console.iso(entry.at) or "",
                entry.outcome,
                entry.localpart or "",
                entry.source_ip or "",
                entry.actor,
            )
            for entry in entries
        ),
    )


@app.command()
def export(
    context: typer.Context,
    *,
    user: _User = None,
    outcome: _Outcome = None,
    since: _Since = None,
    until: _Until = None,
) -> None:
    """Print all entries, the oldest first, one JSON object a line."""
    conditions = _conditions(user=user, outcome=outcome, since=since, until=until)

    async def write(trail: "SqlTrail") -> None:
        after = 0
        while found := await trail.entries(after=after, limit=_PAGE, conditions=conditions):
            for number, entry in found:
                sys.stdout.write(json.dumps(_document(entry)) + "\n")
                after = number

    operate.on_trail(session(context).load(), write)


def _conditions(
    *, user: str | None, outcome: str | None, since: str | None, until: str | None
) -> dict[str, str]:
    if outcome is not None and not outcome.isascii():
        raise WrongUsage("--outcome is a word such as refused_credentials")
    given = {
        "localpart": None if user is None else localpart(user),
        "outcome": outcome,
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
    except ValueError:
        raise WrongUsage(f"{option} is a time such as 2026-03-01 or 2026-03-01T08:00") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def _document(entry: Entry) -> dict[str, object]:
    return {
        "at": entry.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "event": entry.event,
        "outcome": entry.outcome,
        "actor": entry.actor,
        "user_id": entry.user_id,
        "localpart": entry.localpart,
        "source_ip": entry.source_ip,
        "user_agent": entry.user_agent,
        "request_id": entry.request_id,
        "details": dict(entry.details),
    }
