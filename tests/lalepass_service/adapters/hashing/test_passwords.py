"""The hasher of the service: all formats, one admission, decoys for those who are not there."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from time import perf_counter

import pytest

from lalepass_service.adapters.hashing import (
    Argon2Hasher,
    Argon2Parameters,
    LegacyProcesses,
    PasswordHasher,
)
from lalepass_service.adapters.hashing.formats import foreign
from lalepass_service.core.errors import Overloaded, UnreadableRecord
from lalepass_service.core.model import NormalForm, Password, PasswordRecord
from tests.lalepass_service.adapters.hashing.golden import (
    GOLDEN,
    PASSWORD,
    PEPPER,
    SYNAPSE_LIGATURE,
    SYNAPSE_LONG,
)
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio

RIGHT = Password(PASSWORD)
BCRYPT = GOLDEN["mkpasswd, bcrypt"]


def make(*, pepper: bytes = PEPPER, legacy: LegacyProcesses | None = None) -> PasswordHasher:
    own = Argon2Hasher(parameters=Argon2Parameters(), threads=2, max_waiting=99, deadline=60)
    legacy = legacy or LegacyProcesses(seconds=60)
    return PasswordHasher(own=own, legacy=legacy, decoy_key=b"key", pepper=pepper)


@pytest.fixture(scope="module")
def hasher() -> Iterator[PasswordHasher]:
    hasher = make()
    yield hasher
    hasher.close()


async def verify(hasher: PasswordHasher, text: str, password: str) -> bool:
    record = foreign(text, form=NormalForm.NONE)
    return await hasher.verify(Password(password), record, account="alice")


@pytest.mark.parametrize("text", GOLDEN.values(), ids=GOLDEN)
async def test_what_others_have_made_is_verified(hasher: PasswordHasher, text: str) -> None:
    assert await verify(hasher, text, PASSWORD)
    assert not await verify(hasher, text, "correct horsf")


@pytest.mark.parametrize("text", GOLDEN.values(), ids=GOLDEN)
@pytest.mark.parametrize(
    "password",
    ["", "correct horse\0", "correct horse\0correct horse", "\ud800", "x" * 100_000],
    ids=["empty", "NUL", "NUL and again", "surrogate", "long"],
)
async def test_odd_passwords_are_wrong_ones(
    hasher: PasswordHasher, text: str, password: str
) -> None:
    assert not await verify(hasher, text, password)


async def test_synapse_folds_compatible_characters(hasher: PasswordHasher) -> None:
    for password in ("M\u00fcller \ufb01", "Mu\u0308ller fi"):
        assert await verify(hasher, SYNAPSE_LIGATURE, password)


async def test_synapse_cuts_password_and_pepper_together(hasher: PasswordHasher) -> None:
    assert await verify(hasher, SYNAPSE_LONG, "x" * 68)
    # The last four bytes of the pepper do not count, the first four do.
    assert not await verify(hasher, SYNAPSE_LONG, "x" * 72)
    assert not await verify(hasher, SYNAPSE_LONG, "x" * 67)


async def test_without_the_pepper_synapses_records_are_wrong() -> None:
    hasher = make(pepper=b"")

    assert not await verify(hasher, GOLDEN["Synapse"], PASSWORD)
    assert await verify(hasher, BCRYPT, PASSWORD)

    hasher.close()


async def test_a_record_is_compared_in_its_own_normal_form(hasher: PasswordHasher) -> None:
    # bcrypt.hashpw("Mu\u0308ller".encode(), gensalt(5)), by bcrypt 5.0.0
    decomposed = "$2b$05$XG6Bj.Atfc7Oj88bscZ0C.ARuffRVGTN1RlaMBqZzx0BonQaOBQmK"
    record = PasswordRecord(decomposed, form=NormalForm.NONE)

    assert await hasher.verify(Password("Mu\u0308ller"), record, account="alice")
    assert not await hasher.verify(Password("M\u00fcller"), record, account="alice")


async def test_what_is_read_only_by_its_library_is_unreadable_in_the_end(
    hasher: PasswordHasher,
) -> None:
    # 65 characters are no base64, whatever they hold.
    text = "{SSHA512}" + "A" * 89
    with pytest.raises(UnreadableRecord) as caught:
        await verify(hasher, text, PASSWORD)

    assert "AAAA" not in str(caught.value)


async def test_foreign_work_takes_the_same_slots(hasher: PasswordHasher) -> None:
    before = hasher.load().completed

    await verify(hasher, BCRYPT, PASSWORD)

    await until(lambda: hasher.load().completed == before + 1)


@pytest.mark.parametrize("text", GOLDEN.values(), ids=GOLDEN)
def test_whatever_others_made_is_outdated(hasher: PasswordHasher, text: str) -> None:
    assert hasher.outdated(foreign(text, form=NormalForm.NFC))


@pytest.mark.parametrize(
    ("costs", "form", "outdated"),
    [
        ("m=19456,t=2,p=1", NormalForm.NFC, False),
        ("m=19456,t=2,p=1", NormalForm.NONE, True),
        ("m=19456,t=2,p=1", NormalForm.NFKC, True),
        ("m=19456,t=1,p=1", NormalForm.NFC, True),
        ("m=9216,t=2,p=1", NormalForm.NFC, True),
        ("m=65536,t=3,p=1", NormalForm.NFC, True),
        ("m=19456,t=2,p=4", NormalForm.NFC, True),
    ],
)
def test_what_is_not_as_it_would_be_made_now_is_outdated(
    hasher: PasswordHasher,
    costs: str,
    form: NormalForm,
    outdated: bool,  # noqa: FBT001 - the expectation
) -> None:
    phc = f"$argon2id$v=19${costs}$c2FsdHNhbHRzYWx0c2FsdA${'A' * 43}"

    assert hasher.outdated(PasswordRecord(phc, form=form)) is outdated


async def test_a_new_record_is_up_to_date(hasher: PasswordHasher) -> None:
    record = await hasher.hash(RIGHT)

    assert not hasher.outdated(record)
    assert record.scheme == "argon2id,m=19456,t=2,p=1"


@pytest.mark.parametrize("name", GOLDEN)
async def test_a_name_without_a_record_is_refused_by_every_decoy(name: str) -> None:
    hasher = make()
    hasher.set_mix({foreign(GOLDEN[name], form=NormalForm.NFC).scheme: 1})

    assert not await hasher.verify(RIGHT, None, account="nobody")

    hasher.close()


async def test_an_unreadable_record_is_no_refusal(hasher: PasswordHasher) -> None:
    with pytest.raises(UnreadableRecord):
        await hasher.verify(RIGHT, PasswordRecord("rubbish"), account="alice")


class Noting(LegacyProcesses):
    """Notes what is hashed, and takes it for right."""

    def __init__(self) -> None:
        super().__init__(seconds=60)
        self.octets: list[bytes] = []

    def verify(self, text: str, octets: bytes) -> bool:
        del text
        self.octets.append(octets)
        return True


BY_LENGTH = ("$5$", "$6$", "$1$", "$apr1$", "$P$", "$H$")


@pytest.mark.parametrize("name", [name for name in GOLDEN if GOLDEN[name].startswith(BY_LENGTH)])
async def test_where_each_round_takes_time_with_the_length_it_is_bounded(name: str) -> None:
    """Whoever guesses would choose what the guess costs."""
    noting = Noting()
    own = Argon2Hasher(parameters=Argon2Parameters(), threads=1, max_waiting=9, deadline=60)
    hasher = PasswordHasher(own=own, legacy=noting, decoy_key=b"key")

    assert await verify(hasher, GOLDEN[name], "x" * 512)
    assert not await verify(hasher, GOLDEN[name], "x" * 513)
    assert not await verify(hasher, GOLDEN[name], "x" + "\u00e9" * 2000)

    # The last one without half a character.
    assert noting.octets == [b"x" * 512, b"x" * 512, b"x" + "\u00e9".encode() * 255]
    hasher.close()


async def test_elsewhere_the_length_is_no_cost_and_no_bound(hasher: PasswordHasher) -> None:
    # hashlib.pbkdf2_hmac("sha256", b"x" * 2000, b"salt", 1), written as Django does
    made = "pbkdf2_sha256$1$salt$gre5wRBXlJdGcSWFo+g3j4PSsCv8gdzINLhZy/VmH8o="
    assert await verify(hasher, made, "x" * 2000)


async def test_what_a_foreign_record_takes_is_no_estimate_of_our_hash() -> None:
    hasher = make()
    before = hasher.load().seconds
    await verify(hasher, BCRYPT, PASSWORD)
    await until(lambda: hasher.load().completed == 1)

    assert hasher.load().seconds == before
    hasher.close()


@pytest.mark.skipif(sys.platform != "linux", reason="stops a process")
async def test_the_end_does_not_wait_for_a_foreign_record_that_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lalepass_service.adapters.hashing.passwords._GRACE_SECONDS", 0.05)
    legacy = LegacyProcesses(seconds=600)
    hasher = make(legacy=legacy)
    await verify(hasher, BCRYPT, PASSWORD)
    (pid,) = legacy.pids()
    os.kill(pid, signal.SIGSTOP)
    checking = asyncio.create_task(verify(hasher, BCRYPT, PASSWORD))
    await until(lambda: hasher.load().busy == 1)

    started = perf_counter()
    await asyncio.to_thread(hasher.close)

    assert perf_counter() - started < 300
    with pytest.raises(Overloaded):
        await checking
    assert not legacy.pids()


async def test_the_end_waits_for_a_foreign_record_that_does_not_take_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lalepass_service.adapters.hashing.passwords._GRACE_SECONDS", 300)
    legacy = LegacyProcesses(seconds=600)
    hasher = make(legacy=legacy)
    checking = asyncio.create_task(verify(hasher, BCRYPT, PASSWORD))
    await until(lambda: bool(legacy.pids()))

    await asyncio.to_thread(hasher.close)

    assert await checking
