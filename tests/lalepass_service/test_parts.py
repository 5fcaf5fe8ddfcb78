"""What the parts are built from: the pepper's file, and the decoys from what is stored."""

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest

from lalepass_service import parts
from lalepass_service.adapters.hashing import choice
from lalepass_service.adapters.hashing.bindings import Sodium
from lalepass_service.config import Audit, Check, Config, Database, Hashing
from lalepass_service.core.audit import document
from lalepass_service.core.editing import NewUser
from lalepass_service.core.errors import Throttled
from lalepass_service.core.guard import Attempt
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import NormalForm, Password
from lalepass_service.core.recent import RecentChecks
from lalepass_service.faults import ConfigFault
from tests.lalepass_service.accounts import BY
from tests.lalepass_service.adapters.hashing.golden import GOLDEN, PASSWORD, PEPPER
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio


def configured(tmp_path: Path, pepper: bytes | None = None) -> Config:
    path = tmp_path / "pepper"
    if pepper is not None:
        path.write_bytes(pepper)
    return Config(
        database=Database(path=tmp_path / "lalepass.db"),
        hashing=Hashing(threads=1, synapse_pepper_path="" if pepper is None else str(path)),
    )


def children() -> int:
    """Count the processes for foreign records that this one has."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            worker = b"hashing.worker" in (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        count += worker and parent == os.getpid()
    return count


@pytest.mark.parametrize("text", [b"sea salt", b"sea salt\n", b"sea salt\r\n"])
def test_the_pepper_is_what_the_file_holds_but_for_a_line_ending(
    tmp_path: Path, text: bytes
) -> None:
    assert parts.read_pepper(configured(tmp_path, text)) == b"sea salt"


def test_without_a_file_there_is_no_pepper(tmp_path: Path) -> None:
    assert parts.read_pepper(configured(tmp_path)) == b""


@pytest.mark.parametrize("text", [b"", b"\n", b"x" * 2000])
def test_a_file_without_a_pepper_is_a_fault(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ConfigFault, match=r"hashing\.synapse_pepper_path: .*holds no pepper"):
        parts.check_hashing(configured(tmp_path, text))


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    config = configured(tmp_path, PEPPER)
    (tmp_path / "pepper").unlink()

    with pytest.raises(ConfigFault, match="can't be read: No such file"):
        parts.check_hashing(config)


def test_a_binding_that_is_not_there_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "LIBRARY", tmp_path / "none.so")
    config = Config(
        database=Database(path=tmp_path / "lalepass.db"), hashing=Hashing(binding="avx512")
    )

    with pytest.raises(ConfigFault, match=r"hashing\.binding: avx512: there is no .*none\.so"):
        parts.choose_binding(config)


ALICE = Attempt(identifier=ByLocalpart("alice"), password=Password(PASSWORD), caller="homeserver")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
async def test_where_hashes_were_brought_along_names_that_are_not_there_are_like_them(
    tmp_path: Path,
) -> None:
    config = configured(tmp_path, PEPPER)
    parts.migrate(config.database.path)
    record = parts.foreign_record(GOLDEN["Synapse"], form=NormalForm.NONE, synapse=True)
    async with parts.open_directory(config, by=BY) as directory:
        await directory.add(NewUser(localpart="alice"), record)

    async with parts.open_service(config) as service:
        assert children() == 0
        assert not await service.hasher.verify(Password(PASSWORD), None, account="nobody")
        assert children() == 1
        before = await service.check.check(ALICE)

    async with parts.open_service(config) as service:
        again = await service.check.check(ALICE)
        assert children() == 0

    assert type(before).__name__ == type(again).__name__ == "Accepted"


async def hashes_of(config: Config, checks: int) -> int:
    """Say how many hashes a service makes of so many checks of one right password."""
    async with parts.open_service(config) as service:
        for _ in range(checks):
            assert type(await service.check.check(ALICE)).__name__ == "Accepted"
        return service.hasher.load().completed


async def test_right_passwords_are_remembered_if_that_is_asked_for(tmp_path: Path) -> None:
    config = configured(tmp_path)
    parts.migrate(config.database.path)
    async with parts.open_directory(config, by=BY) as directory:
        await directory.add(NewUser(localpart="alice"), Password(PASSWORD))

    assert await hashes_of(config, 3) == 3
    remembering = config.model_copy(update={"check": Check(cache_seconds=300)})
    assert await hashes_of(remembering, 3) == 1


async def test_what_was_remembered_is_forgotten_though_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[RecentChecks] = []

    class Noted(RecentChecks):
        def __init__(self, *, seconds: float) -> None:
            super().__init__(seconds=seconds)
            made.append(self)

    monkeypatch.setattr("lalepass_service.core.recent.RecentChecks", Noted)
    config = configured(tmp_path).model_copy(update={"check": Check(cache_seconds=1)})
    parts.migrate(config.database.path)
    async with parts.open_directory(config, by=BY) as directory:
        await directory.add(NewUser(localpart="alice"), Password(PASSWORD))

    async with parts.open_service(config) as service:
        assert type(await service.check.check(ALICE)).__name__ == "Accepted"
        await until(lambda: not len(made[0]))


async def test_the_service_copies_its_checks_and_a_broken_copy_fails_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "trail.jsonl"
    config = configured(tmp_path).model_copy(update={"audit": Audit(copy_path=copy)})
    parts.migrate(config.database.path)

    async with parts.open_service(config) as service:
        await service.check.check(ALICE)
        await until(lambda: copy.stat().st_size > 0)
        copy.rename(tmp_path / "rotated")
        copy.mkdir()
        for _ in range(2):
            await service.check.check(ALICE)
        await until(lambda: service.trail().copy_failures > 0)
        await until(lambda: service.trail().waiting == 0)

    async with parts.open_trail(config) as trail:
        entries = [entry for _, entry in await trail.entries()]
    copied = (tmp_path / "rotated").read_text().splitlines()
    assert [json.loads(line) for line in copied] == [document(entries[0])]
    assert len(entries) == 3
    # Nothing was to be done about it until the end.
    assert (service.trail().copy_lost, service.trail().lost) == (2, 0)
    assert caplog.text.count("can't be written") == 1


async def test_a_copy_that_can_not_be_written_is_no_start(tmp_path: Path) -> None:
    copy = tmp_path / "none" / "trail.jsonl"
    config = configured(tmp_path).model_copy(update={"audit": Audit(copy_path=copy)})
    parts.migrate(config.database.path)

    with pytest.raises(ConfigFault, match=f"audit.copy_path: {copy}: {copy.parent} is no folder"):
        async with parts.open_service(config):
            pytest.fail("it has started")


class Held(Sodium):
    """Verifies when it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def verify(self, octets: bytes, *, phc: bytes) -> bool:
        self.begun.set()
        assert self.go.wait(timeout=60)
        return super().verify(octets, phc=phc)


