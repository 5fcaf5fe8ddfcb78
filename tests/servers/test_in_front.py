"""PgBouncer and HAProxy do what tests of failures rely on."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import pytest

from tests.servers.fixtures import left_out_if_missing
from tests.servers.haproxy import HaProxy, haproxy
from tests.servers.pair import Pair
from tests.servers.pgbouncer import PgBouncer, pgbouncer
from tests.servers.postgres import Database, Postgres
from tests.servers.psql import ROLE, Refused, run_sql
from tools import web
from tools.processes import LOOPBACK

FENCE = 60.0


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + FENCE
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)  # noqa: TID251 - with a deadline


def through(bouncer: PgBouncer, database: Database, text: str, *, password: str = "") -> str:
    password = password or database.server.password
    return run_sql(text, port=bouncer.port, database=database.name, user=ROLE, password=password)


@pytest.fixture
def bouncer(postgres_server: Postgres) -> Iterator[PgBouncer]:
    with left_out_if_missing(), pgbouncer(postgres_server) as bouncer:
        yield bouncer


def test_pgbouncer_lets_in_who_has_the_password(
    bouncer: PgBouncer, postgres_database: Database
) -> None:
    assert through(bouncer, postgres_database, "SELECT current_user") == ROLE
    with pytest.raises(Refused, match="authentication failed"):
        through(bouncer, postgres_database, "SELECT 1", password="wrong")


def test_pgbouncer_gives_each_transaction_whatever_connection_is_free(
    bouncer: PgBouncer, postgres_database: Database
) -> None:
    with ThreadPoolExecutor(1) as thread:
        sleeping = thread.submit(
            through, bouncer, postgres_database, "BEGIN; SELECT pg_sleep(0.5); COMMIT;"
        )
        until(
            lambda: (
                postgres_database.sql(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE wait_event = 'PgSleep' AND datname = current_database()"
                )
                == "1"
            )
        )
        other = through(bouncer, postgres_database, "SELECT pg_backend_pid()")
        sleeping.result(timeout=FENCE)
    # Four clients after that, and two connections still.
    pids = {through(bouncer, postgres_database, "SELECT pg_backend_pid()") for _ in range(4)}
    connections = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'lalepass'"
    assert len({other} | pids) <= 2
    assert postgres_database.sql(f"{connections} AND datname = current_database()") == "2"


def test_pgbouncer_can_be_sent_to_the_new_primary(
    postgres_pair: Pair, pair_database: Database
) -> None:
    with left_out_if_missing(), pgbouncer(postgres_pair.primary) as bouncer:
        alone = "SELECT pg_is_in_recovery(), inet_server_port()"
        before = f"f\t{postgres_pair.primary.port}"
        assert through(bouncer, pair_database, alone) == before
        postgres_pair.fail_over()
        bouncer.point_at(postgres_pair.primary.port)
        after = f"f\t{postgres_pair.primary.port}"

        def has_moved() -> bool:
            try:
                return through(bouncer, pair_database, alone) == after
            except Refused:
                return False

        until(has_moved)
        assert after != before


class Replica:
    """Answers with its own name, as long as it is ready."""

    def __init__(self, name: str) -> None:
        self.ready = True
        replica = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.path == "/health/ready"
                # HAProxy does not stay for what comes after the head.
                body = b"" if asked else name.encode()
                self.send_response(503 if asked and not replica.ready else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.port = self.server.server_port
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(FENCE)


def who_answers(balancer: HaProxy) -> set[str]:
    answers = [web.request("GET", f"{balancer.url}/") for _ in range(6)]
    assert {answer.status for answer in answers} == {200}
    return {answer.body.decode() for answer in answers}


def test_haproxy_gives_nothing_to_who_is_not_ready() -> None:
    with (
        Replica("one") as one,
        Replica("two") as two,
        left_out_if_missing(),
        haproxy([one.port, two.port]) as balancer,
    ):
        until(lambda: who_answers(balancer) == {"one", "two"})
        one.ready = False
        until(lambda: who_answers(balancer) == {"two"})
        assert balancer.ready() == {two.port}
        one.ready = True
        until(lambda: who_answers(balancer) == {"one", "two"})
        assert balancer.ready() == {one.port, two.port}


def test_haproxy_says_when_nobody_is_there() -> None:
    with left_out_if_missing(), haproxy([1]) as balancer:
        assert balancer.ready() == set()
        assert web.request("GET", f"{balancer.url}/").status == 503
