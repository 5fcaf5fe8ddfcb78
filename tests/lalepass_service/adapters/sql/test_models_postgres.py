"""The models of the stores on PostgreSQL: fewer examples than on a file, since each is slower."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, run_state_machine_as_test

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.feed import SqlChanges
from lalepass_service.adapters.sql.hot_postgres import PostgresPaths
from lalepass_service.adapters.sql.migrate import Store
from lalepass_service.adapters.sql.orders import SqlSignOutOrders
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.postgres_engine import open_server
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.adapters.sql.users import SqlUsers
from tests.lalepass_service.accounts import ACT
from tests.lalepass_service.adapters.databases import server_of
from tests.lalepass_service.adapters.sql.test_users_model import Accounts
from tests.lalepass_service.adapters.stores import ALICE
from tests.lalepass_service.adapters.test_feed_model import Following
from tests.lalepass_service.adapters.test_keys_model import Keys
from tests.lalepass_service.adapters.test_recent_model import RememberingOverSql
from tests.lalepass_service.adapters.test_softlocks_model import NAMES_KEPT, SoftLocks
from tests.servers.postgres import Postgres

New = Callable[[], PostgresServer]


@pytest.fixture
def new(postgres_server: Postgres, template: str) -> Iterator[New]:
    """Makes databases with tables and nothing in them, which are gone afterwards."""
    made: list[str] = []

    def make() -> PostgresServer:
        database = postgres_server.create_database(template=template)
        made.append(database.name)
        return server_of(database)

    yield make
    for name in made:
        postgres_server.drop_database(name)


def run(machine: type[RuleBasedStateMachine], *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_accounts(new: New) -> None:
    class OnServer(Accounts):
        def make(self) -> Callable[[], Database]:
            return partial(open_server, new())

    run(OnServer, examples=8, steps=20)


def test_keys(new: New) -> None:
    class OnServer(Keys):
        def make(self) -> Database:
            return open_server(new())

    run(OnServer, examples=5, steps=15)


def test_what_is_remembered_of_a_check(new: New) -> None:
    class OnServer(RememberingOverSql):
        def make(self, folder: Path) -> Store:
            del folder
            return new()

    run(OnServer, examples=6, steps=20)


def test_the_feed(new: New) -> None:
    class OnServer(Following):
        @initialize()
        def open(self) -> None:
            server = new()
            self.database = open_server(server)
            self.lane = PostgresPaths.open(server, threads=1)
            self.hot = PostgresPaths.open(server)
            orders = SqlSignOutOrders(lane=self.lane, hot=self.hot)
            self.begin(SqlUsers(self.database), SqlChanges(self.lane), orders)

        def teardown(self) -> None:
            if hasattr(self, "feed"):
                self.all_catch_up()
                for part in (self.lane, self.hot, self.database):
                    self.run(part.close())
            self.runner.close()

    run(OnServer, examples=6, steps=25)


def test_soft_locks(new: New) -> None:
    class OnServer(SoftLocks):
        def open(self) -> None:
            self.server = new()
            database = open_server(self.server)
            self.run(SqlUsers(database).add(ALICE, None, reuse_name=False, act=ACT))
            self.run(database.close())
            self.connect()

        def connect(self) -> None:
            self.paths = [PostgresPaths.open(self.server) for _ in range(2)]
            self.one, self.other = (
                SqlSoftLocks(path, names_kept=NAMES_KEPT) for path in self.paths
            )

        def disconnect(self) -> None:
            for path in self.paths:
                self.run(path.close())

        def restarted(self) -> None:
            self.disconnect()
            self.connect()

        def close(self) -> None:
            self.disconnect()

    run(OnServer, examples=8, steps=25)
