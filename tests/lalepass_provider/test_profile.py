"""Names, addresses and the flag of an administrator follow Lalepass."""

import logging
import sqlite3
from dataclasses import dataclass, field
from typing import Any

import pytest
from twisted.internet import defer
from twisted.internet.task import Clock

from lalepass_provider.policy import Keep, LocalUsers, ProfilePolicy
from lalepass_provider.profile import ProfileSync
from lalepass_provider.tables import Tables
from lalepass_provider.wanted import Person, Wanted
from lalepass_wire import AcceptedUser
from lalepass_wire.feed import Account, AccountState
from tests.lalepass_provider.fakes import FakeHomeserver
from tests.lalepass_provider.on_reactor import on_reactor

MXID = "@alice:hs.example"
BOB = "@bob:hs.example"
ALWAYS = ProfilePolicy(
    display_name=Keep.ALWAYS, emails=Keep.ALWAYS, phones=Keep.ALWAYS, admin=Keep.ALWAYS
)
ON_CREATE = ProfilePolicy(
    display_name=Keep.ON_CREATE, emails=Keep.ON_CREATE, phones=Keep.ON_CREATE, admin=Keep.ON_CREATE
)
NEVER = ProfilePolicy(
    display_name=Keep.NEVER, emails=Keep.NEVER, phones=Keep.NEVER, admin=Keep.NEVER
)


def alice(**said: Any) -> Person:
    return AcceptedUser(id="1", localpart="alice", **said)


SAID: dict[str, Any] = {
    "display_name": "Alice",
    "emails": ("Alice@X.org", "a@y.org"),
    "phones": ("4917012345",),
    "admin": True,
}
FULL = alice(**SAID)
ADDRESSES = [
    (MXID, "email", "a@y.org"),
    (MXID, "email", "alice@x.org"),
    (MXID, "msisdn", "4917012345"),
]


@dataclass
class Parts:
    """A homeserver with alice's account, and what keeps it in step."""

    policy: ProfilePolicy = ALWAYS
    local_users: LocalUsers = field(default_factory=LocalUsers)
    homeserver: FakeHomeserver = field(default_factory=FakeHomeserver)
    clock: Clock = field(default_factory=Clock)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.homeserver.add(MXID, displayname="alice")
        self.homeserver.add(BOB)
        self.homeserver.record_user_external_id("lalepass", "1", MXID)
        self.sync = ProfileSync(
            homeserver=self.homeserver,
            tables=Tables(self.homeserver),
            policy=self.policy,
            local_users=self.local_users,
            clock=self.clock,
            failed=self.failed.append,
        )

    @property
    def name(self) -> str | None:
        return self.homeserver.accounts[MXID]


@on_reactor
async def test_a_deactivated_account_gets_nothing_back() -> None:
    # Synapse may have erased it.
    parts = Parts()
    parts.homeserver.change(MXID, deactivated=True)

    await parts.sync.apply(FULL)

    assert parts.homeserver.addresses == []
    assert parts.failed == []


@on_reactor
async def test_everything_that_is_said_is_written() -> None:
    parts = Parts()

    await parts.sync.apply(FULL)

    assert parts.name == "Alice"
    assert parts.homeserver.addresses == ADDRESSES
    assert parts.homeserver.admin(MXID)
    assert parts.failed == []


@on_reactor
async def test_what_is_so_already_is_not_written() -> None:
    parts = Parts()
    await parts.sync.apply(FULL)
    parts.homeserver.written.clear()

    await parts.sync.apply(FULL)
    await parts.sync.after_login(MXID, FULL, created=False)

    assert parts.homeserver.written == []


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


@on_reactor
async def test_what_lalepass_takes_back_is_taken_away() -> None:
    parts = Parts()
    await parts.sync.apply(FULL)

    await parts.sync.apply(alice(emails=("a@y.org",)))

    assert parts.name == "alice"  # as one who was never given a name
    assert parts.homeserver.addresses == [(MXID, "email", "a@y.org")]
    assert not parts.homeserver.admin(MXID)
    parts.homeserver.written.clear()
    await parts.sync.apply(alice(emails=("a@y.org",)))
    assert parts.homeserver.written == []


@on_reactor
async def test_what_lalepass_has_never_said_stays() -> None:
    parts = Parts()
    parts.homeserver.add_address(MXID, "email", "own@z.org")
    parts.homeserver.add_address(MXID, "msisdn", "49999999")
    parts.homeserver.change(MXID, admin=1)
    own = parts.homeserver.addresses

    await parts.sync.apply(alice())

    assert (parts.name, parts.homeserver.addresses) == ("alice", own)
    assert parts.homeserver.admin(MXID)
    assert parts.homeserver.written == []


@on_reactor
async def test_what_both_have_said_is_lalepasss() -> None:
    parts = Parts()
    parts.homeserver.add_address(MXID, "email", "alice@x.org")
    parts.homeserver.change(MXID, admin=1)

    await parts.sync.apply(FULL)
    await parts.sync.apply(alice())

    assert parts.homeserver.addresses == []
    assert not parts.homeserver.admin(MXID)


@on_reactor
async def test_a_name_that_the_person_has_chosen_is_not_taken_with_lalepasss() -> None:
    parts = Parts()
    await parts.sync.apply(alice(display_name="Alice"))
    parts.homeserver.database.execute("UPDATE profiles SET displayname = 'Ally'")

    await parts.sync.apply(alice())

    assert parts.name == "Ally"


