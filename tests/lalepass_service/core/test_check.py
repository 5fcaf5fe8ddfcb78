import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from lalepass_service.adapters.memory import FixedClock, InstantHasher, MemoryUsers
from lalepass_service.core.check import Accepted, CredentialCheck, Refusal, Refused
from lalepass_service.core.errors import (
    NoAnswer,
    Overloaded,
    StoreUnavailable,
    UnreadableRecord,
)
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import (
    Credentials,
    NormalForm,
    Password,
    PasswordRecord,
    User,
    UserId,
    UserState,
)
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing

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
        await users.add(user, record, reuse_name=False, act=ACT)
    for user in (
        replace(a_user("must-change"), password_must_change=True),
        replace(a_user("temporary"), password_must_change=True, password_expires_at=EXPIRY),
        replace(a_user("expired"), password_must_change=True, password_expires_at=NOW),
        replace(a_user("disabled-too", state=UserState.DISABLED), password_must_change=True),
    ):
        await users.add(user, record, reuse_name=False, act=ACT)
    await users.add(a_user("no-password"), None, reuse_name=False, act=ACT)
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
    await users.add(a_user("broken"), PasswordRecord("rubbish"), reuse_name=False, act=ACT)

    with pytest.raises(UnreadableRecord) as caught:
        await check.check(ByLocalpart("broken"), RIGHT)

    assert "rubbish" not in str(caught.value)


async def test_a_change_of_password_takes_effect_at_once(
    check: CredentialCheck, users: MemoryUsers, hasher: InstantHasher
) -> None:
    record = await hasher.hash(WRONG)
    await users.set_password(a_user("alice").id, record, changed_at=NOW, act=ACT)

    assert isinstance(await check.check(ByLocalpart("alice"), WRONG), Accepted)
    assert await check.check(ByLocalpart("alice"), RIGHT) == Refused(Refusal.CREDENTIALS)


