"""What an operator does is done to that account, at that time, and stands in the trail."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lalepass_service.adapters.memory import (
    FixedClock,
    InstantHasher,
    MemorySignIns,
    MemorySoftLocks,
    MemoryUsers,
)
from lalepass_service.core.audit import Entry, Event
from lalepass_service.core.directory import Directory
from lalepass_service.core.editing import Edit, NewUser
from lalepass_service.core.errors import AlreadyTaken, InvalidInput, StoreUnavailable, UserNotFound
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import (
    Credentials,
    Password,
    PasswordRecord,
    User,
    UserId,
    UserState,
)
from lalepass_service.core.policy import PasswordPolicy
from lalepass_service.core.sign_ins import Report
from lalepass_service.core.softlock import Lane
from tests.lalepass_service.accounts import BY, NOW
from tests.lalepass_service.paying import debit

pytestmark = pytest.mark.anyio

GOOD, BETTER = Password("correct horse"), Password("battery staple")
LATER = NOW + timedelta(days=1)
FOREIGN = PasswordRecord("$instant$old$foreign", scheme="instant,old")
ALICE, BOB = UserId("id-1"), UserId("id-2")


class World:
    """A directory with Alice and Bob in it, and all that is behind it."""

    def __init__(self) -> None:
        self.users = MemoryUsers()
        self.hasher = InstantHasher()
        self.locks = MemorySoftLocks()
        self.clock = FixedClock(NOW)
        self.sign_ins = MemorySignIns(self.users)
        ids = iter(f"id-{number}" for number in range(1, 100))
        self.directory = Directory(
            users=self.users,
            hasher=self.hasher,
            locks=self.locks,
            clock=self.clock,
            policy=PasswordPolicy(),
            by=BY,
            sign_ins=self.sign_ins,
            new_id=lambda: next(ids),
        )

    async def settle(self) -> None:
        await self.directory.add(NewUser(localpart="alice"), GOOD)
        await self.directory.add(NewUser(localpart="bob"), GOOD)
        for account in (ALICE, BOB):
            for number in range(2):
                guess = number.to_bytes(16)
                await debit(self.locks, account, source=b"", guess=guess, now=NOW)
        self.users.acts.clear()
        self.clock.time = LATER

    async def credentials(self, localpart: str = "alice") -> Credentials:
        found = await self.users.credentials(ByLocalpart(localpart))
        assert found is not None
        return found


@pytest.fixture
async def world() -> World:
    world = World()
    await world.settle()
    return world


def an_act(event: Event, details: dict[str, Any] | None = None, *, at: datetime = LATER) -> Entry:
    return BY.act(event, at=at, user_id=ALICE, localpart="alice", details=details or {})


@pytest.mark.parametrize(
    ("password", "told"),
    [(None, "none"), (GOOD, "given"), (FOREIGN, "hash of another program")],
    ids=["none", "given", "foreign"],
)
async def test_a_new_account_is_what_was_asked_for(
    password: Password | PasswordRecord | None, told: str
) -> None:
    world = World()
    new = NewUser(localpart="alice", state=UserState.DISABLED, admin=True)
    made = await world.directory.add(new, password)

    found = await world.credentials()
    assert made == found.user
    assert (made.id, made.state, made.created_at) == (ALICE, UserState.DISABLED, NOW)
    assert made.password_changed_at == (NOW if password else None)
    if password is None:
        assert found.record is None
    elif isinstance(password, PasswordRecord):
        assert found.record == password
        assert world.hasher.calls == 0
    else:
        assert await world.hasher.verify(password, found.record, account="")
    details = {"password": told, "admin": True, "state": "disabled", "reused_name": False}
    assert world.users.acts == [an_act(Event.USER_ADDED, details, at=NOW)]


async def test_no_password_is_no_record_and_not_an_empty_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, given = World(), list[object]()
    add = world.users.add

    async def noted(user: User, record: PasswordRecord | None, **more: Any) -> None:
        given.append(record)
        await add(user, record, **more)

    monkeypatch.setattr(world.users, "add", noted)
    await world.directory.add(NewUser(localpart="alice"), None)

    assert given == [None]


async def test_each_account_has_an_id_of_its_own_that_nobody_can_foretell() -> None:
    world = World()
    directory = Directory(
        users=world.users,
        hasher=world.hasher,
        locks=world.locks,
        clock=world.clock,
        policy=PasswordPolicy(),
        by=BY,
        sign_ins=world.sign_ins,
    )
    made = [await directory.add(NewUser(localpart=name), None) for name in ("a", "b")]

    assert [len(user.id) for user in made] == [36, 36]
    assert made[0].id != made[1].id


async def test_that_a_name_was_used_before_stands_in_the_trail(world: World) -> None:
    await world.directory.delete("alice")
    await world.directory.add(NewUser(localpart="alice"), None, reuse_name=True)

    assert world.users.acts[-1].details["reused_name"] is True


async def test_a_new_password_is_the_one_that_was_given(world: World) -> None:
    await world.directory.set_password("alice", BETTER)

    found = await world.credentials()
    assert await world.hasher.verify(BETTER, found.record, account="")
    assert found.user.password_changed_at == LATER
    assert await world.hasher.verify(GOOD, (await world.credentials("bob")).record, account="")
    details = {"password": "given", "must_change": False, "sign_out": True}
    assert world.users.acts == [an_act(Event.PASSWORD_SET, details)]


async def test_a_record_of_another_program_is_taken_as_it_is(world: World) -> None:
    calls = world.hasher.calls
    await world.directory.set_password("alice", FOREIGN, keep_sessions=True)

    assert (await world.credentials()).record == FOREIGN
    assert world.hasher.calls == calls
    details = {"password": "hash of another program", "must_change": False, "sign_out": False}
    assert world.users.acts == [an_act(Event.PASSWORD_SET, details)]


async def test_on_what_terms_a_password_was_given_stands_in_the_trail(world: World) -> None:
    await world.directory.set_password("alice", BETTER, valid_for=timedelta(days=3))

    (act,) = world.users.acts
    assert act.details["must_change"] is True
    assert act.details["expires_at"] == "2026-01-06T03:04:05+00:00"


@pytest.mark.parametrize("what", ["set_password", "delete"])
async def test_what_wrong_passwords_have_closed_is_opened_for_this_account(
    world: World, what: str
) -> None:
    if what == "delete":
        await world.directory.delete("alice")
    else:
        await world.directory.set_password("alice", BETTER)

    assert await world.locks.lanes(ALICE) == ()
    assert len(await world.locks.lanes(BOB)) == 1


@pytest.mark.parametrize("what", ["set_password", "delete"])
async def test_what_is_done_is_done_whatever_becomes_of_the_locks(world: World, what: str) -> None:
    world.locks.failure = StoreUnavailable()
    if what == "delete":
        await world.directory.delete("alice")
        assert await world.users.find(ByLocalpart("alice")) is None
    else:
        await world.directory.set_password("alice", BETTER)
        assert (await world.credentials()).user.password_changed_at == LATER


async def test_failures_are_those_of_the_worst_lane(world: World) -> None:
    assert await world.directory.failures("alice") == 2
    ticket = await debit(world.locks, ALICE, source=b"h" * 16, guess=b"r" * 16, now=LATER)
    world.locks.settle(ticket, user_id=ALICE, now=LATER)
    assert await world.directory.failures("alice") == 0
    await debit(world.locks, ALICE, source=b"h" * 16, guess=b"1" * 16, now=LATER)
    for number in range(3):
        await debit(world.locks, ALICE, source=b"", guess=number.to_bytes(16), now=LATER)

    assert await world.directory.failures("alice") == 3
    assert await world.directory.failures("bob") == 2


async def test_unlocking_is_for_one_account_and_stands_in_the_trail(world: World) -> None:
    assert await world.directory.unlock("alice")
    assert not await world.directory.unlock("alice")

    assert await world.directory.failures("alice") == 0
    assert await world.directory.failures("bob") == 2
    assert world.locks.acts == [an_act(Event.USER_UNLOCKED)]


async def test_the_keeper_of_lanes_is_told_what_is_known_of_the_account(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is in another store may not have heard of it."""
    user = (await world.credentials()).user
    known = replace(user, password_changed_at=NOW, unlocked_at=LATER)
    told: list[object] = []

    async def find(_: object) -> User:
        return known

    async def lanes(account: str, **of: object) -> tuple[Lane, ...]:
        told.append((account, of))
        return ()

    async def unlock(account: str, **of: object) -> bool:
        told.append((account, of))
        return True

    monkeypatch.setattr(world.users, "find", find)
    monkeypatch.setattr(world.locks, "lanes", lanes)
    monkeypatch.setattr(world.locks, "unlock", unlock)

    assert await world.directory.failures("alice") == 0
    assert await world.directory.unlock("alice")

    act = an_act(Event.USER_UNLOCKED)
    assert told == [
        (ALICE, {"since": NOW, "unlocked": LATER}),
        (ALICE, {"act": act, "now": act.at, "unlocked": LATER}),
    ]


