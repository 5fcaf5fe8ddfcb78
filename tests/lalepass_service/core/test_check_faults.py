"""What a check does about records that can't be read, and what it tells of them."""

import pytest

from lalepass_service.adapters.memory import FixedClock, InstantHasher, MemoryUsers
from lalepass_service.core import check as core
from lalepass_service.core.check import Accepted, CredentialCheck
from lalepass_service.core.errors import UnreadableRecord
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import Password, PasswordRecord
from tests.lalepass_service.accounts import ACT, NOW, a_user

pytestmark = pytest.mark.anyio

RIGHT = Password("correct horse")
BROKEN = PasswordRecord("$unknown$")

Asked = tuple[Password, PasswordRecord | None, str]


class NotingHasher(InstantHasher):
    """Takes down what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    async def verify(
        self, password: Password, record: PasswordRecord | None, *, account: str
    ) -> bool:
        self.asked.append((password, record, account))
        return await super().verify(password, record, account=account)


@pytest.fixture
def users() -> MemoryUsers:
    return MemoryUsers()


@pytest.fixture
def hasher() -> NotingHasher:
    return NotingHasher()


@pytest.fixture
def check(users: MemoryUsers, hasher: NotingHasher) -> CredentialCheck:
    return CredentialCheck(users=users, hasher=hasher, clock=FixedClock(NOW))


async def _fails(check: CredentialCheck, localpart: str) -> None:
    with pytest.raises(UnreadableRecord):
        await check.check(ByLocalpart(localpart), RIGHT)


async def test_a_broken_record_is_told_of_once_and_with_its_name(
    check: CredentialCheck, users: MemoryUsers, caplog: pytest.LogCaptureFixture
) -> None:
    await users.add(a_user("alice"), BROKEN, reuse_name=False, act=ACT)
    for _ in range(3):
        await _fails(check, "alice")

    why = UnreadableRecord("it is not of the instant hasher")
    assert caplog.messages == [f"alice (id-alice) can't log in: {why}"]


async def test_after_a_broken_record_comes_the_decoy_of_this_account(
    check: CredentialCheck, users: MemoryUsers, hasher: NotingHasher
) -> None:
    await users.add(a_user("alice"), BROKEN, reuse_name=False, act=ACT)
    await _fails(check, "alice")

    (first, second) = hasher.asked
    assert (first[0], first[2]) == (RIGHT, "id-alice")
    assert first[1] == BROKEN
    assert second == (RIGHT, None, "id-alice")


async def test_of_no_more_than_so_many_the_log_tells(
    check: CredentialCheck,
    users: MemoryUsers,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "_MAX_REPORTED", 2)
    for name in ("a", "b", "c"):
        await users.add(a_user(name), BROKEN, reuse_name=False, act=ACT)
        await _fails(check, name)

    assert [message.partition(" ")[0] for message in caplog.messages] == ["a", "b"]


async def test_nothing_is_remembered_unless_it_is_asked_for(
    check: CredentialCheck, users: MemoryUsers, hasher: NotingHasher
) -> None:
    record = await hasher.hash(RIGHT)
    await users.add(a_user("alice"), record, reuse_name=False, act=ACT)
    for _ in range(3):
        outcome = await check.check(ByLocalpart("alice"), RIGHT)
        assert isinstance(outcome, Accepted)
        assert not outcome.from_cache

    assert len(hasher.asked) == 3
