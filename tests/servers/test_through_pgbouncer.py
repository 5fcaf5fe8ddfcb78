"""A service whose database is behind PgBouncer in transaction mode."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from lalepass_service.core.errors import NoAnswer as Unanswered
from lalepass_service.faults import OutsideFault
from lalepass_wire.feed import AccountState
from tests.servers.asking import NoAnswer
from tests.servers.fixtures import left_out_if_missing
from tests.servers.pgbouncer import pgbouncer
from tests.servers.postgres import Database
from tests.servers.psql import url_of
from tests.servers.services import services

_T = TypeVar("_T")
_ATTEMPTS = 20
OLD, NEW = "correct horse battery", "staple of the battery"


def soon(work: Callable[[], _T]) -> _T:
    """Try until there is an answer: the pooler may have more than one connection that is lost."""
    for _ in range(_ATTEMPTS):
        with suppress(NoAnswer, Unanswered, OutsideFault):
            return work()
    return work()


def test_two_replicas_answer_for_all(tmp_path: Path, postgres_database: Database) -> None:
    with left_out_if_missing(), pgbouncer(postgres_database.server) as bouncer:
        url = url_of(bouncer.port, database=postgres_database.name)
        settings = {**postgres_database.settings}
        settings["database"] = {**settings["database"], "url": url}
        people = {"alice": OLD, "bob": OLD}
        with services(tmp_path, count=2, settings=settings, people=people) as two:
            first, second = (replica.url for replica in two.replicas)
            with two.caller(first) as one, two.caller(second) as other:
                cursor = one.locked().cursor
                assert one.check("alice", OLD)
                assert not other.check("alice", "a wrong one")
                two.set_password("alice", NEW)
                assert other.check("alice", NEW)
                assert not one.check("alice", OLD)
                two.disable("bob")
                assert not one.check("bob", OLD)
                found, _ = other.accounts(cursor)
                assert found["bob"].state is AccountState.DISABLED
                # The pooler loses its server for a moment.
                postgres_database.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                soon(lambda: two.enable("bob"))
                assert soon(lambda: one.check("bob", OLD))
                assert soon(lambda: other.check("bob", OLD))
            assert [replica.stop() for replica in two.replicas] == [0, 0]
