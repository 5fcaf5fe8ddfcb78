import asyncio

import pytest

from lalepass_service.adapters.memory import InstantHasher, MemoryUsers
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
    UserId,
    UserState,
)
from tests.lalepass_service.accounts import NOW, a_user

pytestmark = pytest.mark.anyio

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
    await users.add(a_user("no-password"), None, reuse_name=False)
    hasher.calls = 0
    return users


@pytest.fixture
def check(users: MemoryUsers, hasher: InstantHasher) -> CredentialCheck:
    return CredentialCheck(users=users, hasher=hasher)


@pytest.mark.parametrize(
    "identifier", [ByLocalpart("alice"), ByEmail("alice@example.org"), ByPhone("491701234567")]
)
async def test_the_right_password_is_accepted_by_every_name(
    check: CredentialCheck, identifier: Identifier
) -> None:
    outcome = await check.check(identifier, RIGHT)

    assert isinstance(outcome, Accepted)
    assert outcome.user.localpart == "alice"


@pytest.mark.parametrize("localpart", ["alice", "disabled", "no-password", "nobody"])
async def test_every_wrong_password_is_refused_alike(
    check: CredentialCheck, localpart: str
) -> None:
    assert await check.check(ByLocalpart(localpart), WRONG) == Refused(Refusal.CREDENTIALS)


@pytest.mark.parametrize("localpart", ["no-password", "nobody"])
async def test_where_there_is_no_password_none_is_right(
    check: CredentialCheck, localpart: str
) -> None:
    assert await check.check(ByLocalpart(localpart), RIGHT) == Refused(Refusal.CREDENTIALS)


async def test_only_the_right_password_learns_that_an_account_is_disabled(
    check: CredentialCheck,
) -> None:
    assert await check.check(ByLocalpart("disabled"), RIGHT) == Refused(Refusal.DISABLED)


@pytest.mark.parametrize("password", [RIGHT, WRONG])
@pytest.mark.parametrize("localpart", ["alice", "disabled", "no-password", "nobody"])
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
            await self.set_password(user_id, self.meanwhile, changed_at=NOW)
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
    await users.add(a_user("alice"), hasher.stale(RIGHT, form), reuse_name=False)
    return users, hasher, CredentialCheck(users=users, hasher=hasher)


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
    assert hasher.calls == 11


async def test_a_renewal_never_undoes_a_change_made_meanwhile() -> None:
    users, hasher, check = await _with_old_record()
    users.meanwhile = await hasher.hash(WRONG)

    assert isinstance(await check.check(ByLocalpart("alice"), RIGHT), Accepted)

    assert users.replaced == [False]
    assert await _record(users) == users.meanwhile


@pytest.mark.parametrize("state", [UserState.ACTIVE, UserState.DISABLED])
async def test_only_who_gets_in_has_a_record_renewed(state: UserState) -> None:
    users, _, check = await _with_old_record()
    await users.set_state(a_user("alice").id, state)
    password = WRONG if state is UserState.ACTIVE else RIGHT

    assert isinstance(await check.check(ByLocalpart("alice"), password), Refused)

    assert not users.replaced


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
    await CredentialCheck(users=users, hasher=hasher).check(identifier, WRONG)

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
