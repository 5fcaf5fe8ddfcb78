import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from lalepass_service import parts
from lalepass_service.cli.console import ExitCode
from lalepass_service.config import load
from lalepass_service.core.audit import Entry, Event
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.cli.operator import Operator


def record(operator: Operator, *outcomes: tuple[str, str]) -> None:
    """Leave a trail, an entry an hour."""

    async def write() -> None:
        async with parts.open_trail(load(operator.directory / "lalepass.toml")) as trail:
            for hours, (localpart, outcome) in enumerate(outcomes):
                trail.record(
                    Entry(
                        at=NOW + timedelta(hours=hours),
                        event=Event.CHECK,
                        outcome=outcome,
                        actor="homeserver",
                        localpart=localpart,
                        source_ip="192.0.2.1",
                    )
                )
            await trail.flush()

    asyncio.run(write())


TRAIL = (("alice", "accepted"), ("bob", "refused_credentials"), ("alice", "throttled"))


def test_the_newest_come_last(operator: Operator) -> None:
    record(operator, *TRAIL)

    shown = operator("audit", "tail", "--limit", "2").done().splitlines()

    assert shown[0].split() == ["AT", "WHAT", "USER", "FROM", "BY"]
    assert [line.split()[1:3] for line in shown[1:]] == [
        ["refused_credentials", "bob"],
        ["throttled", "alice"],
    ]


def test_it_can_be_narrowed_down(operator: Operator) -> None:
    record(operator, *TRAIL)

    def outcomes(*options: str) -> list[str]:
        document = operator("audit", "tail", "--json", *options).document
        return [entry["outcome"] for entry in document["entries"]]

    assert outcomes("--user", "alice") == ["accepted", "throttled"]
    assert outcomes("--outcome", "accepted") == ["accepted"]
    assert outcomes("--event", "check") == [outcome for _, outcome in TRAIL]
    assert outcomes("--event", "user_added") == []
    assert outcomes("--actor", "homeserver", "--user", "bob") == ["refused_credentials"]
    assert outcomes("--actor", "operator:root") == []
    assert outcomes("--since", "2026-01-02T04:00") == ["refused_credentials", "throttled"]
    assert outcomes("--until", "2026-01-02T04:00") == ["accepted"]


def test_everything_can_be_exported_line_by_line(operator: Operator) -> None:
    # Of those that are told to wait not each has a line.
    record(operator, *TRAIL[:2] * 750)

    lines = operator("audit", "export").done().splitlines()

    assert len(lines) == 1500
    assert json.loads(lines[0])["outcome"] == "accepted"
    assert json.loads(lines[0])["at"].startswith("2026-01-02T03:04:05")


@pytest.mark.parametrize(
    "options",
    [
        ("--since", "yesterday"),
        ("--until", ""),
        # times that there are, but not in UTC
        ("--since", "0001-01-01T00:00+23:00"),
        ("--until", "9999-12-31T23:59:59-23:00"),
        ("--outcome", "\udcff"),
        ("--actor", "\udcff"),
        ("--event", "nothing"),
    ],
    ids=str,
)
def test_what_is_no_condition_is_told(operator: Operator, options: tuple[str, str]) -> None:
    operator("audit", "tail", *options).refused(ExitCode.USAGE)


def test_what_operators_have_changed_stands_among_the_checks(operator: Operator) -> None:
    record(operator, *TRAIL)
    operator("user", "add", "carol", "--no-password").done()

    shown = operator("audit", "tail", "--event", "user_added").done()
    document = operator("audit", "tail", "--user", "carol", "--json").document

    assert "user_added" in document["entries"][0]["event"]
    assert document["entries"][0]["details"]["password"] == "none"
    assert shown.splitlines()[0].split() == ["AT", "WHAT", "USER", "FROM", "BY", "DETAILS"]
    assert shown.splitlines()[1].split()[1:3] == ["user_added", "carol"]
    assert "password=none" in shown


def test_only_what_has_room_to_be_folded_is(operator: Operator) -> None:
    name = "somebody.with.a.name.of.some.length"
    operator("user", "add", name, "--no-password").done()
    (entry,) = operator("audit", "tail", "--json").document["entries"]

    shown = operator("audit", "tail").done().splitlines()

    assert len(shown) > 2
    assert shown[1].startswith(f"{entry['at'][:19]}Z  user_added  ")
    assert max(map(len, shown)) <= 80


def test_an_entry_of_a_later_version_is_shown_as_it_is(operator: Operator) -> None:
    record(operator, *TRAIL)
    with closing(sqlite3.connect(operator.directory / "lalepass.db")) as database:
        database.execute("UPDATE audit SET event = 'user_renamed' WHERE localpart = 'bob'")
        database.commit()

    events = [entry["event"] for entry in operator("audit", "tail", "--json").document["entries"]]
    assert events == ["check", "user_renamed", "check"]
