"""A service and an operator that share their counters in a real Valkey."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, update

from lalepass_service import parts
from lalepass_service.adapters.keys import KeyDirectory
from lalepass_service.adapters.sql.tables import passwords
from lalepass_service.config import Config, Database, Hashing, Keys, Valkey
from lalepass_service.core.check import Accepted, Outcome, Refusal, Refused
from lalepass_service.core.editing import NewUser
from lalepass_service.core.errors import Throttled
from lalepass_service.core.guard import Attempt
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import Password, UserState
from lalepass_service.faults import ConfigFault
from tests.lalepass_service.accounts import BY
from tests.servers.valkey import Valkey as Server
from tools.processes import free_port

pytestmark = pytest.mark.anyio

RIGHT = "correct horse battery"
WRONG = Refused(Refusal.CREDENTIALS)


@dataclass(frozen=True)
class Site:
    """One installation."""

    config: Config

    @asynccontextmanager
    async def replica(self) -> AsyncIterator[parts.Service]:
        async with parts.open_service(self.config) as service:
            yield service

    async def operate(self, password: str | None = None, *, delete: bool = False) -> bool:
        """Unlock Alice, or give her another password, or remove her. Returns if she was locked."""
        async with parts.open_directory(self.config, by=BY) as directory:
            if password is not None:
                await directory.set_password("alice", Password(password))
            elif delete:
                await directory.delete("alice")
            else:
                return await directory.unlock("alice")
        return True

    async def failures(self) -> int:
        async with parts.open_directory(self.config, by=BY) as directory:
            return await directory.failures("alice")


@pytest.fixture(params=["sqlite", "postgresql"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, valkey_url: str) -> Site:
    database = Database(path=tmp_path / "lalepass.db")
    if request.param == "postgresql":
        settings = request.getfixturevalue("postgres_database").settings["database"]
        database = Database(**settings, timeout=30)
    site = made(tmp_path, valkey_url, database=database)
    async with parts.open_directory(site.config, by=BY) as directory:
        await directory.add(NewUser(localpart="alice"), Password(RIGHT))
    return site


def made(folder: Path, url: str, *, seconds: float = 5, database: Database | None = None) -> Site:
    keys = KeyDirectory(folder / "keys")
    keys.ensure()
    config = Config(
        database=database or Database(path=folder / "lalepass.db"),
        keys=Keys(directory=keys.path),
        hashing=Hashing(threads=1, deadline_seconds=30),
        valkey=Valkey(url=url, prefix="site", replicas=2, timeout=seconds),
    )
    parts.migrate(parts.store_of(config))
    return Site(config)


async def check(service: parts.Service, password: str, *, ip: str | None = None) -> Outcome:
    return await service.check.check(
        Attempt(
            identifier=ByLocalpart("alice"), password=Password(password), caller="synapse", ip=ip
        )
    )


async def test_replicas_have_one_budget_and_operators_open_it(site: Site) -> None:
    async with site.replica() as one, site.replica() as other:
        assert await check(one, "wrong 1") == WRONG
        assert await check(other, "wrong 2") == WRONG
        assert await check(one, "wrong 2") == WRONG
        assert await check(other, "wrong 3") == WRONG
        for service in (one, other):
            with pytest.raises(Throttled):
                await check(service, RIGHT)
        assert await site.failures() == 3

        assert await site.operate()
        assert not await site.operate()

        assert isinstance(await check(other, RIGHT), Accepted)
        # The others hear of it a moment later.
        async with asyncio.timeout(20):
            while await site.failures():  # noqa: ASYNC110 - the fact is in another process
                await asyncio.sleep(0.01)
        assert await check(one, "wrong 4") == WRONG
        assert await site.failures() == 1


async def test_an_operator_opens_what_was_closed_while_valkey_is_away(
    site: Site, breakable_valkey: Server
) -> None:
    valkey = site.config.valkey.model_copy(update={"url": f"{breakable_valkey.url}/1"})
    there = Site(site.config.model_copy(update={"valkey": valkey}))
    async with there.replica() as one, there.replica() as other:
        for number in range(3):
            assert await check(one, f"wrong {number}") == WRONG
        breakable_valkey.pause()
        try:
            with pytest.raises(Throttled):
                await check(one, RIGHT)
            assert await there.operate()
            for service in (one, other):
                assert isinstance(await check(service, RIGHT), Accepted)
        finally:
            breakable_valkey.resume()

        # It still has them, and nobody is held up by it.
        for service in (one, other):
            assert service.counters is not None
            await service.counters.client.look()
            assert service.counters.up
        assert await there.failures() == 0
        assert not await there.operate()
        for service in (one, other):
            assert isinstance(await check(service, RIGHT), Accepted)


async def test_another_password_opens_what_was_closed(site: Site) -> None:
    async with site.replica() as service:
        for number in range(3):
            await check(service, f"wrong {number}")
        with pytest.raises(Throttled):
            await check(service, RIGHT)

        await site.operate("another horse battery")

        assert isinstance(await check(service, "another horse battery"), Accepted)
        assert await check(service, RIGHT) == Refused(Refusal.CREDENTIALS)


async def test_a_name_comes_back_with_nothing_against_it(site: Site, valkey_server: Server) -> None:
    database = int(site.config.valkey.url.rpartition("/")[2])
    async with site.replica() as service:
        await check(service, "wrong")
    assert len(keys_of_accounts(valkey_server, database)) == 1

    await site.operate(delete=True)

    assert keys_of_accounts(valkey_server, database) == []


async def test_the_passwords_of_an_older_state_are_right_and_count_anew(site: Site) -> None:
    """A backup was restored, or a standby took over that lacked the last changes."""
    async with parts.open_database(site.config) as database:
        async with database.read() as connection:
            (before,) = (await connection.execute(select(passwords))).mappings()
        async with site.replica() as service:
            await site.operate("another horse battery")
            for number in range(3):
                assert await check(service, f"wrong {number}") == WRONG
            async with database.write() as connection:
                await connection.execute(update(passwords).values(before))

            await parts.count_anew(site.config)
            assert service.counters is not None
            await service.counters.client.look()

            assert isinstance(await check(service, RIGHT), Accepted)
            for number in range(3):
                assert await check(service, f"wrong {number}") == WRONG
            with pytest.raises(Throttled):
                await check(service, RIGHT)
            assert service.counters.emptied == 0
            assert await site.failures() == 3


async def test_who_is_disabled_stays_so_when_all_is_counted_anew(site: Site) -> None:
    async with parts.open_directory(site.config, by=BY) as directory:
        await directory.set_state("alice", UserState.DISABLED)

    await parts.count_anew(site.config)

    async with site.replica() as service:
        assert await check(service, RIGHT) == Refused(Refusal.DISABLED)


async def test_without_a_valkey_there_is_nothing_to_count_anew(tmp_path: Path) -> None:
    await parts.count_anew(Config(database=Database(path=tmp_path / "lalepass.db")))


def keys_of_accounts(server: Server, database: int) -> list[str]:
    keys = server.ask("KEYS", "site:1:u:*", database=database)
    assert isinstance(keys, list)
    return [str(key) for key in keys]


async def test_a_service_starts_without_its_valkey_and_an_operator_unlocks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = made(tmp_path, f"redis://127.0.0.1:{free_port()}", seconds=1)
    async with parts.open_directory(site.config, by=BY) as directory:
        await directory.add(NewUser(localpart="alice"), Password(RIGHT))

    async with site.replica() as service:
        assert service.counters is not None
        assert not service.counters.up
        assert isinstance(await check(service, RIGHT), Accepted)
        assert await check(service, "wrong") == Refused(Refusal.CREDENTIALS)
        with pytest.raises(Throttled):
            await check(service, "wrong again")
        with pytest.raises(Throttled):
            await check(service, RIGHT)
        assert await site.operate()
        assert isinstance(await check(service, RIGHT), Accepted)
        await service.database.ping(5)
        assert service.counters.fallbacks == 5
    # A password is set all the same.
    await site.operate("another horse battery")

    said = [each.getMessage() for each in caplog.records if "valkey" in each.name]
    assert len([text for text in said if "counted by each replica alone" in text]) == 3


async def test_what_may_lose_counters_is_said_at_the_start(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with site.replica():
            pass

    said = [each.getMessage() for each in caplog.records if "valkey" in each.name]
    assert said == ["Valkey forgets counters when it ends: set appendonly to yes"]


def test_replicas_need_keys_that_they_share(tmp_path: Path) -> None:
    config = Config(
        database=Database(path=tmp_path / "lalepass.db"), valkey=Valkey(url="valkey://localhost")
    )

    with pytest.raises(ConfigFault, match=r"valkey\.url needs keys\.directory"):
        parts.check_valkey(config)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file or directory"),
        (b"", "does not begin with a password"),
        (b"\npassword", "does not begin with a password"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_a_password_file_that_is_none_is_refused(
    tmp_path: Path, text: bytes | None, why: str
) -> None:
    file = tmp_path / "password"
    if text is not None:
        file.write_bytes(text)
    valkey = Valkey(url="valkey://localhost", password_path=file)

    with pytest.raises(ConfigFault) as fault:
        parts.check_valkey(Config(keys=Keys(directory=tmp_path), valkey=valkey))
    assert str(fault.value).startswith("valkey.password_path: ")
    assert why in str(fault.value)


@pytest.mark.parametrize(
    ("text", "why"), [(None, "No such file or directory"), (b"", "no certificate")]
)
def test_an_authority_that_is_none_is_refused(tmp_path: Path, text: bytes | None, why: str) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_bytes(text)
    valkey = Valkey(url="valkeys://localhost", ca_path=file)

    with pytest.raises(ConfigFault) as fault:
        parts.check_valkey(Config(keys=Keys(directory=tmp_path), valkey=valkey))
    assert str(fault.value).startswith("valkey.ca_path: ")
    assert why in str(fault.value)


def test_without_a_valkey_there_is_nothing_to_check() -> None:
    parts.check_valkey(Config())
