"""What every store of orders to sign out does: in memory, in SQLite and in PostgreSQL."""

import pytest

from lalepass_service.core.model import UserId
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing
from tests.lalepass_service.adapters.followed import ALICE, LATER, RECORD, Followed

pytestmark = pytest.mark.anyio


async def test_an_order_is_given_once_to_each_caller(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await followed.users.sign_out(ALICE.id, now=standing(LATER), act=ACT)

    (order,) = await followed.orders.pending("hs", limit=9)
    await followed.orders.acknowledge([order.id, order.id, "unknown"], caller="hs")
    await followed.orders.acknowledge([order.id], caller="hs")

    assert (order.user_id, order.localpart, order.ordered_at) == (ALICE.id, "alice", LATER)
    assert await followed.names() == ["alice"]
    assert await followed.pending() == []
    assert await followed.pending("other") == ["alice"]
    assert await followed.pending("") == ["alice"]


async def test_a_newer_order_covers_the_older_one(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await followed.users.sign_out(ALICE.id, now=standing(NOW), act=ACT)
    (first,) = await followed.orders.pending("hs", limit=9)
    await followed.users.sign_out(ALICE.id, now=standing(LATER), act=ACT)

    await followed.orders.acknowledge([first.id], caller="hs")

    (second,) = await followed.orders.pending("hs", limit=9)
    assert second.id != first.id
    assert second.ordered_at == LATER


async def test_orders_come_oldest_first_and_are_acknowledged_in_any_order(
    followed: Followed,
) -> None:
    names = [f"user-{number}" for number in range(6)]
    for name in names:
        await followed.users.add(a_user(name), RECORD, reuse_name=False, act=ACT)
        await followed.users.sign_out(UserId(f"id-{name}"), now=standing(NOW), act=ACT)
    ids = {each.localpart: each.id for each in await followed.orders.pending("hs", limit=99)}
    assert list(ids) == names

    assert await followed.pending(limit=2) == names[:2]
    await followed.orders.acknowledge([ids["user-3"], ids["user-1"]], caller="hs")
    assert await followed.pending() == ["user-0", "user-2", "user-4", "user-5"]
    await followed.orders.acknowledge([ids["user-0"]], caller="hs")
    assert await followed.pending() == ["user-2", "user-4", "user-5"]
    await followed.users.sign_out(UserId("id-user-0"), now=standing(LATER), act=ACT)
    assert await followed.pending() == ["user-2", "user-4", "user-5", "user-0"]
    await followed.orders.acknowledge(list(ids.values()), caller="hs")
    assert await followed.pending() == ["user-0"]


async def test_orders_behind_a_place_are_those_that_were_given_later(followed: Followed) -> None:
    names = [f"user-{number}" for number in range(5)]
    for name in names:
        await followed.users.add(a_user(name), RECORD, reuse_name=False, act=ACT)
        await followed.users.sign_out(UserId(f"id-{name}"), now=standing(NOW), act=ACT)

    first = await followed.orders.pending("hs", limit=2)
    second = await followed.orders.pending("hs", after=first[-1].seq, limit=2)
    await followed.orders.acknowledge([second[0].id], caller="hs")
    rest = await followed.orders.pending("hs", after=first[0].seq, limit=99)

    assert [each.localpart for each in first] == names[:2]
    assert [each.localpart for each in second] == names[2:4]
    assert [each.localpart for each in rest] == ["user-1", "user-3", "user-4"]
    assert [each.seq for each in rest] == sorted({each.seq for each in rest})
    assert await followed.orders.pending("hs", after=rest[-1].seq, limit=99) == ()
    # A place before the caller's own mark changes nothing.
    await followed.orders.acknowledge([each.id for each in first], caller="hs")
    assert await followed.pending() == ["user-3", "user-4"]


async def test_deleting_and_a_reset_sign_out_and_a_new_password_alone_does_not(
    followed: Followed,
) -> None:
    for name in ("alice", "bob", "carol"):
        await followed.users.add(a_user(name), RECORD, reuse_name=False, act=ACT)
    await followed.users.set_password(UserId("id-alice"), RECORD, changed_at=NOW, act=ACT)
    await followed.users.set_password(
        UserId("id-bob"), RECORD, changed_at=NOW, sign_out=standing(NOW), act=ACT
    )
    await followed.users.delete(UserId("id-carol"), now=standing(LATER), act=ACT)

    orders = await followed.orders.pending("hs", limit=9)

    assert [(each.localpart, each.ordered_at) for each in orders] == [
        ("bob", NOW),
        ("carol", LATER),
    ]
    assert await followed.names() == ["bob", "carol"]


async def test_old_orders_are_forgotten(followed: Followed) -> None:
    for name, at in (("alice", NOW), ("bob", LATER)):
        await followed.users.add(a_user(name), RECORD, reuse_name=False, act=ACT)
        await followed.users.sign_out(UserId(f"id-{name}"), now=standing(at), act=ACT)
    done, _ = await followed.orders.pending("hs", limit=9)
    await followed.orders.acknowledge([done.id], caller="hs")

    assert await followed.orders.sweep(before=LATER) == 1

    assert await followed.pending("other") == ["bob"]
    assert await followed.pending() == ["bob"]
