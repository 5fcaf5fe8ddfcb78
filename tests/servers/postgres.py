"""A PostgreSQL, which is a primary or a standby; `pair.py` makes them."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final

from tests.servers.leftovers import remove_segment
from tests.servers.psql import ROLE, Refused, installed, quoted, run_as_account, run_sql, url_of
from tests.servers.server import FENCE, Server, unprivileged
from tools.processes import LOOPBACK

SUPERUSER: Final = "postgres"

_TIMEOUT: Final = 60.0
_PAUSE: Final = 0.02
_NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})
_SETTINGS: Final = {
    "wal_level": "replica",
    "max_connections": "200",
    "max_wal_senders": "10",
    "max_wal_size": "128MB",
    "max_slot_wal_keep_size": "1GB",
    "shared_buffers": "64MB",
    "jit": "off",
    # how soon a standby looks again for a primary that was away: 5 s unless told otherwise
    "wal_retrieve_retry_interval": "200ms",
    # in files below its own, and not in those of the system, where SIGKILL leaves them behind
    "dynamic_shared_memory_type": "mmap",
}
_NOT_DURABLE: Final = {"fsync": "off", "full_page_writes": "off"}
"""Keeps all that was acknowledged when its processes are killed, not when the machine is."""

_numbers: Final = count(1)


class Postgres(Server):
    """A primary or a standby: which of them it is can change."""

    # SIGTERM waits for the clients to go.
    END_SIGNAL: ClassVar = signal.SIGINT

    def __init__(
        self,
        *,
        name: str,
        directory: Path,
        durable: bool = False,
        settings: Mapping[str, str] = _NO_SETTINGS,
    ) -> None:
        super().__init__(name=name, directory=directory)
        self._settings = {**_SETTINGS, **({} if durable else _NOT_DURABLE), **settings}

    def command(self) -> list[str]:
        """See `Server`."""
        settings = [part for item in self._settings.items() for part in ("-c", "=".join(item))]
        return [
            *(*unprivileged(), installed("postgres"), "-D", str(self.data)),
            *("-h", LOOPBACK, "-p", str(self.port), "-k", "", *settings),
        ]

    def answers(self) -> bool:
        """See `Server`. A standby is ready when it can be read from."""
        # What pg_ctl does: the first line has the pid, the eighth the state (miscadmin.h).
        with suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return (
                len(lines) > 7
                and lines[0] == str(self.pid)
                and lines[7].strip() in {"ready", "standby"}
            )
        return False

    @property
    def data(self) -> Path:
        """Where its files are."""
        return self.directory / self.name

    @property
    def password(self) -> str:
        """The password of ROLE."""
        return self.password_path.read_text(encoding="utf-8")

    @property
    def password_path(self) -> Path:
        """The file with the password of ROLE."""
        return self.directory / "password"

    def sql(self, text: str, *, database: str = SUPERUSER) -> str:
        """Run SQL as the superuser; return its rows without the last line ending, tab between.

        Raises:
            Refused: it was not done. The message is PostgreSQL's.
        """
        return run_sql(text, port=self.port, database=database, user=SUPERUSER)

    def set(self, setting: str, value: str | None) -> None:
        """Change what can be changed without a restart; None for what it was at the start.

        It holds for every statement that is begun after this returns, on older connections, too.
        """
        does = f"SET {setting} = {quoted(value)}" if value is not None else f"RESET {setting}"
        before = self._loaded_at()
        self.sql(f"ALTER SYSTEM {does}; SELECT pg_reload_conf();".replace("; ", ";\n"))
        # The server reads it a little later, and tells its processes before it lets anybody in.
        _until(lambda: self._loaded_at() != before, what=f"{self.name} has read its settings")

    def create_database(
        self, name: str | None = None, *, template: str | None = None
    ) -> "Database":
        """Make an empty database, or one like the template, which nobody may be using."""
        name = name or f"lalepass_{next(_numbers)}"
        like = f' TEMPLATE "{template}"' if template else ""
        self.sql(f'CREATE DATABASE "{name}" OWNER {ROLE}{like}')
        return Database(server=self, name=name)

    def drop_database(self, name: str) -> None:
        """Remove it, whoever is connected. Nothing if it is not there."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def is_primary(self) -> bool:
        """Whether it takes writes."""
        return self.sql("SELECT pg_is_in_recovery()") == "f"

    def promote(self) -> None:
        """Make a standby a primary, and return when it takes writes."""
        if self.sql(f"SELECT pg_promote(true, {_TIMEOUT:.0f})") != "t":
            raise Refused(f"{self.name} does not become a primary")

    def position(self) -> int:
        """Return how far a primary has written, or a standby has replayed."""
        return int(
            self.sql(
                "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
                " ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn"
            )
        )

    def pause_replay(self) -> None:
        """Let a standby receive and not replay, until `resume_replay` or a promotion."""
        self.sql("SELECT pg_wal_replay_pause()")
        _until(
            lambda: self.sql("SELECT pg_get_wal_replay_pause_state()") == "paused",
            what=f"{self.name} replays no more",
        )

    def resume_replay(self) -> None:
        """Let a standby go on."""
        self.sql("SELECT pg_wal_replay_resume()")

    def delay_replay(self, seconds: float) -> None:
        """Let a standby replay each commit so many seconds after it was made; 0 for at once."""
        self.set("recovery_min_apply_delay", f"{seconds * 1000:.0f}ms" if seconds else None)

    def wait_for_replay(self, primary: "Postgres", seconds: float = FENCE) -> None:
        """Return as soon as it has replayed what the primary has written by now."""
        target = primary.position()
        _until(lambda: self.position() >= target, what=f"{self.name} is there", seconds=seconds)

    def require_standby(self, standby: "Postgres | None") -> None:
        """Acknowledge a commit only when this standby has it on its disk; None for at once."""
        self.set("synchronous_standby_names", f'"{standby.name}"' if standby else "")
        if standby is not None:
            _until(
                lambda: self._state_of(standby) == ("streaming", "sync"),
                what=f"{standby.name} is synchronous",
            )

    def wait_for_standby(self, standby: "Postgres", seconds: float = FENCE) -> None:
        """Return as soon as the standby is connected and takes what is new."""
        _until(
            lambda: self._state_of(standby)[0] == "streaming",
            what=f"{standby.name} follows {self.name}",
            seconds=seconds,
        )

    def follow(self, primary: "Postgres") -> None:
        """Become a standby with the files of the primary, whatever it was before, and start."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        primary.drop_slot(self.name)
        run_as_account(
            *(installed("pg_basebackup"), "-D", str(self.data), "--checkpoint=fast", "--no-sync"),
            *("-R", "-C", "-S", self.name, "-d"),
            f"host={LOOPBACK} port={primary.port} user={SUPERUSER} application_name={self.name}",
            directory=self.directory,
        )
        # What the primary waits for is no setting of ours, and we would wait for ourselves.
        with (self.data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            settings.write("synchronous_standby_names = ''\n")
        self.start()
        primary.wait_for_standby(self)

    def drop_slot(self, name: str) -> None:
        """Keep nothing for a standby that is gone. Nothing if there is no such slot."""
        slot = f"FROM pg_replication_slots WHERE slot_name = {quoted(name)}"
        _until(lambda: self.sql(f"SELECT active {slot}") != "t", what=f"{name} is gone")
        self.sql(f"SELECT pg_drop_replication_slot(slot_name) {slot}")

    def discard(self) -> None:
        """End it without the care for its files that `stop` takes."""
        self.resume()
        if self.pid is not None:
            # It tidies up its shared memory, which is left behind by SIGKILL.
            os.kill(self.pid, signal.SIGQUIT)
        self.stop()

    def kill(self) -> None:
        """See `Server`."""
        super().kill()
        remove_segment(self.data)

    def _loaded_at(self) -> str:
        return self.sql("SELECT pg_conf_load_time()")

    def _state_of(self, standby: "Postgres") -> tuple[str, str]:
        its_name = f"application_name = {quoted(standby.name)}"
        row = self.sql(f"SELECT state, sync_state FROM pg_stat_replication WHERE {its_name}")
        state, _, sync = row.partition("\t")
        return state, sync


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database of ROLE."""

    server: Postgres
    name: str

    @property
    def url(self) -> str:
        """Where it is, without the password."""
        return url_of(self.server.port, database=self.name)

    @property
    def settings(self) -> dict[str, dict[str, str]]:
        """The same as settings of the service."""
        return {"database": {"url": self.url, "password_path": str(self.server.password_path)}}

    def sql(self, text: str) -> str:
        """See `Postgres`."""
        return self.server.sql(text, database=self.name)


def _until(fact: Callable[[], bool], *, what: str, seconds: float = FENCE) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(_PAUSE)  # noqa: TID251 - with a deadline
