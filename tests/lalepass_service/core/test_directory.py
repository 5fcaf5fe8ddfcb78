from datetime import datetime, timedelta
from typing import Any

import pytest

from lalepass_service.adapters.memory import (
    FixedClock,
    InstantHasher,
    MemorySignIns,
    MemorySignOutOrders,
    MemorySoftLocks,
    MemoryUsers,
)
from lalepass_service.core.directory import Directory
from lalepass_service.core.editing import NewUser
from lalepass_service.core.errors import (
    AlreadyTaken,
    InvalidInput,
    NameRetired,
    PasswordPersonal,
    PasswordRejected,
    StoreUnavailable,
    UserNotFound,
)
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import Password, UserState
from lalepass_service.core.policy import PasswordPolicy
from tests.lalepass_service.accounts import BY, NOW

pytestmark = pytest.mark.anyio

GOOD = Password("correct horse")
LATE = timedelta(seconds=4)


@pytest.fixture
def users() -> MemoryUsers:
    return MemoryUsers()


@pytest.fixture
def hasher() -> InstantHasher:
    return InstantHasher()


@pytest.fixture
def directory(users: MemoryUsers, hasher: InstantHasher) -> Directory:
    return Directory(
        locks=MemorySoftLocks(),
        users=users,
        hasher=hasher,
        clock=FixedClock(NOW),
        policy=PasswordPolicy(min_length=8),
        by=BY,
        sign_ins=MemorySignIns(users),
    )


async def test_a_new_account_is_stored_in_canonical_spelling(directory: Directory) -> None:
    made = await directory.add(
        NewUser(
            localpart="alice",
            display_name=" Alice ",
            emails=["Alice@Example.org", "alice@example.org"],
            phones=["+49 170 1234567"],
            admin=True,
        ),
        GOOD,
    )

    assert made == await directory.get("alice")
    assert made.display_name == "Alice"
    assert made.emails == ("alice@example.org",)
    assert made.phones == ("491701234567",)
    assert made.admin
    assert made.created_at == made.password_changed_at == NOW


async def test_its_password_is_stored_hashed(
    directory: Directory, users: MemoryUsers, hasher: InstantHasher
) -> None:
    await directory.add(NewUser(localpart="alice"), GOOD)

    found = await users.credentials(ByLocalpart("alice"))

    assert found is not None
    assert found.record is not None
    assert GOOD.reveal() not in found.record.phc
    assert await hasher.verify(GOOD, found.record, account="alice")


async def test_an_account_may_be_made_without_a_password(
    directory: Directory, hasher: InstantHasher
) -> None:
    made = await directory.add(NewUser(localpart="alice"), None)

    assert made.password_changed_at is None
    assert hasher.calls == 0


@pytest.mark.parametrize(
    "new",
    [
        NewUser(localpart="Alice"),
        NewUser(localpart="alice", emails=["nowhere"]),
        NewUser(localpart="alice", phones=["0170 1234567"]),
        NewUser(localpart="alice", display_name="\n"),
    ],
)
async def test_what_is_not_acceptable_makes_no_account(directory: Directory, new: NewUser) -> None:
    with pytest.raises(InvalidInput):
        await directory.add(new, GOOD)

    assert await directory.page() == ()


async def test_a_rejected_password_costs_no_hash_and_makes_no_account(
    directory: Directory, hasher: InstantHasher
) -> None:
    with pytest.raises(PasswordRejected):
        await directory.add(NewUser(localpart="alice"), Password("short"))

    assert hasher.calls == 0
    assert await directory.page() == ()


async def test_two_accounts_share_nothing(directory: Directory) -> None:
    await directory.add(NewUser(localpart="alice", emails=["a@example.org"]), GOOD)

    with pytest.raises(AlreadyTaken) as caught:
        await directory.add(NewUser(localpart="bob", emails=["A@example.org"]), GOOD)

    assert caught.value.what == "e-mail address"


async def test_a_deleted_name_is_given_out_again_only_on_demand(directory: Directory) -> None:
    first = await directory.add(NewUser(localpart="alice"), GOOD)
    await directory.delete("alice")

    with pytest.raises(NameRetired):
        await directory.add(NewUser(localpart="alice"), GOOD)
    second = await directory.add(NewUser(localpart="alice"), GOOD, reuse_name=True)

    assert first.id != second.id


async def test_a_password_is_replaced(directory: Directory) -> None:
    await directory.add(NewUser(localpart="alice"), None)

    await directory.set_password("alice", GOOD)

    assert (await directory.get("alice")).password_changed_at == NOW


async def test_a_replacement_obeys_the_rules_too(directory: Directory) -> None:
    await directory.add(NewUser(localpart="alice"), GOOD)

    with pytest.raises(PasswordRejected):
        await directory.set_password("alice", Password("short"))