async def test_each_state_has_its_entry(world: World) -> None:
    await world.directory.set_state("alice", UserState.DISABLED)
    await world.directory.set_state("alice", UserState.ACTIVE)

    acts = [an_act(Event.USER_DISABLED), an_act(Event.USER_ENABLED)]
    assert world.users.acts == acts
    assert (await world.credentials("bob")).user.state is UserState.ACTIVE


async def test_an_edit_names_what_was_changed_and_not_into_what(world: World) -> None:
    edit = Edit(display_name="Alice", add_emails=["alice@example.org"])
    assert await world.directory.edit("alice", edit) is True
    assert await world.directory.edit("alice", Edit(display_name="Alice")) is False

    user = (await world.credentials()).user
    assert (user.display_name, user.emails) == ("Alice", ("alice@example.org",))
    details = {"changed": "display_name add_emails"}
    assert world.users.acts == [an_act(Event.USER_EDITED, details)]


async def test_who_is_signed_out_has_an_order_and_an_entry(world: World) -> None:
    await world.directory.sign_out("alice")

    assert list(world.users.followers.orders) == [ALICE]
    assert world.users.acts == [an_act(Event.USER_SIGNED_OUT)]


async def test_who_is_deleted_was_so_at_a_time(world: World) -> None:
    await world.directory.delete("alice")

    assert world.users.followers.orders[ALICE].ordered_at == LATER
    assert world.users.acts == [an_act(Event.USER_DELETED)]
    assert (await world.credentials("bob")).user.id == BOB


