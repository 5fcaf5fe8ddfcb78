"""What records take, and that the hasher of the service bounds what they take together."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from lalepass_service.adapters.hashing import (
    Argon2Hasher,
    Argon2Parameters,
    LegacyProcesses,
    PasswordHasher,
)
from lalepass_service.adapters.hashing.bindings import Sodium
from lalepass_service.adapters.hashing.formats import foreign, identify
from lalepass_service.core.model import NormalForm, Password
from tests.lalepass_service.adapters.hashing.gates import Gate
from tests.lalepass_service.adapters.hashing.golden import GOLDEN
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio

_ARGON2 = "m=262144,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43
DEAR_OURS = f"$argon2id$v=19${_ARGON2}"
DEAR_FOREIGN = f"$argon2i$v=19${_ARGON2}"
DEAR_SCRYPT = "$scrypt$ln=18,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43
DEAR = (DEAR_OURS, DEAR_FOREIGN, DEAR_SCRYPT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DEAR_OURS, 262_144),
        (DEAR_FOREIGN, 262_144),
        (DEAR_SCRYPT, 262_144),
        ("$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43, 16_384),
        ("scrypt$16384$salt$8$5$" + "A" * 86 + "==", 16_384),
        ("argon2$argon2id$v=19$m=102400,t=2,p=8$" + "A" * 22 + "$" + "A" * 43, 102_400),
        (GOLDEN["mkpasswd, bcrypt"], 0),
        (GOLDEN["slappasswd, SSHA"], 0),
    ],
)
def test_it_is_known_what_a_record_takes(text: str, expected: int) -> None:
    assert identify(text).memory_kib == expected


class HeldBinding(Sodium):
    """Verifies dear records when it is let go, and the others at once."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def verify(self, octets: bytes, *, phc: bytes) -> bool:
        if b"m=262144" in phc:
            self._gate.work(phc.decode())
            return False
        return super().verify(octets, phc=phc)


class HeldProcesses(LegacyProcesses):
    """The same, for what is verified in processes."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(seconds=60)
        self._gate = gate

    def verify(self, text: str, octets: bytes) -> bool:
        if text in DEAR:
            self._gate.work(text)
            return False
        return super().verify(text, octets)


@pytest.fixture
async def hasher(gate: Gate) -> AsyncIterator[PasswordHasher]:
    own = Argon2Hasher(
        parameters=Argon2Parameters(),
        threads=4,
        max_waiting=99,
        deadline=60,
        binding=HeldBinding(gate),
    )
    hasher = PasswordHasher(own=own, legacy=HeldProcesses(gate), decoy_key=b"key")
    yield hasher
    gate.open()
    await asyncio.to_thread(hasher.close)


@pytest.mark.parametrize("text", DEAR)
async def test_dear_records_are_verified_one_at_a_time_and_ours_beside_them(
    hasher: PasswordHasher, gate: Gate, text: str
) -> None:
    record = foreign(text, form=NormalForm.NONE)
    ours = await hasher.hash(Password("right"))

    async def check(number: int) -> bool:
        return await hasher.verify(Password("wrong"), record, account=f"account {number}")

    dear = [asyncio.create_task(check(number)) for number in range(6)]
    await until(lambda: gate.inside == 1)
    for _ in range(3):
        assert await hasher.verify(Password("right"), ours, account="alice")

    assert gate.inside == 1
    load = hasher.load()
    # What stands in the place of one of ours is not counted.
    assert (load.held, load.extra_kib) == (5, 262_144 - 19_456)
    gate.open()
    assert await asyncio.gather(*dear) == [False] * 6
    assert gate.most == 1


async def test_decoys_for_names_that_nobody_has_take_no_more_either(
    hasher: PasswordHasher, gate: Gate
) -> None:
    hasher.set_mix({foreign(DEAR_OURS, form=NormalForm.NONE).scheme: 1})

    async def check(number: int) -> bool:
        return await hasher.verify(Password("wrong"), None, account=f"nobody {number}")

    guesses = [asyncio.create_task(check(number)) for number in range(6)]
    await until(lambda: gate.inside == 1)

    assert hasher.load().held == 5
    gate.open()
    assert await asyncio.gather(*guesses) == [False] * 6
    assert gate.most == 1