class HeldUsers(MemoryUsers):
    """Shows what happens between a check's look at an account and its change."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: PasswordRecord | None = None
        self.replaced: list[bool] = []
        self.replace_failure: NoAnswer | None = None

    async def credentials(self, identifier: Identifier) -> Credentials | None:
        found = await super().credentials(identifier)
        await asyncio.sleep(0)
        return found

    async def replace_record(
        self, user_id: UserId, *, old: PasswordRecord, new: PasswordRecord
    ) -> bool:
        if self.replace_failure is not None:
            raise self.replace_failure
        if self.meanwhile is not None:
            await self.set_password(user_id, self.meanwhile, changed_at=NOW, act=ACT)
        self.replaced.append(await super().replace_record(user_id, old=old, new=new))
        return self.replaced[-1]


class SlowHasher(InstantHasher):
    """Lets others go on while it hashes."""

    hash_failure: NoAnswer | None = None

    async def hash(self, password: Password) -> PasswordRecord:
        if self.hash_failure is not None:
            raise self.hash_failure
        await asyncio.sleep(0)
        return await super().hash(password)


async def _with_old_record(
    form: NormalForm = NormalForm.NFC,
) -> tuple[HeldUsers, SlowHasher, CredentialCheck]:
    users, hasher = HeldUsers(), SlowHasher()
    await users.add(a_user("alice"), hasher.stale(RIGHT, form), reuse_name=False, act=ACT)
    return users, hasher, CredentialCheck(users=users, hasher=hasher, clock=FixedClock(NOW))


async def _record(users: MemoryUsers) -> PasswordRecord:
    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.record is not None
    return found.record


@pytest.mark.parametrize("form", NormalForm)
async def test_an_old_record_is_renewed_at_the_first_good_login(form: NormalForm) -> None:
    users, hasher, check = await _with_old_record(form)

    assert isinstance(await check.check(ByLocalpart("alice"), RIGHT), Accepted)

    assert await _record(users) == await hasher.hash(RIGHT)
    assert isinstance(await check.check(ByLocalpart("alice"), RIGHT), Accepted)
    assert users.replaced == [True]


async def test_ten_logins_at_once_renew_a_record_once() -> None:
    users, hasher, check = await _with_old_record()

    outcomes = await asyncio.gather(*(check.check(ByLocalpart("alice"), RIGHT) for _ in range(10)))

    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert users.replaced == [True]
    # Who finds another record than the one he has verified verifies that one, too.
    assert 11 <= hasher.calls <= 20


async def test_a_renewal_never_undoes_a_change_made_meanwhile() -> None:
    users, hasher, check = await _with_old_record()
    users.meanwhile = await hasher.hash(WRONG)

    assert await check.check(ByLocalpart("alice"), RIGHT) == Refused(Refusal.CREDENTIALS)

    assert users.replaced == [False]
    assert await _record(users) == users.meanwhile


@pytest.mark.parametrize("state", [UserState.ACTIVE, UserState.DISABLED])
async def test_only_who_gets_in_has_a_record_renewed(state: UserState) -> None:
    users, _, check = await _with_old_record()
    await users.set_state(a_user("alice").id, state, act=ACT)
    password = WRONG if state is UserState.ACTIVE else RIGHT

    assert isinstance(await check.check(ByLocalpart("alice"), password), Refused)

    assert not users.replaced


@pytest.mark.parametrize("expires_at", [None, EXPIRY, NOW])
async def test_a_password_that_lets_nobody_in_has_no_record_renewed(
    expires_at: datetime | None,
) -> None:
    users, hasher, check = await _with_old_record()
    record = await _record(users)
    await users.set_password(
        a_user("alice").id, record, changed_at=NOW, must_change=True, expires_at=expires_at, act=ACT
    )

    assert isinstance(await check.check(ByLocalpart("alice"), RIGHT), Refused)

    assert not users.replaced
    assert hasher.calls == 1


async def test_a_renewal_that_fails_does_not_fail_the_login() -> None:
    users, hasher, check = await _with_old_record()
    hasher.hash_failure = Overloaded(retry_after=3)
    assert isinstance(await check.check(ByLocalpart("alice"), RIGHT), Accepted)
    hasher.hash_failure = None
    users.replace_failure = StoreUnavailable()
    assert isinstance(await check.check(ByLocalpart("alice"), RIGHT), Accepted)
    users.replace_failure = None
    assert users.replaced == []

    assert isinstance(await check.check(ByLocalpart("alice"), RIGHT), Accepted)
    assert users.replaced == [True]


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (ByLocalpart("alice"), "id-alice"),
        (ByEmail("alice@example.org"), "id-alice"),
        (ByPhone("491701234567"), "id-alice"),
        (ByLocalpart("no-password"), "id-no-password"),
        (ByLocalpart("nobody"), "name:nobody"),
        (ByEmail("nobody@example.org"), "email:nobody@example.org"),
    ],
)
async def test_a_decoy_is_chosen_by_the_account_or_by_what_was_typed(
    users: MemoryUsers, identifier: Identifier, expected: str
) -> None:
    hasher = AskedHasher()
    check = CredentialCheck(users=users, hasher=hasher, clock=FixedClock(NOW))
    await check.check(identifier, WRONG)

    assert hasher.accounts == [expected]


class AskedHasher(InstantHasher):
    """Remembers for whom it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.accounts: list[str] = []

    async def verify(
        self, password: Password, record: PasswordRecord | None, *, account: str
    ) -> bool:
        self.accounts.append(account)
        return await super().verify(password, record, account=account)


