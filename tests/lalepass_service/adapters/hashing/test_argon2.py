import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import argon2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_service.adapters.hashing import Argon2Hasher, Argon2Parameters
from lalepass_service.core.errors import InvalidInput, PasswordRejected, UnreadableRecord
from lalepass_service.core.model import Password, PasswordRecord
from tests.lalepass_service.adapters.hashing.compiling import BINDINGS, binding_of
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Golden:
    """A record that argon2-cffi 25.1.0 made, which wraps the reference implementation.

    Made with `argon2.PasswordHasher(time_cost=t, memory_cost=m, parallelism=p).hash(password)`.
    """

    password: str
    phc: str


GOLDEN = {
    "ours": Golden(
        "correct horse",
        "$argon2id$v=19$m=19456,t=2,p=1"
        "$uLVjOMbC2adKXsZj3k5S4Q$yMu0oLJsVV18U9thiPO76UP6zr4JzVLosLjztpIHyxc",
    ),
    "four lanes": Golden(
        "correct horse",
        "$argon2id$v=19$m=19456,t=2,p=4"
        "$RMmISSOaZNPu7eA6NpSpng$flt7KewfC1QAUNM5nv29hmhCXNkP6k0J4YWRvKgJGoc",
    ),
    "argon2-cffi's default": Golden(
        "correct horse",
        "$argon2id$v=19$m=65536,t=3,p=4"
        "$iexCLGCcy5m0pzBwQEbIEg$2Jh6jENCfu2vlfkBueZHVhmV0MPTAt6pcoXm/HeYaOY",
    ),
    "short salt and hash": Golden(
        "correct horse",
        "$argon2id$v=19$m=64,t=1,p=1$8co9tyEtc0Y$hVZwQvfmH+BA8XMugezhlA",
    ),
    "beyond ASCII": Golden(
        "M\u00fcller \U0001f600",
        "$argon2id$v=19$m=19456,t=2,p=1"
        "$go9XwoeAx5Nk5HcvIhS8yw$OtyuzzGZjgvFQ2WpfuC0TuJsOpTXmP+MybbQBQnjVSA",
    ),
}
OURS = GOLDEN["ours"].phc
CHEAP = GOLDEN["short salt and hash"].phc

HOSTILE = {
    "nothing": "",
    "a plain text": "correct horse",
    "a NUL": OURS[:40] + "\0" + OURS[41:],
    "a line feed behind": OURS + "\n",
    "a blank in front": " " + OURS,
    "beyond ASCII": OURS[:-1] + "\u0665",
    "a lone surrogate": OURS[:-1] + "\ud800",
    "100 kB": "$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 100_000,
    "more than libsodium reads": OURS[:54] + "A" * 86,
    "argon2i": OURS.replace("argon2id", "argon2i"),
    "argon2d": OURS.replace("argon2id", "argon2d"),
    "an old version": OURS.replace("v=19", "v=16"),
    "no version": OURS.replace("v=19$", ""),
    "another order": OURS.replace("m=19456,t=2", "t=2,m=19456"),
    "a leading zero": OURS.replace("t=2", "t=02"),
    "a sign": OURS.replace("t=2", "t=+2"),
    "no iterations": OURS.replace("t=2", "t=0"),
    "no lanes": OURS.replace("p=1", "p=0"),
    "terabytes": OURS.replace("m=19456", "m=4294967295"),
    "half a gigabyte": OURS.replace("m=19456", "m=524288"),
    "a million iterations": OURS.replace("t=2", "t=1000000"),
    "seventeen iterations": OURS.replace("t=2", "t=17"),
    "seventeen lanes": OURS.replace("p=1", "p=17"),
    "less memory than the lanes need": OURS.replace("m=19456", "m=1"),
    "base64 of no length": OURS[:-2],
    "base64 with bits to spare": CHEAP[:-1] + "B",
    "padding": OURS + "=",
    "url-safe base64": OURS.replace("$uLVj", "$u-_j"),
    "bcrypt": "$2b$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m",
}


@pytest.fixture(scope="module", params=BINDINGS)
def hasher(request: pytest.FixtureRequest) -> Iterator[Argon2Hasher]:
    hasher = Argon2Hasher(
        parameters=Argon2Parameters(),
        threads=2,
        max_waiting=100,
        deadline=60,
        binding=binding_of(request.param),
    )
    yield hasher
    hasher.close()


@pytest.fixture(scope="module")
def by_libsodium() -> Iterator[Argon2Hasher]:
    """For what is found out before any binding is asked."""
    hasher = Argon2Hasher(parameters=Argon2Parameters(), threads=1, max_waiting=100, deadline=60)
    yield hasher
    hasher.close()


async def test_a_new_record_has_the_parameters_asked_for(hasher: Argon2Hasher) -> None:
    record = await hasher.hash(Password("correct horse"))

    assert record.phc.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_a_new_record_is_verified_by_the_reference_implementation(
    hasher: Argon2Hasher,
) -> None:
    record = await hasher.hash(Password("M\u00fcller \U0001f600"))

    assert argon2.PasswordHasher().verify(record.phc, "M\u00fcller \U0001f600")