@on_reactor
async def test_a_name_with_blanks_around_it_is_written_once() -> None:
    """Synapse strips them (`handlers/profile.py`, set_displayname)."""
    parts = Parts()
    for _ in range(3):
        await parts.sync.apply(alice(display_name=" Alice "))

    assert [row[1] for row in parts.homeserver.written].count("display name") == 1


@on_reactor
async def test_the_address_of_another_is_left_alone_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    parts = Parts()
    parts.homeserver.add_address(BOB, "email", "alice@x.org")

    await parts.sync.apply(FULL)

    assert parts.homeserver.addresses == [
        (MXID, "email", "a@y.org"),
        (MXID, "msisdn", "4917012345"),
        (BOB, "email", "alice@x.org"),
    ]
    assert f"{MXID} is not given the email alice@x.org, which {BOB} has" in caplog.text
    assert parts.failed == ["address_taken"]
    await parts.sync.apply(alice())
    assert parts.homeserver.addresses == [(BOB, "email", "alice@x.org")]


@on_reactor
async def test_an_address_that_moves_from_one_to_another_in_lalepass_moves() -> None:
    parts = Parts()
    await parts.homeserver.record_user_external_id("lalepass", "2", BOB)
    await parts.sync.apply(alice(emails=("team@x.org",)))

    await parts.sync.apply(alice())
    await parts.sync.apply(AcceptedUser(id="2", localpart="bob", emails=("team@x.org",)))

    assert parts.homeserver.addresses == [(BOB, "email", "team@x.org")]


@on_reactor
async def test_an_address_that_somebody_has_removed_comes_back() -> None:
    parts = Parts()
    await parts.sync.apply(FULL)
    await parts.homeserver.delete_local_threepid(MXID, "email", "a@y.org")

    await parts.sync.apply(FULL)

    assert parts.homeserver.addresses == ADDRESSES


@pytest.mark.parametrize("odd", ["", "no address", "a@b@c", "a\0@x.org", "x" * 300 + "@x.org"])
@on_reactor
async def test_what_is_no_address_is_left_out(odd: str) -> None:
    parts = Parts()

    await parts.sync.apply(alice(emails=(odd, "a@y.org"), phones=(odd, "4917012345")))

    assert parts.homeserver.addresses == [ADDRESSES[0], ADDRESSES[2]]


@on_reactor
async def test_on_create_is_when_the_account_is_made_and_never_again() -> None:
    parts = Parts(policy=ON_CREATE)
    await parts.sync.apply(FULL)
    assert (parts.name, parts.homeserver.addresses) == ("alice", [])

    await parts.sync.after_login(MXID, FULL, created=True)
    await parts.sync.after_login(MXID, alice(display_name="B"), created=False)

    assert parts.name == "Alice"
    assert parts.homeserver.addresses == ADDRESSES
    assert parts.homeserver.admin(MXID)


@on_reactor
async def test_never_is_never_and_costs_nothing() -> None:
    parts = Parts(policy=NEVER)
    asked: list[str] = []

    async def note(desc: str) -> None:
        asked.append(desc)

    parts.homeserver.before_reading = note
    await parts.sync.after_login(MXID, FULL, created=True)

    assert asked == []
    assert parts.homeserver.written == []


@on_reactor
async def test_a_user_without_an_account_is_no_fault() -> None:
    parts = Parts()

    await parts.sync.apply(AcceptedUser(id="unknown", localpart="alice", emails=("a@y.org",)))

    assert (parts.homeserver.written, parts.failed) == ([], [])


@on_reactor
async def test_a_local_user_keeps_what_the_homeserver_says() -> None:
    parts = Parts(local_users=LocalUsers(["al*"]))

    await parts.sync.apply(FULL)
    await parts.sync.after_login(MXID, FULL, created=False)

    assert parts.homeserver.written == []


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


class Stuck:
    """Holds up each transaction of a kind until it is let go."""

    def __init__(self, homeserver: FakeHomeserver, kind: str) -> None:
        self.waiting: list[defer.Deferred[None]] = []
        self._kind = kind
        homeserver.before_reading = self

    async def __call__(self, desc: str) -> None:
        if desc == self._kind:
            gate: defer.Deferred[None] = defer.Deferred()
            self.waiting.append(gate)
            await gate

    def let_go(self) -> None:
        self.waiting.pop(0).callback(None)


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
async def test_that_an_account_was_made_is_not_forgotten_in_the_queue() -> None:
    parts = Parts(policy=ON_CREATE)
    stuck = Stuck(parts.homeserver, "lalepass_profile")
    first = defer.ensureDeferred(parts.sync.after_login(MXID, alice(), created=True))
    made = defer.ensureDeferred(parts.sync.after_login(MXID, FULL, created=True))
    later = defer.ensureDeferred(parts.sync.after_login(MXID, FULL, created=False))

    while stuck.waiting:
        stuck.let_go()

    await defer.gatherResults([first, made, later])
    assert parts.homeserver.addresses == ADDRESSES


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


@on_reactor
async def test_what_the_change_feed_says_is_written_as_well() -> None:
    parts = Parts()
    changed = Account(
        id="1", localpart="alice", state=AccountState.ACTIVE, display_name="A", emails=("a@y.org",)
    )
    await parts.sync.apply(changed)
    assert (parts.name, parts.homeserver.addresses) == ("A", [(MXID, "email", "a@y.org")])

    # Nothing is known of it any more: its addresses are free for others.
    await parts.sync.apply(Account(id="1", localpart="alice", state=AccountState.DELETED))
    assert parts.homeserver.addresses == []
