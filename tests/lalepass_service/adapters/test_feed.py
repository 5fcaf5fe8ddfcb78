"""What every store of the feed, of orders and of sign-ins does: in memory and in SQLite."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lalepass_service.adapters.memory import (
    MemoryChanges,
    MemorySignIns,
    MemorySignOutOrders,
    MemoryUsers,
)
from lalepass_service.adapters.sql.feed import SqlChanges
from lalepass_service.adapters.sql.orders import SqlSignOutOrders
from lalepass_service.adapters.sql.sign_ins import SqlSignIns
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.changes import Changes, SignOutOrders
from lalepass_service.core.model import PasswordRecord, User, UserId, UserState
from lalepass_service.core.ports import Users
from lalepass_service.core.sign_ins import KEEP_PER_ACCOUNT, Report, SignIns
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing
from tests.lalepass_service.adapters.databases import fresh, opened

pytestmark = pytest.mark.anyio

LATER = NOW + timedelta(hours=1)
RECORD = PasswordRecord("$")
ALICE = replace(
    a_user("alice", emails=("z@x", "a@x"), phones=("491701234567",)),
    display_name="Alice",
    admin=True,
)
BOB = a_user("bob", state=UserState.DISABLED)


@dataclass(frozen=True)
class Stores:
    users: Users
    changes: Changes
    orders: SignOutOrders
    sign_ins: SignIns

    async def names(self, after: int = 0, limit: int = 99) -> list[str]:
        return [each.localpart for each in (await self.changes.behind(after, limit=limit)).changes]

    async def locked(self, after: str | None = None, limit: int = 99) -> list[str]:
        return list((await self.changes.locked(after=after, limit=limit)).localparts)

    async def pending(self, caller: str = "hs", limit: int = 99) -> list[str]:
        return [each.localpart for each in await self.orders.pending(caller, limit=limit)]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    if request.param == "memory":
        users = MemoryUsers()
        yield Stores(
            users=users,
            changes=MemoryChanges(users),
            orders=MemorySignOutOrders(users),
            sign_ins=MemorySignIns(users),
        )
        return
    async with opened(fresh(request.param, request, tmp_path)) as at:
        yield Stores(
            users=SqlUsers(at.database),
            changes=SqlChanges(at.lane),
            orders=SqlSignOutOrders(lane=at.lane, hot=at.hot),
            sign_ins=SqlSignIns(at.hot),
        )


async def test_a_new_feed_is_empty(stores: Stores) -> None:
    stretch = await stores.changes.behind(0, limit=9)

    assert (stretch.head, tuple(stretch.changes)) == (0, ())
    assert await stores.changes.head() == 0
    assert await stores.locked() == []


async def test_a_database_has_one_name(stores: Stores) -> None:
    name = await stores.changes.database_id()

    assert name == await stores.changes.database_id()
    assert name.isalnum()
    assert name == name.lower()
    assert len(name) <= 32


async def test_an_account_that_nobody_knows_yet_is_not_in_the_feed(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await stores.users.add(a_user("carol"), None, reuse_name=True, act=ACT)

    assert await stores.names() == []


async def test_an_account_that_comes_disabled_is_in_the_feed(stores: Stores) -> None:
    await stores.users.add(BOB, RECORD, reuse_name=False, act=ACT)

    assert await stores.names() == ["bob"]


async def test_an_account_is_in_the_feed_as_it_is(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await stores.users.set_state(ALICE.id, UserState.DISABLED, act=ACT)

    (change,) = (await stores.changes.behind(0, limit=9)).changes

    assert (change.user_id, change.localpart) == (ALICE.id, "alice")
    assert change.user is not None
    told = ("id", "localpart", "display_name", "emails", "phones", "admin", "state")
    expected = replace(ALICE, state=UserState.DISABLED)
    assert [getattr(change.user, each) for each in told] == [
        getattr(expected, each) for each in told
    ]


async def test_an_account_is_in_the_feed_once_at_its_newest_place(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await stores.users.add(BOB, RECORD, reuse_name=False, act=ACT)
    await stores.users.set_state(ALICE.id, UserState.DISABLED, act=ACT)
    before = await stores.changes.head()
    await stores.users.set_state(BOB.id, UserState.ACTIVE, act=ACT)

    assert await stores.names() == ["alice", "bob"]
    assert await stores.names(before) == ["bob"]
    assert await stores.changes.head() > before
    assert await stores.names(limit=1) == ["alice"]
    assert await stores.names(limit=0) == []
    head = await stores.changes.head()
    assert (await stores.changes.behind(head, limit=9)).changes in ((), [])


async def test_far_behind_the_end_there_is_nothing(stores: Stores) -> None:
    stretch = await stores.changes.behind(10**19 - 1, limit=9)

    assert (stretch.head, tuple(stretch.changes)) == (0, ())


async def test_a_change_that_was_none_is_not_in_the_feed(stores: Stores) -> None:
    nobody = UserId("id-nobody")

    assert not await stores.users.set_state(nobody, UserState.DISABLED, act=ACT)
    assert not await stores.users.sign_out(nobody, now=standing(NOW), act=ACT)
    assert not await stores.users.delete(nobody, now=standing(NOW), act=ACT)
    assert not await stores.users.set_password(
        nobody, RECORD, changed_at=NOW, sign_out=standing(NOW), act=ACT
    )

    assert await stores.names() == []
    assert await stores.pending() == []


async def test_a_deleted_account_stays_in_the_feed_without_anything(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await stores.users.delete(ALICE.id, now=standing(NOW), act=ACT)

    (change,) = (await stores.changes.behind(0, limit=9)).changes

    assert (change.user_id, change.localpart, change.user) == (ALICE.id, "alice", None)
    assert await stores.locked() == ["alice"]


async def test_who_gets_a_name_that_was_anothers_takes_its_place_in_the_feed(
    stores: Stores,
) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await stores.users.delete(ALICE.id, now=standing(NOW), act=ACT)
    new = replace(a_user("alice"), id=UserId("id-new"))
    await stores.users.add(new, RECORD, reuse_name=True, act=ACT)

    (change,) = (await stores.changes.behind(0, limit=9)).changes

    assert change.user is not None
    assert (change.user_id, change.user.state) == (new.id, UserState.ACTIVE)
    assert await stores.locked() == []


async def test_the_locked_are_all_that_are_not_active_in_the_order_of_code_points(
    stores: Stores,
) -> None:
    names = ["z", "a", "a-", "a.", "a0", "a=", "a_", "aa", "0", "-", "+"]
    for name in names:
        await stores.users.add(
            a_user(name, state=UserState.DISABLED), None, reuse_name=False, act=ACT
        )
    for name in ("b", "deleted", "_deleted"):
        await stores.users.add(a_user(name), None, reuse_name=False, act=ACT)
    for name in ("deleted", "_deleted"):
        await stores.users.delete(UserId(f"id-{name}"), now=standing(NOW), act=ACT)
    everyone = sorted([*names, "deleted", "_deleted"])

    assert await stores.locked() == everyone
    seen: list[str] = []
    while page := await stores.locked(seen[-1] if seen else None, limit=2):
        assert len(page) <= 2
        seen += page
    assert seen == everyone
    assert await stores.locked("zz") == []


async def test_the_place_of_the_locked_is_the_head(stores: Stores) -> None:
    await stores.users.add(BOB, RECORD, reuse_name=False, act=ACT)

    assert (await stores.changes.locked(after=None, limit=9)).head == await stores.changes.head()


async def test_an_order_is_given_once_to_each_caller(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await stores.users.sign_out(ALICE.id, now=standing(LATER), act=ACT)

    (order,) = await stores.orders.pending("hs", limit=9)
    await stores.orders.acknowledge([order.id, order.id, "unknown"], caller="hs")
    await stores.orders.acknowledge([order.id], caller="hs")

    assert (order.user_id, order.localpart, order.ordered_at) == (ALICE.id, "alice", LATER)
    assert await stores.names() == ["alice"]
    assert await stores.pending() == []
    assert await stores.pending("other") == ["alice"]
    assert await stores.pending("") == ["alice"]


async def test_a_newer_order_covers_the_older_one(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await stores.users.sign_out(ALICE.id, now=standing(NOW), act=ACT)
    (first,) = await stores.orders.pending("hs", limit=9)
    await stores.users.sign_out(ALICE.id, now=standing(LATER), act=ACT)

    await stores.orders.acknowledge([first.id], caller="hs")

    (second,) = await stores.orders.pending("hs", limit=9)
    assert second.id != first.id
    assert second.ordered_at == LATER


async def test_orders_come_oldest_first_and_are_acknowledged_in_any_order(stores: Stores) -> None:
    names = [f"user-{number}" for number in range(6)]
    for name in names:
        await stores.users.add(a_user(name), RECORD, reuse_name=False, act=ACT)
        await stores.users.sign_out(UserId(f"id-{name}"), now=standing(NOW), act=ACT)
    ids = {each.localpart: each.id for each in await stores.orders.pending("hs", limit=99)}
    assert list(ids) == names

    assert await stores.pending(limit=2) == names[:2]
    await stores.orders.acknowledge([ids["user-3"], ids["user-1"]], caller="hs")
    assert await stores.pending() == ["user-0", "user-2", "user-4", "user-5"]
    await stores.orders.acknowledge([ids["user-0"]], caller="hs")
    assert await stores.pending() == ["user-2", "user-4", "user-5"]
    await stores.users.sign_out(UserId("id-user-0"), now=standing(LATER), act=ACT)
    assert await stores.pending() == ["user-2", "user-4", "user-5", "user-0"]
    await stores.orders.acknowledge(list(ids.values()), caller="hs")
    assert await stores.pending() == ["user-0"]


async def test_orders_behind_a_place_are_those_that_were_given_later(stores: Stores) -> None:
    names = [f"user-{number}" for number in range(5)]
    for name in names:
        await stores.users.add(a_user(name), RECORD, reuse_name=False, act=ACT)
        await stores.users.sign_out(UserId(f"id-{name}"), now=standing(NOW), act=ACT)

    first = await stores.orders.pending("hs", limit=2)
    second = await stores.orders.pending("hs", after=first[-1].seq, limit=2)
    await stores.orders.acknowledge([second[0].id], caller="hs")
    rest = await stores.orders.pending("hs", after=first[0].seq, limit=99)

    assert [each.localpart for each in first] == names[:2]
    assert [each.localpart for each in second] == names[2:4]
    assert [each.localpart for each in rest] == ["user-1", "user-3", "user-4"]
    assert [each.seq for each in rest] == sorted({each.seq for each in rest})
    assert await stores.orders.pending("hs", after=rest[-1].seq, limit=99) == ()
    # A place before the caller's own mark changes nothing.
    await stores.orders.acknowledge([each.id for each in first], caller="hs")
    assert await stores.pending() == ["user-3", "user-4"]


async def test_deleting_and_a_reset_sign_out_and_a_new_password_alone_does_not(
    stores: Stores,
) -> None:
    for name in ("alice", "bob", "carol"):
        await stores.users.add(a_user(name), RECORD, reuse_name=False, act=ACT)
    await stores.users.set_password(UserId("id-alice"), RECORD, changed_at=NOW, act=ACT)
    await stores.users.set_password(
        UserId("id-bob"), RECORD, changed_at=NOW, sign_out=standing(NOW), act=ACT
    )
    await stores.users.delete(UserId("id-carol"), now=standing(LATER), act=ACT)

    orders = await stores.orders.pending("hs", limit=9)

    assert [(each.localpart, each.ordered_at) for each in orders] == [
        ("bob", NOW),
        ("carol", LATER),
    ]
    assert await stores.names() == ["bob", "carol"]


async def test_old_orders_are_forgotten(stores: Stores) -> None:
    for name, at in (("alice", NOW), ("bob", LATER)):
        await stores.users.add(a_user(name), RECORD, reuse_name=False, act=ACT)
        await stores.users.sign_out(UserId(f"id-{name}"), now=standing(at), act=ACT)
    done, _ = await stores.orders.pending("hs", limit=9)
    await stores.orders.acknowledge([done.id], caller="hs")

    assert await stores.orders.sweep(before=LATER) == 1

    assert await stores.pending("other") == ["bob"]
    assert await stores.pending() == ["bob"]


def a_report(number: int = 0, **more: object) -> Report:
    plain = Report(
        id=f"report-{number:010}",
        signed_in=True,
        localpart="alice",
        device_id="PHONE",
        at=NOW,
        ip="192.0.2.7",
        user_agent="Element",
    )
    return replace(plain, **more)  # type: ignore[arg-type] # of whatever type the field is


async def sessions(
    stores: Stores, user: User = ALICE
) -> list[tuple[str | None, datetime | None, datetime | None]]:
    found = await stores.sign_ins.recent(user.id, limit=99)
    return [(each.device_id, each.signed_in_at, each.signed_out_at) for each in found]


IN = a_report(1)
OUT = a_report(2, signed_in=False, at=LATER, ip=None, user_agent=None)


@pytest.mark.parametrize(
    "batches",
    [[[IN, OUT]], [[IN], [OUT]], [[OUT, IN]], [[OUT], [IN]], [[IN, IN, OUT], [OUT, IN]]],
    ids=["together", "in turn", "backwards", "the end first", "again and again"],
)
async def test_both_ends_of_a_session_find_each_other(
    stores: Stores, batches: list[list[Report]]
) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    for batch in batches:
        await stores.sign_ins.add(batch, caller="hs", now=LATER)

    (session,) = await stores.sign_ins.recent(ALICE.id, limit=9)

    assert (session.caller, session.device_id) == ("hs", "PHONE")
    assert (session.signed_in_at, session.signed_out_at) == (NOW, LATER)
    assert (session.ip, session.user_agent) == ("192.0.2.7", "Element")


async def test_what_does_not_belong_together_is_not_joined(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await stores.users.add(BOB, RECORD, reuse_name=False, act=ACT)
    await stores.sign_ins.add([IN], caller="hs", now=NOW)
    for number, other in enumerate(
        (
            replace(OUT, device_id="LAPTOP"),
            replace(OUT, at=NOW - timedelta(seconds=1)),
            replace(OUT, device_id=None),
            replace(OUT, localpart="bob"),
        )
    ):
        await stores.sign_ins.add([replace(other, id=f"other-{number}")], caller="hs", now=NOW)
    await stores.sign_ins.add([replace(OUT, id="elsewhere")], caller="another", now=NOW)

    assert ("PHONE", NOW, None) in await sessions(stores)
    assert len(await sessions(stores)) == 5
    assert await sessions(stores, BOB) == [("PHONE", None, LATER)]


async def test_sign_ins_without_a_device_are_kept_each_for_itself(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    nameless = [replace(a_report(n), device_id=None) for n in range(2)]
    await stores.sign_ins.add(nameless, caller="hs", now=NOW)

    assert await sessions(stores) == [(None, NOW, None)] * 2


async def test_the_newest_session_of_a_device_is_the_one_that_ends(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    soon = NOW + timedelta(minutes=1)
    await stores.sign_ins.add([IN, a_report(3, at=soon), OUT], caller="hs", now=LATER)

    assert await sessions(stores) == [("PHONE", soon, LATER), ("PHONE", NOW, None)]


async def test_a_report_about_nobody_is_left_out(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    reports = [a_report(1, localpart="nobody"), a_report(2)]
    await stores.sign_ins.add(reports, caller="hs", now=NOW)

    assert len(await sessions(stores)) == 1
    assert await stores.sign_ins.recent(UserId("id-nobody"), limit=9) in ((), [])


async def test_the_last_sessions_of_each_account_are_kept(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await stores.users.add(BOB, RECORD, reuse_name=False, act=ACT)
    await stores.sign_ins.add([a_report(999, localpart="bob")], caller="hs", now=NOW)
    for number in range(KEEP_PER_ACCOUNT + 5):
        report = a_report(number, device_id=f"D{number}", at=NOW + timedelta(seconds=number))
        await stores.sign_ins.add([report], caller="hs", now=NOW)

    kept = [device for device, _, _ in await sessions(stores)]

    assert kept == [f"D{number}" for number in range(KEEP_PER_ACCOUNT + 4, 4, -1)]
    assert len(await stores.sign_ins.recent(ALICE.id, limit=3)) == 3
    assert len(await sessions(stores, BOB)) == 1


async def test_sessions_are_forgotten_in_time_and_with_their_account(stores: Stores) -> None:
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await stores.sign_ins.add([a_report(1)], caller="hs", now=NOW)
    await stores.sign_ins.add([a_report(2)], caller="hs", now=LATER)

    assert await stores.sign_ins.sweep(before=LATER) == 1
    assert len(await sessions(stores)) == 1
    await stores.users.delete(ALICE.id, now=standing(LATER), act=ACT)

    assert await sessions(stores) == []