async def test_the_same_password_makes_a_new_record_each_time(hasher: Argon2Hasher) -> None:
    first, second = [await hasher.hash(Password("correct horse")) for _ in range(2)]

    assert first != second
    assert await hasher.verify(Password("correct horse"), first, account="alice")
    assert await hasher.verify(Password("correct horse"), second, account="alice")


@pytest.mark.parametrize("golden", GOLDEN.values(), ids=GOLDEN)
async def test_records_of_the_reference_implementation_are_verified(
    hasher: Argon2Hasher, golden: Golden
) -> None:
    record = PasswordRecord(golden.phc)

    assert await hasher.verify(Password(golden.password), record, account="alice")
    assert not await hasher.verify(Password(golden.password + " "), record, account="alice")
    assert not await hasher.verify(Password(""), record, account="alice")


async def test_a_letter_composed_differently_is_the_same_letter(hasher: Argon2Hasher) -> None:
    record = PasswordRecord(GOLDEN["beyond ASCII"].phc)

    assert await hasher.verify(Password("Mu\u0308ller \U0001f600"), record, account="alice")


async def test_nothing_stops_at_a_nul(hasher: Argon2Hasher) -> None:
    record = await hasher.hash(Password("correct\0horse"))

    assert not await hasher.verify(Password("correct"), record, account="alice")
    assert not await hasher.verify(Password("correct\0house"), record, account="alice")


@pytest.mark.parametrize("phc", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_record_is_an_error_and_not_a_refusal(
    hasher: Argon2Hasher, phc: str
) -> None:
    with pytest.raises(UnreadableRecord) as caught:
        await hasher.verify(Password("correct horse"), PasswordRecord(phc), account="alice")

    assert not phc.strip() or phc not in str(caught.value)
    assert "correct" not in str(caught.value)


@given(st.text(alphabet="$argon2id=v19mtp,0+/\0\n ", max_size=60))
def test_no_text_is_a_record_by_accident(by_libsodium: Argon2Hasher, text: str) -> None:
    with pytest.raises(UnreadableRecord):
        asyncio.run(
            by_libsodium.verify(
                Password("correct horse"), PasswordRecord("$argon2id$" + text), account="alice"
            )
        )


@pytest.mark.parametrize("text", ["correct horse", "", "\ud800", "x" * 512], ids=ascii)
async def test_without_a_record_a_decoy_is_hashed_and_the_answer_is_no(
    hasher: Argon2Hasher, text: str
) -> None:
    before = hasher.load().completed

    assert not await hasher.verify(Password(text), None, account="alice")

    await until(lambda: hasher.load().completed == before + 1)


async def test_what_has_no_utf8_form_is_a_wrong_password_and_costs_a_hash(
    hasher: Argon2Hasher,
) -> None:
    before = hasher.load().completed

    assert not await hasher.verify(Password("correct\ud800"), PasswordRecord(OURS), account="alice")

    await until(lambda: hasher.load().completed == before + 1)


async def test_what_has_no_utf8_form_gets_no_record(hasher: Argon2Hasher) -> None:
    with pytest.raises(PasswordRejected) as caught:
        await hasher.hash(Password("correct\ud800"))

    assert "correct" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("memory_kib", "iterations"), [(19455, 2), (19456, 1), (0, 2), (262145, 2), (19456, 17)]
)
def test_parameters_below_the_floor_or_above_the_bounds_are_refused(
    memory_kib: int, iterations: int
) -> None:
    with pytest.raises(InvalidInput):
        Argon2Parameters(memory_kib=memory_kib, iterations=iterations)


async def test_higher_parameters_are_taken(hasher: Argon2Hasher) -> None:
    parameters = Argon2Parameters(memory_kib=32768, iterations=3)
    stronger = Argon2Hasher(parameters=parameters, threads=1, max_waiting=0, deadline=60)

    record = await stronger.hash(Password("correct horse"))
    stronger.close()

    assert "$m=32768,t=3,p=1$" in record.phc
    assert await hasher.verify(Password("correct horse"), record, account="alice")


_WITHOUT_MEMORY = """
import asyncio, json, resource, sys
from tests.lalepass_service.adapters.hashing.compiling import binding_of
from lalepass_service.adapters.hashing import Argon2Hasher, Argon2Parameters
from lalepass_service.core.model import Password, PasswordRecord

async def ask(hasher, phc):
    try:
        return str(await hasher.verify(Password("wrong"), PasswordRecord(phc), account="alice"))
    except Exception as exc:
        return type(exc).__name__

async def main():
    hasher = Argon2Hasher(
        parameters=Argon2Parameters(), threads=1, max_waiting=0, deadline=60,
        binding=binding_of(sys.argv[2]),
    )
    phc = sys.argv[1]
    answers = [await ask(hasher, phc)]
    pages = int(open("/proc/self/statm").read().split()[0])
    limit = pages * resource.getpagesize() + 64 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    answers.append(await ask(hasher, phc.replace("m=19456", "m=200000")))
    answers.append(await ask(hasher, phc))
    hasher.close()
    print(json.dumps(answers))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory in Linux's way")
@pytest.mark.parametrize("name", BINDINGS)
def test_a_lack_of_memory_is_not_called_a_wrong_password(name: str) -> None:
    binding_of(name)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_MEMORY, OURS, name],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )

    assert json.loads(done.stdout) == ["False", "Overloaded", "False"]
