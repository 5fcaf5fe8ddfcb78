"""What a login asks of PostgreSQL and of Valkey, and what an account takes there.

Counted and not timed, so that other work on the machine does not matter: statements as
`pg_stat_statements` tells them, the log that a standby has to be sent, commands as Valkey tells
them, bytes of tables with their indexes. `bench/sizing.py` takes its figures from here.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx
from pydantic import SecretStr

from bench.figures import Figure, asked_to_be_quick, at_most, report
from lalepass_wire import CheckRequest, Source, UserIdentifier, limits, paths
from lalepass_wire.feed import Report, ReportKind, Reports
from tests.servers.pair import primary
from tests.servers.postgres import Database, Postgres
from tests.servers.services import Services, services
from tests.servers.valkey import Valkey, valkey

_PEOPLE: Final = 100
_AT_ONCE: Final = 8
_RIGHT: Final = "correct horse battery staple"
_AGENT: Final = "Element/1.11.106 (Android 15; made-up phone)"
_SETTLE_SECONDS: Final = 1.5
"""The trail is written every half second, behind the answers that it is about."""

_SETTINGS: Final = {
    "shared_preload_libraries": "pg_stat_statements",
    # Statements inside of a function of ours would count twice; there are none.
    "pg_stat_statements.track": "top",
    "autovacuum": "off",
}
_KINDS: Final = """
    SELECT CASE
        WHEN query ~* '^\\s*(select|with)' THEN 'read'
        WHEN query ~* '^\\s*(insert|update|delete)' THEN 'write'
        WHEN query ~* '^\\s*commit' THEN 'commit' ELSE 'other' END AS kind,
        sum(calls), sum(rows)
    FROM pg_stat_statements JOIN pg_database AS d ON d.oid = dbid
    WHERE d.datname = '{database}' GROUP BY kind
