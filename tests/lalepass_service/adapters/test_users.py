"""What every store of accounts does: how they are stored, found and listed."""

from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from lalepass_service.core.errors import AlreadyTaken
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import (
    PasswordRecord,
    User,
    UserId,
    UserState,
)
from lalepass_service.core.ports import Users
from tests.lalepass_service.accounts import ACT, NOW, a_user
from tests.lalepass_service.adapters.stores import ALICE, NEWER_RECORD, RECORD

pytestmark = pytest.mark.anyio

AWKWARD = ["%", "_", "a%", "a_b", "'", '"', "'; DROP TABLE users; --", "\\", "?", ":x", "a b", "ü"]


async def test_what_was_stored_comes_back_as_it_was(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)

    found = await users.credentials(ByLocalpart("alice"))

    assert found is not None
    assert found.user == ALICE
    assert found.record == RECORD


@pytest.mark.parametrize(
    "identifier",
    [
        ByLocalpart("alice"),
        ByEmail("z@example.org"),
        ByEmail("m@example.org"),
        ByPhone("12025550123"),
    ],
)
async def test_an_account_is_found_by_each_of_its_names(
    users: Users, identifier: Identifier
) -> None:
    await users.add(a_user("bob", emails=("bob@example.org",)), None, reuse_name=False, act=ACT)
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)

    assert await users.find(identifier) == ALICE


@pytest.mark.parametrize(
    "identifier",
    [
        ByLocalpart("nobody"),
        ByLocalpart("Alice"),
        ByLocalpart("alic"),
        ByLocalpart("a%"),
        ByLocalpart("_lice"),
        ByLocalpart("a@example.org"),
        ByEmail("alice"),
        ByEmail("%@example.org"),
        ByPhone("1"),
    ],
)
async def test_an_account_is_not_found_by_anything_else(
    users: Users, identifier: Identifier
) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)

    assert await users.find(identifier) is None
    assert await users.credentials(identifier) is None


async def test_an_account_without_a_password_has_no_record(users: Users) -> None:
    await users.add(replace(ALICE, password_changed_at=None), None, reuse_name=False, act=ACT)

    found = await users.credentials(ByLocalpart("alice"))

    assert found is not None
    assert found.record is None
    assert found.user.password_changed_at is None


@pytest.mark.parametrize("odd", AWKWARD)
async def test_signs_that_mean_something_to_sql_mean_nothing_in_a_name(
    users: Users, odd: str
) -> None:
    mine = replace(a_user(odd), display_name=odd, emails=(f"{odd}@x",), phones=(odd,))
    await users.add(mine, PasswordRecord(odd), reuse_name=False, act=ACT)
    await users.add(a_user("aXb"), None, reuse_name=False, act=ACT)

    for identifier in (ByLocalpart(odd), ByEmail(f"{odd}@x"), ByPhone(odd)):
        found = await users.credentials(identifier)
        assert found is not None
        assert found.user.display_name == odd
        assert found.record == PasswordRecord(odd)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (a_user("alice", emails=("b@example.org",)), "user name"),
        (a_user("bob", emails=("new@example.org", "m@example.org")), "e-mail address"),
        (a_user("bob", phones=("12025550123",)), "phone number"),
        (replace(ALICE, id=UserId("id-2")), "user name"),
    ],
    ids=["user name", "e-mail address", "phone number", "all of them"],
)
async def test_what_one_account_has_another_can_not_have(
    users: Users, other: User, what: str
) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    other = replace(other, id=UserId("id-other"))

    with pytest.raises(AlreadyTaken) as caught:
        await users.add(other, NEWER_RECORD, reuse_name=False, act=ACT)

    assert caught.value.what == what
    assert await users.page(after=None, limit=9, state=None) == (ALICE,)


async def test_of_several_things_that_are_taken_the_name_is_said(users: Users) -> None:
    await users.add(a_user("alice", emails=("a@example.org",)), None, reuse_name=False, act=ACT)
    await users.add(a_user("bob", phones=("491701234567",)), None, reuse_name=False, act=ACT)
    both = replace(
        a_user("bob", emails=("a@example.org",), phones=("491701234567",)), id=UserId("id-other")
    )

    with pytest.raises(AlreadyTaken) as of_name:
        await users.add(both, None, reuse_name=False, act=ACT)
    with pytest.raises(AlreadyTaken) as of_address:
        await users.add(replace(both, localpart="carol"), None, reuse_name=False, act=ACT)

    assert of_name.value.what == "user name"
    assert of_address.value.what == "e-mail address"


async def test_a_failed_attempt_leaves_nothing_behind(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    with pytest.raises(AlreadyTaken):
        await users.add(
            a_user("bob", emails=("bob@example.org", "a@example.org")),
            RECORD,
            reuse_name=False,
            act=ACT,
        )

    await users.add(a_user("carol", emails=("bob@example.org",)), None, reuse_name=False, act=ACT)

    assert await users.find(ByLocalpart("bob")) is None


async def test_pages_come_in_the_order_of_code_points(users: Users) -> None:
    names = ["a", "a-", "a.", "a/", "a0", "a=", "a_", "aa", "b", "+", "-", "_", "0", "z"]
    for name in reversed(names):
        await users.add(a_user(name), None, reuse_name=False, act=ACT)

    everyone = await users.page(after=None, limit=100, state=None)

    assert [user.localpart for user in everyone] == sorted(names)


async def test_pages_follow_one_another_without_gap_or_overlap(users: Users) -> None:
    names = [f"user-{number}" for number in range(7)]
    for name in names:
        await users.add(a_user(name), RECORD, reuse_name=False, act=ACT)

    seen: list[str] = []
    while page := await users.page(after=seen[-1] if seen else None, limit=3, state=None):
        assert len(page) <= 3
        seen.extend(user.localpart for user in page)

    assert seen == names


async def test_a_page_can_be_of_one_state(users: Users) -> None:
    for number in range(6):
        state = UserState.DISABLED if number % 2 else UserState.ACTIVE
        await users.add(a_user(f"user-{number}", state=state), None, reuse_name=False, act=ACT)

    disabled = await users.page(after="user-1", limit=9, state=UserState.DISABLED)

    assert [user.localpart for user in disabled] == ["user-3", "user-5"]


async def test_a_page_behind_the_last_is_empty(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)

    assert await users.page(after="zzz", limit=9, state=None) == ()
    assert await users.page(after="'; --", limit=0, state=None) == ()


async def test_a_moment_is_the_same_in_every_zone(users: Users) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-11)))
    await users.add(replace(ALICE, created_at=elsewhere), RECORD, reuse_name=False, act=ACT)

    found = await users.find(ByLocalpart("alice"))

    assert found is not None
    assert found.created_at == NOW
