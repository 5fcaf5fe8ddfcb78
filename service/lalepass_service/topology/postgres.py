"""Looks at a server of PostgreSQL."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import psycopg

from lalepass_service.topology.finding import Amiss, Finding, fail, ok, warn
from lalepass_service.topology.parts import Postgres
from lalepass_service.topology.plan import Login
from lalepass_service.topology.seen import Seen, Server
from lalepass_service.topology.wires import SECONDS, ahead, blamed, connect, secret

_OLDEST: Final = 150000
"""docs/postgresql.md."""
_SSL_REQUEST: Final = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""PostgreSQL, "Message Formats", SSLRequest: answered by one letter before anybody logs in."""

_LOOK: Final = """
SELECT current_setting('server_version'), current_setting('server_version_num')::integer,
    (SELECT system_identifier FROM pg_control_system()), pg_is_in_recovery(),
    coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
        ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn, 0)::bigint,
    (SELECT count(pid) > 0 FROM pg_stat_wal_receiver),
    coalesce(CASE
        WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
        ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
    END, 0)::float8,
    extract(epoch FROM clock_timestamp())::float8
"""
# Who may not see it (pg_read_all_stats) sees who is connected, and nothing of the state.
_STANDBYS: Final = """
SELECT application_name, state, sync_state FROM pg_stat_replication
WHERE state IS NULL OR state IN ('catchup', 'streaming') ORDER BY application_name
"""
_KNOWN: Final = frozenset({"async", "potential", "sync", "quorum"})


def look(name: str, part: Postgres, login: Login) -> Seen:
    """See whether it answers, which it is, and who follows it.

    Raises:
        Amiss: it gave no answer, or not to this user.
    """
    if login.user is None:
        return _greet(name, part)
    before = time.time()
    with closing(_connected(part, login)) as connection:
        version, number, system, standby, position, follows, behind, clock = _row(connection, _LOOK)
        server = Server(
            system=system,
            primary=not standby,
            position=position,
            follows=follows,
            seconds_behind=behind,
        )
        standbys = [] if standby else connection.execute(_STANDBYS).fetchall()
    return Seen(
        part=name,
        findings=tuple(_findings(name, version.split()[0], number, server, standbys)),
        version=version.split()[0],
        ahead=ahead(clock, clock, since=before),
        server=server,
    )


def _greet(name: str, part: Postgres) -> Seen:
    with blamed(part.place), connect(part.place) as connection:
        connection.sendall(_SSL_REQUEST)
        answer = connection.recv(1)
    if answer not in {b"S", b"N"}:
        raise Amiss(f"{part.place} is no PostgreSQL", fix="look what else listens there")
    return Seen(part=name, findings=(ok(name, "reach", "PostgreSQL answers"),))


def _connected(part: Postgres, login: Login) -> "psycopg.Connection[tuple[Any, ...]]":
    place = part.place
    password = secret(login.password_path, what="password") if login.password_path else None
    if login.passfile_path and not os.access(login.passfile_path, os.R_OK):
        secret(login.passfile_path, what="password")
    settings: dict[str, Any] = {
        "host": place.host,
        "port": place.port,
        "user": login.user,
        "dbname": login.database,
        "password": password,
        # Not the one of whoever happens to run this.
        "passfile": login.passfile_path or os.devnull,
        "connect_timeout": round(SECONDS),
        "application_name": "lalepass topology",
        "target_session_attrs": "any",
        "options": f"-c statement_timeout={SECONDS * 1000:.0f}",
        "sslmode": "verify-full" if part.tls else "prefer",
    }
    if part.tls:
        settings["sslrootcert"] = login.ca_path or "system"
    if login.certificate_path:
        settings |= {"sslcert": login.certificate_path, "sslkey": login.key_path}
    try:
        return psycopg.connect(**settings, autocommit=True)
    except psycopg.Error as error:
        with blamed(place):
            # Its words for a name or a port are many lines: ours first.
            connect(place).close()
        raise Amiss(
            f"it does not let {login.user} into {login.database}: {_last_line(error)}",
            fix="compare user, database and password with the server's, and look at pg_hba.conf",
            about="login",
        ) from None


def _row(connection: "psycopg.Connection[tuple[Any, ...]]", query: str) -> tuple[Any, ...]:
    try:
        (row,) = connection.execute(query.encode()).fetchall()
    except psycopg.Error as error:
        raise Amiss(
            f"it does not say how it is: {_last_line(error)}", fix="look at its log", about="login"
        ) from None
    return row


def _last_line(error: psycopg.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # It begins with the address, which is said already.
    last = lines[-1] if lines else type(error).__name__
    return last.rpartition("FATAL:")[2].strip()


def _findings(
    name: str, version: str, number: int, server: Server, standbys: list[tuple[Any, ...]]
) -> Iterator[Finding]:
    if not server.primary:
        yield ok(name, "role", f"PostgreSQL {version}, standby")
    else:
        known = [f"{who} {sync}" for who, _, sync in standbys if sync in _KNOWN]
        hidden = len(standbys) - len(known)
        known += [f"{hidden} of unknown state"] if hidden else []
        tail = f"; standbys: {', '.join(known)}" if known else "; no standby is connected"
        yield ok(name, "role", f"PostgreSQL {version}, primary{tail}")
    if number < _OLDEST:
        yield fail(
            name,
            "version",
            f"PostgreSQL {version} is too old",
            fix=f"upgrade it to {_OLDEST // 10000} or newer",
        )
    if server.primary:
        for who, state, _ in standbys:
            if state == "catchup":
                yield warn(
                    name,
                    "lag",
                    f"{who} is catching up",
                    fix="wait; if it does not end, make that standby anew",
                )