async def test_what_was_cut_off_is_in_the_trail_before_the_service_ends(tmp_path: Path) -> None:
    config, held = configured(tmp_path), Held()
    parts.migrate(config.database.path)
    async with parts.open_directory(config, by=BY) as directory:
        await directory.add(NewUser(localpart="alice"), Password(PASSWORD))

    async with parts.open_service(config, binding=held) as service:
        asked = asyncio.create_task(service.check.check(ALICE))
        await until(held.begun.is_set)
        asked.cancel()
        await asyncio.wait((asked,))
        asyncio.get_running_loop().call_soon(held.go.set)

    async with parts.open_trail(config) as trail:
        checks = [entry for _, entry in await trail.entries(conditions={"event": "check"})]
    assert [(entry.outcome, dict(entry.details)) for entry in checks] == [
        ("accepted", {"heard": False})
    ]


async def test_a_follower_that_asks_too_often_keeps_nobody_from_logging_in(
    tmp_path: Path,
) -> None:
    config = configured(tmp_path)
    parts.migrate(config.database.path)

    async with parts.open_service(config) as service:
        feed = service.followers.feed
        asked = [feed.acknowledge((), caller=ALICE.caller) for _ in range(1000)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        outcome = await service.check.check(ALICE)

    assert answers[0] is None
    assert isinstance(answers[-1], Throttled)
    assert type(outcome).__name__ == "Refused"
