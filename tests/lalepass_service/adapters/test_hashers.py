"""What every hasher does, the fake one included."""

from collections.abc import Iterator

import pytest

from lalepass_service.adapters.hashing import Argon2Hasher, Argon2Parameters
from lalepass_service.adapters.memory import InstantHasher
from lalepass_service.core.errors import UnreadableRecord
from lalepass_service.core.model import Password, PasswordRecord
from lalepass_service.core.ports import Hasher
from tests.lalepass_service.adapters.hashing.compiling import BINDINGS, binding_of

pytestmark = pytest.mark.anyio

RIGHT = Password("M\u00fcller's horse")


@pytest.fixture(params=["instant", *BINDINGS])
def hasher(request: pytest.FixtureRequest) -> Iterator[Hasher]:
    if request.param == "instant":
        yield InstantHasher()
        return
    argon2 = Argon2Hasher(
        parameters=Argon2Parameters(),
        threads=1,
        max_waiting=9,
        deadline=60,
        binding=binding_of(request.param),
    )
    yield argon2
    argon2.close()


async def test_the_right_password_is_right(hasher: Hasher) -> None:
    record = await hasher.hash(RIGHT)

    assert await hasher.verify(RIGHT, record, account="alice")
    assert await hasher.verify(Password("Mu\u0308ller's horse"), record, account="alice")


@pytest.mark.parametrize("text", ["", "m\u00fcller's horse", "M\u00fcller's horse\0", "\ud800"])
async def test_any_other_is_wrong(hasher: Hasher, text: str) -> None:
    record = await hasher.hash(RIGHT)

    assert not await hasher.verify(Password(text), record, account="alice")


async def test_without_a_record_every_password_is_wrong(hasher: Hasher) -> None:
    assert not await hasher.verify(RIGHT, None, account="alice")


async def test_a_record_holds_no_password(hasher: Hasher) -> None:
    assert "horse" not in (await hasher.hash(RIGHT)).phc


@pytest.mark.parametrize("phc", ["", "rubbish", "$2b$12$", "$argon2id$", "$inst"])
async def test_what_is_no_record_is_an_error(hasher: Hasher, phc: str) -> None:
    with pytest.raises(UnreadableRecord):
        await hasher.verify(RIGHT, PasswordRecord(phc), account="alice")
