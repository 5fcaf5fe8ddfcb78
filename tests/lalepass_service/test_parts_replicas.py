"""A service that reads from a real standby, and what is changed while that is behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lalepass_service import parts
from lalepass_service.adapters.keys import KeyDirectory
from lalepass_service.config import Config, Database, Hashing, Keys
from lalepass_service.core.check import Accepted, Outcome, Refusal, Refused
from lalepass_service.core.directory import Directory
from lalepass_service.core.editing import NewUser
from lalepass_service.core.guard import Attempt
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import Password, Scope, UserState
from lalepass_service.faults import ConfigFault
from tests.lalepass_service.accounts import BY
from tests.lalepass_service.waiting import until
from tests.servers.pair import Pair
from tests.servers.postgres import Database as OnServer
from tests.servers.psql import ROLE, url_of

pytestmark = pytest.mark.anyio

OLD, NEW = "correct horse battery", "another horse battery"
_WRONG = Refused(Refusal.CREDENTIALS)


@pytest.fixture
def config(tmp_path: Path, postgres_pair: Pair, pair_database: OnServer) -> Config:
    keys = KeyDirectory(tmp_path / "keys")
    keys.ensure()
    primary, standby = postgres_pair.primary, postgres_pair.standby
    config = Config(
        database=Database(
            url=url_of(primary.port, database=pair_database.name),
            replica_url=url_of(standby.port, database=pair_database.name),
            password_path=str(primary.password_path),
        ),
        keys=Keys(directory=keys.path),
        hashing=Hashing(threads=1, deadline_seconds=30),
    )
    parts.migrate(parts.store_of(config))
    primary.sql(f"GRANT pg_read_all_stats TO {ROLE}")
    return config


@asynccontextmanager
async def operator(config: Config) -> AsyncIterator[Directory]:
    async with parts.open_directory(config, by=BY) as directory:
        yield directory


async def check(service: parts.Service, password: str, *, name: str = "alice") -> Outcome:
    return await service.check.check(
        Attempt(
            identifier=ByLocalpart(name), password=Password(password), caller="synapse", ip=None
        )
    )


async def test_a_change_is_in_force_at_once_though_the_standby_is_behind(
    config: Config, postgres_pair: Pair
) -> None:
    standby = postgres_pair.standby
    async with (
        operator(config) as directory,
        parts.open_service(config) as service,
        parts.open_registry(config) as registry,
    ):
        assert service.replicas is not None
        await directory.add(NewUser(localpart="alice"), Password(OLD))
        caller, token = await registry.create("homeserver", [Scope.CHECK], by=BY)
        standby.wait_for_replay(postgres_pair.primary)
        while not service.replicas.used:
            await until(lambda: service.replicas is not None and service.replicas.up > 0)
            assert isinstance(await check(service, OLD), Accepted)
        known = service.registry
        assert await known.authenticate(token, Scope.CHECK) == caller

        standby.pause_replay()
        await directory.set_password("alice", Password(NEW))
        assert await check(service, OLD) == _WRONG
        assert isinstance(await check(service, NEW), Accepted)
        await directory.set_state("alice", UserState.DISABLED)
        assert await check(service, NEW) == Refused(Refusal.DISABLED)
        await directory.set_state("alice", UserState.ACTIVE)
        assert isinstance(await check(service, NEW), Accepted)
        await directory.add(NewUser(localpart="bob"), Password(NEW))
        assert isinstance(await check(service, NEW, name="bob"), Accepted)

        used = service.replicas.used
        standby.resume_replay()
        while service.replicas.used == used:
            await until(lambda: service.replicas is not None and service.replicas.up > 0)
            assert isinstance(await check(service, NEW), Accepted)
        assert await check(service, OLD) == _WRONG


async def test_the_service_starts_and_works_without_its_standbys(
    config: Config, postgres_pair: Pair
) -> None:
    postgres_pair.standby.kill()
    async with operator(config) as directory, parts.open_service(config) as service:
        await directory.add(NewUser(localpart="alice"), Password(OLD))
        assert isinstance(await check(service, OLD), Accepted)
        assert await check(service, NEW) == _WRONG
        assert service.replicas is not None
        assert service.replicas.used == 0


def test_an_address_that_libpq_does_not_take_is_refused_by_its_option(config: Config) -> None:
    database = config.database.model_copy(
        update={"replica_url": f"{config.database.replica_url}?sslmoed=require"}
    )
    with pytest.raises(ConfigFault, match=r"^database\.replica_url: .*sslmoed"):
        parts.check_replicas(config.model_copy(update={"database": database}))


async def test_there_are_none_unless_asked_for(tmp_path: Path) -> None:
    config = Config(database=Database(path=tmp_path / "lalepass.db"), hashing=Hashing(threads=1))
    parts.migrate(config.database.path)
    assert parts.check_replicas(config) is None
    async with parts.open_service(config) as service:
        assert service.replicas is None