class InterruptedHasher(InstantHasher):
    """Somebody does something while it verifies, as often as is said."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]], times: int = 1) -> None:
        super().__init__()
        self._meanwhile = meanwhile
        self._times = times

    async def verify(
        self, password: Password, record: PasswordRecord | None, *, account: str
    ) -> bool:
        matches = await super().verify(password, record, account=account)
        if self._times:
            self._times -= 1
            await self._meanwhile()
        return matches


ALICE = a_user("alice").id


async def _reset(users: MemoryUsers, password: Password, *, must_change: bool = False) -> None:
    record = await InstantHasher().hash(password)
    await users.set_password(ALICE, record, changed_at=NOW, must_change=must_change, act=ACT)


async def _delete_and_reuse(users: MemoryUsers) -> None:
    await users.delete(ALICE, now=standing(NOW), act=ACT)
    other = replace(a_user("alice"), id=UserId("id-other"))
    await users.add(other, await InstantHasher().hash(RIGHT), reuse_name=True, act=ACT)


async def _renew(users: MemoryUsers) -> None:
    record = await _record(users)
    new = PasswordRecord(InstantHasher().stale(RIGHT).phc)
    await users.replace_record(ALICE, old=record, new=new)


MEANWHILE: dict[str, tuple[Callable[[MemoryUsers], Awaitable[object]], Refusal | None]] = {
    "another password": (lambda users: _reset(users, WRONG), Refusal.CREDENTIALS),
    "to be changed": (
        lambda users: _reset(users, RIGHT, must_change=True),
        Refusal.PASSWORD_CHANGE_REQUIRED,
    ),
    "the same again": (lambda users: _reset(users, RIGHT), None),
    "a renewed record": (_renew, None),
    "disabled": (
        lambda users: users.set_state(ALICE, UserState.DISABLED, act=ACT),
        Refusal.DISABLED,
    ),
    "deleted": (
        lambda users: users.delete(ALICE, now=standing(NOW), act=ACT),
        Refusal.CREDENTIALS,
    ),
    "somebody else's name": (_delete_and_reuse, Refusal.CREDENTIALS),
}


@pytest.mark.parametrize(("change", "refusal"), MEANWHILE.values(), ids=MEANWHILE)
async def test_what_was_changed_while_the_hash_was_made_counts(
    users: MemoryUsers,
    clock: FixedClock,
    change: Callable[[MemoryUsers], Awaitable[object]],
    refusal: Refusal | None,
) -> None:
    """A hash takes a while, and longer in a queue: the order to end all sessions comes before."""
    hasher = InterruptedHasher(lambda: change(users))
    check = CredentialCheck(users=users, hasher=hasher, clock=clock)

    outcome = await check.check(ByLocalpart("alice"), RIGHT)

    if refusal is None:
        assert isinstance(outcome, Accepted)
    else:
        assert outcome == Refused(refusal)


async def test_who_is_told_of_is_as_he_is_at_the_end(users: MemoryUsers, clock: FixedClock) -> None:
    def rename(user: User) -> User:
        return replace(user, display_name="New")

    hasher = InterruptedHasher(lambda: users.edit(ALICE, rename, act=ACT))
    outcome = await CredentialCheck(users=users, hasher=hasher, clock=clock).check(
        ByLocalpart("alice"), RIGHT
    )

    assert isinstance(outcome, Accepted)
    assert outcome.user.display_name == "New"
    assert hasher.calls == 1


async def test_a_store_that_fails_after_the_hash_lets_nobody_in(
    users: MemoryUsers, clock: FixedClock
) -> None:
    async def fail() -> None:
        users.failure = StoreUnavailable()

    check = CredentialCheck(users=users, hasher=InterruptedHasher(fail), clock=clock)

    with pytest.raises(StoreUnavailable):
        await check.check(ByLocalpart("alice"), RIGHT)


async def test_a_password_that_never_stands_still_gets_no_answer(
    users: MemoryUsers, clock: FixedClock
) -> None:
    """Bounded: no login hashes for ever."""
    changes = iter(range(1000))

    async def change() -> None:
        form = NormalForm.NFKC if next(changes) % 2 == 0 else NormalForm.NFC
        record = replace(await InstantHasher().hash(RIGHT), form=form)
        await users.set_password(ALICE, record, changed_at=NOW, act=ACT)

    hasher = InterruptedHasher(change, times=1000)
    hasher.full = True
    check = CredentialCheck(users=users, hasher=hasher, clock=clock)

    with pytest.raises(NoAnswer):
        await check.check(ByLocalpart("alice"), RIGHT)
    assert hasher.calls <= 3