async def test_the_last_sign_ins_are_those_of_the_account(world: World) -> None:
    reports = [
        Report(
            id=f"{name}-{number}", signed_in=True, localpart=name, device_id=f"D{number}", at=NOW
        )
        for name in ("alice", "bob")
        for number in range(3)
    ]
    await world.sign_ins.add(reports, caller="hs", now=NOW)

    assert len(await world.directory.sign_ins("alice", limit=2)) == 2
    assert len(await world.directory.sign_ins("alice", limit=9)) == 3


_GONE: dict[str, Callable[[Directory], Any]] = {
    "set_password": lambda directory: directory.set_password("alice", BETTER),
    "set_state": lambda directory: directory.set_state("alice", UserState.DISABLED),
    "edit": lambda directory: directory.edit("alice", Edit(admin=True)),
    "sign_out": lambda directory: directory.sign_out("alice"),
    "delete": lambda directory: directory.delete("alice"),
}


@pytest.mark.parametrize("attempt", _GONE.values(), ids=_GONE)
async def test_who_is_gone_between_the_look_and_the_change_is_not_found(
    world: World, attempt: Callable[[Directory], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not only because the look says so."""
    alice = (await world.credentials()).user
    await world.users.delete(ALICE, now=world.clock.now, act=an_act(Event.USER_DELETED))
    orders = dict(world.users.followers.orders)

    async def still_there(_: object) -> User:
        return alice

    monkeypatch.setattr(world.users, "find", still_there)
    with pytest.raises(UserNotFound):
        await attempt(world.directory)
    assert world.users.followers.orders == orders


async def test_names_are_looked_at_before_anybody_is_looked_for(world: World) -> None:
    for attempt in (world.directory.get, world.directory.failures, world.directory.unlock):
        with pytest.raises(InvalidInput):
            await attempt("Alice")


async def test_a_page_is_of_the_size_and_the_state_that_were_asked_for(world: World) -> None:
    await world.directory.set_state("bob", UserState.DISABLED)

    assert [user.localpart for user in await world.directory.page(limit=1)] == ["alice"]
    disabled = await world.directory.page(after="alice", state=UserState.DISABLED)
    assert [user.localpart for user in disabled] == ["bob"]


CAROL = NewUser(localpart="carol", emails=["carol@example.org"])


async def test_who_is_brought_along_is_there_once(world: World) -> None:
    assert await world.directory.bring(CAROL, FOREIGN) is True
    assert await world.directory.bring(CAROL, FOREIGN) is False

    (act,) = world.users.acts
    assert (act.event, act.localpart) == (Event.USER_IMPORTED, "carol")
    assert act.details["reused_name"] is False
    assert (await world.credentials("carol")).record == FOREIGN


async def test_who_was_brought_along_and_renewed_is_there(world: World) -> None:
    await world.directory.bring(CAROL, FOREIGN)
    found = await world.credentials("carol")
    assert found.record is not None
    new = await world.hasher.hash(GOOD)
    assert await world.users.replace_record(found.user.id, old=found.record, new=new)

    assert await world.directory.bring(CAROL, FOREIGN) is False


@pytest.mark.parametrize(
    ("new", "record"),
    [
        (NewUser(localpart="carol"), FOREIGN),
        (CAROL, PasswordRecord("$instant$old$another", scheme="instant,old")),
        (CAROL, None),
        (NewUser(localpart="dora", emails=["carol@example.org"]), FOREIGN),
    ],
    ids=["other addresses", "another record", "no record", "another name"],
)
async def test_who_is_there_otherwise_is_not_brought_along(
    world: World, new: NewUser, record: PasswordRecord | None
) -> None:
    await world.directory.bring(CAROL, FOREIGN)
    before = await world.credentials("carol")

    with pytest.raises(AlreadyTaken):
        await world.directory.bring(new, record)
    assert await world.credentials("carol") == before


async def test_who_has_no_password_is_not_who_has_one(world: World) -> None:
    await world.directory.bring(CAROL, None)

    assert await world.directory.bring(CAROL, None) is False
    with pytest.raises(AlreadyTaken):
        await world.directory.bring(CAROL, FOREIGN)
