"""What a login does about a profile, how long it waits, and what may fail."""

import logging
import sqlite3
from typing import Any

import pytest
from twisted.internet import defer

from lalepass_provider.tables import Tables
from lalepass_provider.wanted import Wanted
from lalepass_wire import AcceptedUser
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.profiles import (
    ADDRESSES,
    BOB,
    FULL,
    MXID,
    SAID,
    Parts,
    Stuck,
    alice,
)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("display_name", {"display_name": "Ally"}),
        ("display_name", {"display_name": None}),
        ("emails", {"emails": ("a@y.org",)}),
        ("emails", {"emails": ("Alice@X.org", "a@y.org", "b@z.org")}),
        ("phones", {"phones": ()}),
        ("phones", {"phones": ("4917012346",)}),
        ("admin", {"admin": False}),
    ],
)
@on_reactor
async def test_a_login_that_knows_the_profile_writes_what_differs(
    part: str, said: dict[str, Any]
) -> None:
    parts = Parts()
    await parts.sync.apply(FULL)
    now = await Tables(parts.homeserver).profile(MXID)
    other = alice(**{**SAID, **said})
    policy = ("display_name", "emails", "phones", "admin")
    assert [one for one in policy if Wanted.by(FULL).differs(one, now)] == []
    assert [one for one in policy if Wanted.by(other).differs(one, now)] == [part]

    await parts.sync.after_login(MXID, other, created=False, now=now)

    assert not Wanted.by(other).differs(part, await Tables(parts.homeserver).profile(MXID))


@on_reactor
async def test_a_login_does_not_trust_what_it_knows_while_the_profile_is_written() -> None:
    parts = Parts()
    await parts.sync.apply(FULL)
    now = await Tables(parts.homeserver).profile(MXID)
    stuck = Stuck(parts.homeserver, "lalepass_profile")
    pushed = defer.ensureDeferred(parts.sync.apply(alice(display_name="Ally")))

    # While another state is on its way, the one that was read is not what will be.
    await parts.sync.after_login(MXID, FULL, created=False, now=now)
    parts.homeserver.before_reading = None
    stuck.let_go()
    await pushed

    assert parts.name == "Alice"
    assert parts.homeserver.addresses == ADDRESSES


@pytest.mark.parametrize(
    ("broken", "names", "left"),
    [
        ("set_displayname", ["display_name"], 3),
        ("set_user_admin", ["admin"], 3),
        ("run_db_interaction", ["account"], 0),
    ],
)
@on_reactor
async def test_a_step_that_fails_fails_alone(
    broken: str,
    names: list[str],
    left: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    parts = Parts()

    async def fails(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("the disk is full")

    monkeypatch.setattr(parts.homeserver, broken, fails)
    await parts.sync.apply(FULL)

    assert parts.failed == names
    assert "the disk is full" in caplog.text
    assert len(parts.homeserver.addresses) == left


@on_reactor
async def test_a_login_is_not_failed_by_a_database_that_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = Parts()

    async def fails(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("the disk is full")

    monkeypatch.setattr(parts.homeserver, "run_db_interaction", fails)
    await parts.sync.after_login(MXID, FULL, created=True)

    assert parts.failed == ["profile"]


@on_reactor
async def test_a_synapse_that_can_not_remove_an_address_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parts = Parts()
    await parts.sync.apply(FULL)
    monkeypatch.setattr(parts.homeserver, "_auth_handler", object())

    await parts.sync.apply(alice(display_name="Alice", phones=("4917012345",), admin=True))

    assert parts.failed == ["emails"]
    assert "can't remove an address" in caplog.text
    assert parts.homeserver.addresses == ADDRESSES


@on_reactor
async def test_a_slow_database_does_not_hold_up_a_login(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()
    stuck = Stuck(parts.homeserver, "lalepass_profile")
    login = defer.ensureDeferred(parts.sync.after_login(MXID, FULL, created=False))
    assert not login.called

    parts.clock.advance(3)

    await login
    assert "the login goes on without it" in caplog.text
    assert parts.homeserver.addresses == []
    stuck.let_go()
    assert parts.homeserver.addresses == ADDRESSES
    assert parts.clock.getDelayedCalls() == []


@on_reactor
async def test_a_fast_one_leaves_no_timer_behind() -> None:
    parts = Parts()

    await parts.sync.after_login(MXID, FULL, created=False)

    assert parts.clock.getDelayedCalls() == []


@on_reactor
async def test_changes_of_one_account_come_one_after_another_and_the_newest_stays() -> None:
    parts = Parts()
    stuck = Stuck(parts.homeserver, "lalepass_profile")

    def change(*emails: str) -> "defer.Deferred[None]":
        return defer.ensureDeferred(parts.sync.apply(alice(emails=emails)))

    first = change("1@x.org")
    rest = [change(f"{n}@x.org") for n in (2, 3, 4)]
    assert len(stuck.waiting) == 1
    stuck.let_go()
    assert parts.homeserver.addresses == [(MXID, "email", "1@x.org")]
    stuck.let_go()

    await defer.gatherResults([first, *rest])
    assert parts.homeserver.addresses == [(MXID, "email", "4@x.org")]
    assert stuck.waiting == []


@on_reactor
async def test_accounts_do_not_wait_for_each_other() -> None:
    parts = Parts()
    await parts.homeserver.record_user_external_id("lalepass", "2", BOB)
    stuck = Stuck(parts.homeserver, "lalepass_profile")
    first = defer.ensureDeferred(parts.sync.apply(FULL))
    second = defer.ensureDeferred(
        parts.sync.apply(AcceptedUser(id="2", localpart="bob", emails=("b@x.org",)))
    )

    stuck.waiting.pop(1).callback(None)

    await second
    assert parts.homeserver.addresses == [(BOB, "email", "b@x.org")]
    stuck.let_go()
    await first


@on_reactor
async def test_the_table_is_made_when_two_processes_make_it_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """PostgreSQL: `CREATE TABLE IF NOT EXISTS` may fail for the second of two."""
    caplog.set_level(logging.DEBUG)
    parts = Parts()
    tries: list[str] = []

    async def first_one_fails(desc: str) -> None:
        if desc == "lalepass_make_table":
            tries.append(desc)
            if len(tries) == 1:
                raise sqlite3.IntegrityError("duplicate key value: pg_type_typname_nsp_index")

    parts.homeserver.before_reading = first_one_fails
    await parts.sync.apply(FULL)

    assert parts.homeserver.addresses == ADDRESSES
    assert parts.failed == []
    assert len(tries) == 2
