"""What every store of the feed does: in memory, in SQLite and in PostgreSQL."""

from dataclasses import replace

import pytest

from lalepass_service.core.model import UserId, UserState
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing
from tests.lalepass_service.adapters.followed import ALICE, BOB, RECORD, Followed

pytestmark = pytest.mark.anyio


async def test_a_new_feed_is_empty(followed: Followed) -> None:
    stretch = await followed.changes.behind(0, limit=9)

    assert (stretch.head, tuple(stretch.changes)) == (0, ())
    assert await followed.changes.head() == 0
    assert await followed.locked() == []


async def test_a_database_has_one_name(followed: Followed) -> None:
    name = await followed.changes.database_id()

    assert name == await followed.changes.database_id()
    assert name.isalnum()
    assert name == name.lower()
    assert len(name) <= 32


async def test_an_account_that_nobody_knows_yet_is_not_in_the_feed(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await followed.users.add(a_user("carol"), None, reuse_name=True, act=ACT)

    assert await followed.names() == []


async def test_an_account_that_comes_disabled_is_in_the_feed(followed: Followed) -> None:
    await followed.users.add(BOB, RECORD, reuse_name=False, act=ACT)

    assert await followed.names() == ["bob"]


async def test_an_account_is_in_the_feed_as_it_is(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await followed.users.set_state(ALICE.id, UserState.DISABLED, act=ACT)

    (change,) = (await followed.changes.behind(0, limit=9)).changes

    assert (change.user_id, change.localpart) == (ALICE.id, "alice")
    assert change.user is not None
    told = ("id", "localpart", "display_name", "emails", "phones", "admin", "state")
    expected = replace(ALICE, state=UserState.DISABLED)
    assert [getattr(change.user, each) for each in told] == [
        getattr(expected, each) for each in told
    ]


async def test_an_account_is_in_the_feed_once_at_its_newest_place(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await followed.users.add(BOB, RECORD, reuse_name=False, act=ACT)
    await followed.users.set_state(ALICE.id, UserState.DISABLED, act=ACT)
    before = await followed.changes.head()
    await followed.users.set_state(BOB.id, UserState.ACTIVE, act=ACT)

    assert await followed.names() == ["alice", "bob"]
    assert await followed.names(before) == ["bob"]
    assert await followed.changes.head() > before
    assert await followed.names(limit=1) == ["alice"]
    assert await followed.names(limit=0) == []
    head = await followed.changes.head()
    assert (await followed.changes.behind(head, limit=9)).changes in ((), [])


async def test_far_behind_the_end_there_is_nothing(followed: Followed) -> None:
    stretch = await followed.changes.behind(10**19 - 1, limit=9)

    assert (stretch.head, tuple(stretch.changes)) == (0, ())


async def test_a_change_that_was_none_is_not_in_the_feed(followed: Followed) -> None:
    nobody = UserId("id-nobody")

    assert not await followed.users.set_state(nobody, UserState.DISABLED, act=ACT)
    assert not await followed.users.sign_out(nobody, now=standing(NOW), act=ACT)
    assert not await followed.users.delete(nobody, now=standing(NOW), act=ACT)
    assert not await followed.users.set_password(
        nobody, RECORD, changed_at=NOW, sign_out=standing(NOW), act=ACT
    )

    assert await followed.names() == []
    assert await followed.pending() == []


async def test_a_deleted_account_stays_in_the_feed_without_anything(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await followed.users.delete(ALICE.id, now=standing(NOW), act=ACT)

    (change,) = (await followed.changes.behind(0, limit=9)).changes

    assert (change.user_id, change.localpart, change.user) == (ALICE.id, "alice", None)
    assert await followed.locked() == ["alice"]


async def test_who_gets_a_name_that_was_anothers_takes_its_place_in_the_feed(
    followed: Followed,
) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await followed.users.delete(ALICE.id, now=standing(NOW), act=ACT)
    new = replace(a_user("alice"), id=UserId("id-new"))
    await followed.users.add(new, RECORD, reuse_name=True, act=ACT)

    (change,) = (await followed.changes.behind(0, limit=9)).changes

    assert change.user is not None
    assert (change.user_id, change.user.state) == (new.id, UserState.ACTIVE)
    assert await followed.locked() == []


async def test_the_locked_are_all_that_are_not_active_in_the_order_of_code_points(
    followed: Followed,
) -> None:
    names = ["z", "a", "a-", "a.", "a0", "a=", "a_", "aa", "0", "-", "+"]
    for name in names:
        await followed.users.add(
            a_user(name, state=UserState.DISABLED), None, reuse_name=False, act=ACT
        )
    for name in ("b", "deleted", "_deleted"):
        await followed.users.add(a_user(name), None, reuse_name=False, act=ACT)
    for name in ("deleted", "_deleted"):
        await followed.users.delete(UserId(f"id-{name}"), now=standing(NOW), act=ACT)
    everyone = sorted([*names, "deleted", "_deleted"])

    assert await followed.locked() == everyone
    seen: list[str] = []
    while page := await followed.locked(seen[-1] if seen else None, limit=2):
        assert len(page) <= 2
        seen += page
    assert seen == everyone
    assert await followed.locked("zz") == []


async def test_the_place_of_the_locked_is_the_head(followed: Followed) -> None:
    await followed.users.add(BOB, RECORD, reuse_name=False, act=ACT)

    assert (
        await followed.changes.locked(after=None, limit=9)
    ).head == await followed.changes.head()