"""
_LOG: Final = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"
_COPY: Final = {
    "account": """
        INSERT INTO users (id, localpart, state, admin, created_at)
            SELECT gen_random_uuid(), 'copy' || n, state, admin, created_at
            FROM generate_series(1, {count}) AS n, (SELECT * FROM users LIMIT 1) AS one;
        INSERT INTO passwords (user_id, phc, changed_at, key_id)
            SELECT u.id, p.phc, p.changed_at, p.key_id FROM users AS u,
                (SELECT * FROM passwords LIMIT 1) AS p WHERE u.localpart LIKE 'copy%';
        INSERT INTO user_emails (user_id, position, address)
            SELECT id, 0, localpart || '@mail.example.org' FROM users WHERE localpart LIKE 'copy%'
    """,
    "known source": """
        INSERT INTO known_sources (user_id, source, seen_at)
            SELECT u.id, k.source, k.seen_at FROM users AS u,
                (SELECT * FROM known_sources LIMIT 1) AS k WHERE u.localpart LIKE 'copy%'
    """,
    "entry of the trail": """
        INSERT INTO audit (at, event, outcome, actor, user_id, localpart, source_ip, user_agent,
                           request_id, details)
            SELECT a.at, a.event, a.outcome, a.actor, u.id, u.localpart, a.source_ip, a.user_agent,
                   a.request_id, a.details
            FROM users AS u, (SELECT * FROM audit WHERE event = 'check' LIMIT 1) AS a
            WHERE u.localpart LIKE 'copy%'
    """,
    "reported session": """
        INSERT INTO sign_ins (in_id, user_id, caller, device_id, signed_in_at, ip, user_agent,
                              reported_at)
            SELECT gen_random_uuid(), u.id, s.caller, s.device_id, s.signed_in_at, s.ip,
                   s.user_agent, s.reported_at
            FROM users AS u, (SELECT * FROM sign_ins LIMIT 1) AS s
            WHERE u.localpart LIKE 'copy%'
    """,
}
_SIZE: Final = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"


@dataclass(frozen=True)
class Traffic:
    """What some work asked of the stores."""

    reads: int
    writes: int
    """Statements; a delete that finds nothing is one, too."""
    rows: int
    """That those have written."""
    log_bytes: int
    """What the primary has logged: a standby is sent as much."""
    commands: int
    """Of Valkey."""


class Counting:
    """Counts what a piece of work asks of the stores."""

    def __init__(self, server: Postgres, database: Database, memory: Valkey) -> None:
        self._server = server
        self._database = database
        self._memory = memory

    def of(self, work: Callable[[], object]) -> Traffic:
        """Do the work, wait for what is written behind it, and count."""
        self._server.sql("CHECKPOINT")
        self._server.sql("SELECT pg_stat_statements_reset()")
        log, commands = int(self._server.sql(_LOG)), self._commands()
        work()
        _pause(_SETTLE_SECONDS)
        log_bytes = int(self._server.sql(_LOG)) - log
        kinds = {"read": (0, 0), "write": (0, 0)}
        for line in self._server.sql(_KINDS.format(database=self._database.name)).splitlines():
            kind, calls, rows = line.split("\t")
            kinds[kind] = int(calls), int(rows)
        return Traffic(
            reads=kinds["read"][0],
            writes=kinds["write"][0],
            rows=kinds["write"][1],
            log_bytes=log_bytes,
            # Our own question, and the choice of a database in front of the next one.
            commands=self._commands() - commands - 2,
        )

    def _commands(self) -> int:
        told = str(self._memory.ask("INFO", "commandstats"))
        counts = (line.partition("calls=")[2].split(",")[0] for line in told.splitlines())
        return sum(int(count) for count in counts if count)


@contextmanager
def installation(
    folder: Path, database: Database, shared: Mapping[str, Mapping[str, object]]
) -> Iterator[Services]:
    """Start one replica with people, each of whom is known from an address of his own."""
    settings: dict[str, Mapping[str, object]] = {
        # A busy machine is given time: whoever was sent away would be counted as well.
        "database": {**database.settings["database"], "timeout": 60.0},
        "hashing": {"deadline_seconds": 60.0},
        "server": {"request_timeout": 120.0},
        "throttle": {"source_per_minute": 1_000_000, "source_burst": 1_000_000},
        "log": {"level": "warning"},
        **shared,
    }
    people = {f"u{number}": _RIGHT for number in range(_PEOPLE)}
    with services(folder, count=1, settings=settings, people=people) as site:
        yield site


def log_in(site: Services, numbers: Sequence[int], password: str = _RIGHT) -> None:
    """Check a password for some of the people, several at a time."""
    with _client(site) as client, ThreadPoolExecutor(_AT_ONCE) as threads:

        def ask(number: int) -> None:
            request = CheckRequest(
                identifier=UserIdentifier(kind="user", localpart=f"u{number}"),
                password=SecretStr(password),
                source=_source(number),
            )
            answer = client.post(paths.CHECK_CREDENTIALS, content=request.model_dump_json())
            answer.raise_for_status()

        list(threads.map(ask, numbers))


def report_sign_ins(site: Services) -> None:
    """Tell of a session of each of the people, as a homeserver does every few seconds."""
    at = datetime.fromtimestamp(time.time(), UTC)
    told = tuple(
        Report(
            id=uuid4().hex,
            kind=ReportKind.SIGNED_IN,
            localpart=f"u{number}",
            device_id=uuid4().hex[:10].upper(),
            at=at,
            source=_source(number),
        )
        for number in range(_PEOPLE)
    )
    with _client(site) as client:
        for first in range(0, len(told), limits.MAX_REPORTS):
            batch = Reports(reports=told[first : first + limits.MAX_REPORTS])
            client.post(paths.REPORTS, content=batch.model_dump_json()).raise_for_status()


def _client(site: Services) -> httpx.Client:
    head = {"Authorization": f"Bearer {site.token}", "Content-Type": "application/json"}
    return httpx.Client(base_url=site.replicas[0].url, headers=head, timeout=120, trust_env=False)


def _source(number: int) -> Source:
    return Source(ip=f"198.51.{number // 200}.{number % 200 + 1}", user_agent=_AGENT)


def _pause(seconds: float) -> None:
    """Let what is posted be written. There is nothing to wait on: it may be nothing."""
    time.sleep(seconds)  # noqa: TID251 - as the docstring says


def each(name: str, traffic: Traffic, count: int) -> list[Figure]:
    """Return the figures of one of so many."""
    return [
        Figure(f"{name}: reads of the database", traffic.reads / count),
        Figure(f"{name}: statements that write", traffic.writes / count),
        Figure(f"{name}: rows written", traffic.rows / count),
        Figure(f"{name}: log of the database", traffic.log_bytes / count, "B"),
        Figure(f"{name}: commands of Valkey", traffic.commands / count),
    ]


def sizes(server: Postgres, database: Database, count: int) -> list[Figure]:
    """Return what each kind of row takes, with its indexes, by many copies of a real one."""
    figures = []
    for name, statement in _COPY.items():
        before = int(server.sql(_SIZE, database=database.name))
        server.sql(statement.format(count=count) + ";", database=database.name)
        after = int(server.sql(_SIZE, database=database.name))
        figures.append(Figure(f"PostgreSQL, one {name}", (after - before) / count, "B"))
    return figures


def _run(
    name: str,
    counting: Counting,
    site: Services,
    turns: int,
) -> list[Figure]:
    log_in(site, range(_PEOPLE))
    everybody = list(range(_PEOPLE)) * turns
    good = counting.of(lambda: log_in(site, everybody))
    # Free by the rule, so none of them has to wait.
    wrong = counting.of(lambda: log_in(site, range(_PEOPLE), "wrong horse battery"))
    # Who mistyped gets in; the lane is cleared.
    mended = counting.of(lambda: log_in(site, range(_PEOPLE)))
    return [
        *each(f"{name}, right", good, len(everybody)),
        *each(f"{name}, wrong", wrong, _PEOPLE),
        *each(f"{name}, right after wrong", mended, _PEOPLE),
    ]


def main() -> None:
    """Count and report."""
    quick = asked_to_be_quick(__doc__)
    turns, copies = (1, 2_000) if quick else (5, 50_000)
    with (
        tempfile.TemporaryDirectory() as folder,
        primary(settings=_SETTINGS) as server,
        valkey() as memory,
    ):
        server.sql("CREATE EXTENSION pg_stat_statements")
        figures = []
        shared = {"valkey": {"url": memory.new_url(), "replicas": 1, "timeout": 5.0}}
        for name, settings in (("without Valkey", {}), ("with Valkey", shared)):
            database = server.create_database()
            counting = Counting(server, database, memory)
            place = Path(folder) / name.replace(" ", "-")
            place.mkdir()
            with installation(place, database, settings) as site:
                figures += _run(name, counting, site, turns)
                told = counting.of(partial(report_sign_ins, site))
            if not settings:
                figures += each("one reported session", told, _PEOPLE)[:4]
                figures += sizes(server, database, copies)
        figures += _memory(memory)
    report("traffic", f"By {_PEOPLE} people, {_AT_ONCE} at a time, each a known source:", figures)


def _memory(memory: Valkey) -> list[Figure]:
    keys = memory.ask("KEYS", "lalepass:1:u:*", database=1)
    if not isinstance(keys, list) or not keys:
        raise RuntimeError("there is nothing in Valkey")
    used = [int(str(memory.ask("MEMORY", "USAGE", str(key), database=1))) for key in keys]
    return [at_most("Valkey, one account", sum(used) / len(used), 400, "B")]


if __name__ == "__main__":
    main()
