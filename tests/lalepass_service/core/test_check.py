from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from lalepass_service.adapters.memory import FixedClock, InstantHasher, MemoryUsers
from lalepass_service.core.check import Accepted, CredentialCheck, Refusal, Refused
from lalepass_service.core.errors import Overloaded, StoreUnavailable, UnreadableRecord
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import Password, PasswordRecord, UserState
from tests.lalepass_service.accounts import NOW, a_user

pytestmark = pytest.mark.anyio

EVERYBODY = [
    "alice",
    "disabled",
    "must-change",
    "temporary",
    "expired",
    "disabled-too",
    "no-password",
    "nobody",
]
EXPIRY = NOW + timedelta(days=3)
RIGHT, WRONG = Password("correct horse"), Password("battery staple")


@pytest.fixture
def hasher() -> InstantHasher:
    return InstantHasher()


@pytest.fixture
async def users(hasher: InstantHasher) -> MemoryUsers:
    users = MemoryUsers()
    record = await hasher.hash(RIGHT)
    for user in (
        a_user("alice", emails=("alice@example.org",), phones=("491701234567",)),
        a_user("disabled", state=UserState.DISABLED),
    ):
        await users.add(user, record, reuse_name=False)
    for user in (
        replace(a_user("must-change"), password_must_change=True),
        replace(a_user("temporary"), password_must_change=True, password_expires_at=EXPIRY),
        replace(a_user("expired"), password_must_change=True, password_expires_at=NOW),
        replace(a_user("disabled-too", state=UserState.DISABLED), password_must_change=True),
    ):
        await users.add(user, record, reuse_name=False)
    await users.add(a_user("no-password"), None, reuse_name=False)
    hasher.calls = 0
    return users


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def check(users: MemoryUsers, hasher: InstantHasher, clock: FixedClock) -> CredentialCheck:
    return CredentialCheck(users=users, hasher=hasher, clock=clock)


@pytest.mark.parametrize(
    "identifier", [ByLocalpart("alice"), ByEmail("alice@example.org"), ByPhone("491701234567")]
)
async def test_the_right_password_is_accepted_by_every_name(
    check: CredentialCheck, identifier: Identifier
) -> None:
    outcome = await check.check(identifier, RIGHT)

    assert isinstance(outcome, Accepted)
    assert outcome.user.localpart == "alice"


@pytest.mark.parametrize("localpart", EVERYBODY)
async def test_every_wrong_password_is_refused_alike(
    check: CredentialCheck, localpart: str
) -> None:
    assert await check.check(ByLocalpart(localpart), WRONG) == Refused(Refusal.CREDENTIALS)


@pytest.mark.parametrize("localpart", ["no-password", "expired", "nobody"])
async def test_where_there_is_no_password_none_is_right(
    check: CredentialCheck, localpart: str
) -> None:
    assert await check.check(ByLocalpart(localpart), RIGHT) == Refused(Refusal.CREDENTIALS)


async def test_only_the_right_password_learns_that_an_account_is_disabled(
    check: CredentialCheck,
) -> None:
    assert await check.check(ByLocalpart("disabled"), RIGHT) == Refused(Refusal.DISABLED)


@pytest.mark.parametrize("localpart", ["must-change", "temporary"])
async def test_a_password_that_has_to_be_changed_lets_nobody_in(
    check: CredentialCheck, localpart: str
) -> None:
    refused = Refused(Refusal.PASSWORD_CHANGE_REQUIRED)

    assert await check.check(ByLocalpart(localpart), RIGHT) == refused


async def test_who_is_disabled_has_no_password_to_change(check: CredentialCheck) -> None:
    assert await check.check(ByLocalpart("disabled-too"), RIGHT) == Refused(Refusal.DISABLED)


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        (EXPIRY - timedelta(microseconds=1), Refusal.PASSWORD_CHANGE_REQUIRED),
        (EXPIRY, Refusal.CREDENTIALS),
        (EXPIRY + timedelta(days=9999), Refusal.CREDENTIALS),
    ],
)
async def test_a_temporary_password_is_none_from_its_end_on(
    check: CredentialCheck, clock: FixedClock, moment: datetime, reason: Refusal
) -> None:
    clock.time = moment

    assert await check.check(ByLocalpart("temporary"), RIGHT) == Refused(reason)


@pytest.mark.parametrize("password", [RIGHT, WRONG])
@pytest.mark.parametrize("localpart", EVERYBODY)
async def test_every_way_costs_exactly_one_hash(
    check: CredentialCheck, hasher: InstantHasher, localpart: str, password: Password
) -> None:
    await check.check(ByLocalpart(localpart), password)

    assert hasher.calls == 1


async def test_a_store_without_an_answer_is_no_refusal(
    check: CredentialCheck, users: MemoryUsers
) -> None:
    users.failure = StoreUnavailable()

    with pytest.raises(StoreUnavailable):
        await check.check(ByLocalpart("alice"), RIGHT)


@pytest.mark.parametrize("localpart", ["alice", "nobody"])
async def test_an_overloaded_hasher_is_no_refusal(
    check: CredentialCheck, hasher: InstantHasher, localpart: str
) -> None:
    hasher.failure = Overloaded(retry_after=3)

    with pytest.raises(Overloaded) as caught:
        await check.check(ByLocalpart(localpart), RIGHT)

    assert caught.value.retry_after == 3


async def test_an_unreadable_record_is_no_refusal(
    check: CredentialCheck, users: MemoryUsers
) -> None:
    await users.add(a_user("broken"), PasswordRecord("rubbish"), reuse_name=False)

    with pytest.raises(UnreadableRecord) as caught:
        await check.check(ByLocalpart("broken"), RIGHT)

    assert "rubbish" not in str(caught.value)


async def test_a_change_of_password_takes_effect_at_once(
    check: CredentialCheck, users: MemoryUsers, hasher: InstantHasher
) -> None:
    record = await hasher.hash(WRONG)
    await users.set_password(a_user("alice").id, record, changed_at=NOW)

    assert isinstance(await check.check(ByLocalpart("alice"), WRONG), Accepted)
    assert await check.check(ByLocalpart("alice"), RIGHT) == Refused(Refusal.CREDENTIALS)