@pytest.mark.parametrize(
    ("terms", "must_change", "expires_at"),
    [
        ({}, False, None),
        ({"must_change": True}, True, None),
        ({"valid_for": timedelta(days=3)}, True, NOW + timedelta(days=3)),
        ({"must_change": True, "valid_for": timedelta(hours=1)}, True, NOW + timedelta(hours=1)),
    ],
    ids=str,
)
async def test_a_temporary_password_is_one_to_be_changed(
    directory: Directory, terms: Any, must_change: Any, expires_at: datetime | None
) -> None:
    await directory.add(NewUser(localpart="alice"), GOOD)
    await directory.set_password("alice", GOOD, **terms)

    user = await directory.get("alice")
    assert user.password_must_change is must_change
    assert user.password_expires_at == expires_at


async def test_the_next_password_is_on_no_terms(directory: Directory) -> None:
    await directory.add(NewUser(localpart="alice"), GOOD)
    await directory.set_password("alice", GOOD, valid_for=timedelta(days=3))
    await directory.set_password("alice", GOOD)

    user = await directory.get("alice")
    assert (user.password_must_change, user.password_expires_at) == (False, None)


@pytest.mark.parametrize(
    "personal", ["alice-2024", "SmithAlice", "aliceexample", "+49 170 1234567!"]
)
async def test_words_of_the_account_are_no_password_for_it(
    directory: Directory, personal: str
) -> None:
    alice = NewUser(
        localpart="alice",
        display_name="Alice Smith",
        emails=["alice@example.org"],
        phones=["+49 170 1234567"],
    )
    with pytest.raises(PasswordPersonal):
        await directory.add(alice, Password(personal))
    await directory.add(alice, GOOD)
    with pytest.raises(PasswordPersonal):
        await directory.set_password("alice", Password(personal))
    await directory.add(NewUser(localpart="bob"), Password(personal))


async def test_disabling_is_undone_by_enabling(directory: Directory) -> None:
    await directory.add(NewUser(localpart="alice"), GOOD)

    await directory.set_state("alice", UserState.DISABLED)
    disabled = await directory.page(state=UserState.DISABLED)
    await directory.set_state("alice", UserState.ACTIVE)

    assert [user.localpart for user in disabled] == ["alice"]
    assert await directory.page(state=UserState.DISABLED) == ()


async def test_pages_follow_one_another(directory: Directory) -> None:
    for localpart in ("carol", "alice", "bob"):
        await directory.add(NewUser(localpart=localpart), None)

    first = await directory.page(limit=2)
    rest = await directory.page(limit=2, after=first[-1].localpart)

    assert [user.localpart for user in [*first, *rest]] == ["alice", "bob", "carol"]


@pytest.mark.parametrize("after", ["", "Alice", "\udcff"])
async def test_a_page_begins_behind_a_name(directory: Directory, after: str) -> None:
    with pytest.raises(InvalidInput):
        await directory.page(after=after)


async def test_nobody_is_not_found_by_any_method(directory: Directory) -> None:
    for attempt in (
        directory.get("nobody"),
        directory.set_password("nobody", GOOD),
        directory.set_state("nobody", UserState.DISABLED),
        directory.delete("nobody"),
    ):
        with pytest.raises(UserNotFound):
            await attempt


async def test_a_store_without_an_answer_is_not_nobody(
    directory: Directory, users: MemoryUsers
) -> None:
    users.failure = StoreUnavailable()

    with pytest.raises(StoreUnavailable):
        await directory.get("nobody")


class LateUsers(MemoryUsers):
    """Takes its time before it writes, as a database does that somebody else has locked."""

    def __init__(self, clock: FixedClock) -> None:
        super().__init__()
        self._clock = clock

    async def set_password(self, *args: Any, **kwargs: Any) -> bool:
        self._clock.time += LATE
        return await super().set_password(*args, **kwargs)

    async def sign_out(self, *args: Any, **kwargs: Any) -> bool:
        self._clock.time += LATE
        return await super().sign_out(*args, **kwargs)

    async def delete(self, *args: Any, **kwargs: Any) -> bool:
        self._clock.time += LATE
        return await super().delete(*args, **kwargs)


@pytest.mark.parametrize("way", ["set_password", "sign_out", "delete"])
async def test_an_order_is_as_old_as_what_is_written_and_not_as_the_wish(way: str) -> None:
    """Who logs in between the two has the old password, and a session that the order ends."""
    clock = FixedClock(NOW)
    users, hasher = LateUsers(clock), InstantHasher()
    directory = Directory(
        locks=MemorySoftLocks(),
        users=users,
        hasher=hasher,
        clock=clock,
        policy=PasswordPolicy(min_length=8),
        by=BY,
        sign_ins=MemorySignIns(users),
    )
    await directory.add(NewUser(localpart="alice"), GOOD)
    clock.time = NOW

    match way:
        case "set_password":
            await directory.set_password("alice", Password("battery staple"))
        case "sign_out":
            await directory.sign_out("alice")
        case _:
            await directory.delete("alice")

    (order,) = await MemorySignOutOrders(users).pending("hs", limit=9)
    assert order.ordered_at == NOW + LATE


async def test_sessions_that_are_to_be_kept_get_no_order(
    directory: Directory, users: MemoryUsers
) -> None:
    await directory.add(NewUser(localpart="alice"), GOOD)

    await directory.set_password("alice", Password("battery staple"), keep_sessions=True)

    assert await MemorySignOutOrders(users).pending("hs", limit=9) == ()
