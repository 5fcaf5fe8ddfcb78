"""How large the parts of a homeserver have to be: assumptions, and what follows from them.

Pure functions of numbers. Nothing here is better than its assumptions, so each has its source:

* `measured: ...` is a figure of ours, by the script in `bench/` that is named;
* `docs: ...` is said by a page of ours;
* an address is where somebody else says it;
* `assumption` is a guess: put your own figure there.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final

MOST_ACCOUNTS: Final = 10_000_000
_KIB: Final = 1024
_GIB: Final = 1024**3
_MIB: Final = 1024**2

_ESS: Final = (
    "https://ems-docs.element.io/books/element-server-suite-classic-documentation-lts-2310"
    "/page/ess-sizing/revisions/3413/changes"
)
_BLOG: Final = "https://element.io/blog/scaling-to-millions-of-users-requires-synapse-pro"
_TRAFFIC: Final = "measured: bench_traffic"
_GUESS: Final = "assumption"


class Refused(ValueError):
    """What was given is no number of accounts, or no assumption. The message is one sentence."""


def _of(
    value: float, what: str, *, unit: str = "", source: str = _GUESS, low: float, high: float
) -> float:
    about = {"what": what, "unit": unit, "source": source, "low": low, "high": high}
    made: float = field(default=value, metadata=about)
    return made


def _share(value: float, what: str, *, low: float = 0.0, high: float = 1.0) -> float:
    return _of(value, what, low=low, high=high)


def _count(value: float, what: str, *, source: str, unit: str = "") -> float:
    return _of(value, what, unit=unit, source=source, low=0, high=1e9)


@dataclass(frozen=True)
class Assumptions:
    """All that the model takes for granted. Each may be changed."""

    # People
    daily_active: float = _share(0.5, "of the accounts, who are there on a working day")
    morning_logins: float = _share(
        0.2, "of those, who log in with a password in the morning; sessions of others go on"
    )
    morning_minutes: float = _of(60, "how long the morning is", unit="min", low=1, high=720)
    burst: float = _of(2, "the worst minute, as times the mean of the morning", low=1, high=60)
    wrong_passwords: float = _of(0.15, "wrong passwords for each right one", low=0, high=100)
    rest_of_day: float = _of(0.5, "logins later, for each one in the morning", low=0, high=100)
    messages_a_day: float = _of(20, "messages a day by each who is there", low=0, high=10_000)
    busy_hour: float = _share(0.15, "of a day's messages, those of the busiest hour", low=1 / 24)
    media_a_day: float = _of(0.3, "files a day by each who is there", low=0, high=10_000)
    media_mib: float = _of(1, "size of a file", unit="MiB", low=0, high=10_000)
    thumbnails: float = _of(1.2, "a file with its thumbnails, as times the file", low=1, high=10)

    # Lalepass
    check_ms: float = _of(
        13.3,
        "processor time of one check: libsodium, the least that OWASP recommends",
        unit="ms",
        source="measured: bench_checks",
        low=0.1,
        high=10_000,
    )
    utilisation: float = _share(0.6, "of the cores, how much the worst minute may use", low=0.05)
    replica_cores: float = _of(4, "cores of one replica of the service", low=1, high=1024)
    spare_from: float = _of(
        1000, "accounts from which on a lost machine must not be noticed", low=1, high=1e9
    )
    connections_a_replica: float = _count(
        10, "connections to PostgreSQL of each replica", source="docs: postgresql.md"
    )
    connections_for_commands: float = _count(
        12, "connections for commands", source="docs: postgresql.md"
    )
    reads_right: float = _count(3.1, "reads for a right password", source=_TRAFFIC)
    writes_right: float = _count(4.0, "statements that write for it", source=_TRAFFIC)
    log_right: float = _count(1200, "what a standby is sent for it", unit="B", source=_TRAFFIC)
    reads_wrong: float = _count(2.2, "reads for a wrong password", source=_TRAFFIC)
    writes_wrong: float = _count(2.0, "statements that write for it", source=_TRAFFIC)
    valkey_reads_right: float = _count(
        2.1, "reads for a right password beside Valkey", source=_TRAFFIC
    )
    valkey_writes_right: float = _count(1.0, "statements that write for it", source=_TRAFFIC)
    valkey_reads_wrong: float = _count(
        1.2, "reads for a wrong password beside Valkey", source=_TRAFFIC
    )
    valkey_writes_wrong: float = _count(1.0, "statements that write for it", source=_TRAFFIC)
    reads_report: float = _count(2.0, "reads for a reported session", source=_TRAFFIC)
    writes_report: float = _count(3.0, "statements that write for it", source=_TRAFFIC)
    valkey_commands_right: float = _count(
        18, "commands of Valkey for a right password", source=_TRAFFIC
    )
    valkey_commands_wrong: float = _count(11, "commands for a wrong one", source=_TRAFFIC)
    valkey_account_bytes: float = _count(
        400, "memory of Valkey for an account, the upper end", unit="B", source="docs: valkey.md"
    )
    account_bytes: float = _count(
        910, "an account in PostgreSQL, with one address", unit="B", source=_TRAFFIC
    )
    source_bytes: float = _count(210, "a known source there", unit="B", source=_TRAFFIC)
    sources: float = _of(3, "known sources of an account", low=0, high=1000)
    trail_bytes: float = _count(380, "an entry of the trail there", unit="B", source=_TRAFFIC)
    trail_days: float = _of(
        365, "how long the trail is kept", unit="d", source="docs: lalepass.toml", low=1, high=36500
    )
    session_bytes: float = _count(430, "a reported session there", unit="B", source=_TRAFFIC)
    sessions: float = _of(5, "reported sessions of an account, 50 at most", low=0, high=50)

    # Synapse
    login_ms: float = _of(
        5.5,
        "processor time of Synapse for a login, beside the check",
        unit="ms",
        source="measured: bench_synapse_logins",
        low=0,
        high=10_000,
    )
    synapse_cores: float = _of(
        2, "cores of a homeserver to begin with", source=_ESS, low=1, high=64
    )
    synapse_cores_a_1000: float = _of(
        1, "cores for each 1000 accounts, 1.5 with open federation", source=_ESS, low=0, high=1000
    )
    synapse_mib: float = _of(
        2000, "its memory to begin with", unit="MiB", source=_ESS, low=0, high=1e6
    )
    synapse_mib_a_1000: float = _of(
        650, "memory for each 1000 accounts", unit="MiB", source=_ESS, low=0, high=1e6
    )
    database_cores: float = _of(
        1, "cores of its PostgreSQL to begin with", source=_ESS, low=1, high=64
    )
    database_cores_a_1000: float = _of(
        0.3, "cores for each 1000 accounts", source=_ESS, low=0, high=1000
    )
    largest_database: float = _of(64, "cores that one PostgreSQL can have", low=2, high=4096)
    workers_from: float = _of(
        500, "accounts from which on one process is not enough", low=1, high=1e9
    )
    listening_ms: float = _of(
        6.25,
        "what each worker spends on each event of the homeserver",
        unit="ms",
        source=_BLOG,
        low=0.001,
        high=1000,
    )
    listening_share: float = _share(0.25, "of a worker's time, how much may go into that", low=0.01)
    process_connections: float = _of(
        10,
        "connections to PostgreSQL of each process (cp_max)",
        source="https://element-hq.github.io/synapse/latest/postgres.html",
        low=1,
        high=1000,
    )
    message_bytes: float = _of(
        4900,
        "a message in Synapse's database, in a room of ten that has read it",
        unit="B",
        source="measured: bench_messages",
        low=0,
        high=1e9,
    )
    other_tables: float = _of(
        2,
        "the database with state, keys and what is unread, as times its messages",
        low=1,
        high=100,
    )
    local_media_gib: float = _of(
        500, "media that one machine may keep by itself", unit="GiB", low=0, high=1e9
    )

    def with_changes(self, changes: Mapping[str, object]) -> "Assumptions":
        """Return these with some changed.

        Raises:
            Refused: there is no such assumption, or a value is none that it can have.
        """
        known = {each.name: each for each in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise Refused(f"{name}: there is no such assumption; --assumptions lists them")
            low, high = (known[name].metadata[end] for end in ("low", "high"))
            number = isinstance(value, int | float) and not isinstance(value, bool)
            # Written so that a NaN is refused, too.
            if not (number and low <= value <= high):
                raise Refused(f"{name}: should be a number from {low:g} to {high:g}")
        return replace(self, **changes)  # type: ignore[arg-type] # all of them are numbers


@dataclass(frozen=True)
class Sizing:
    """What so many accounts need, by the assumptions. All of it together, of all homeservers."""

    accounts: int
    active: float
    """Accounts on a working day."""
    morning_logins: float
    """A second, with a right password, in the worst minute."""
    checks: float
    """A second, right and wrong, in the worst minute."""
    auth_cores: float
    replicas: int
    all_again_minutes: float
    """How long it takes until all who are there are in again, after everybody was signed out."""
    reads: float
    """Of Lalepass's database a second, in the worst minute, without Valkey."""
    writes: float
    """Statements, likewise."""
    reads_beside_valkey: float
    writes_beside_valkey: float
    log_bytes: float
    """A second that a standby is sent, without Valkey."""
    connections: int
    """To Lalepass's PostgreSQL."""
    valkey_commands: float
    """A second."""
    valkey_mib: float
    lalepass_gib: float
    """Of Lalepass's database, once the trail is as long as it gets."""
    events: float
    """Messages a second in the busiest hour."""
    homeservers: int
    """That it takes, since each process of one has to hear of each event of it."""
    synapse_cores: float
    workers: int
    synapse_gib: float
    """Memory."""
    database_cores: float
    """Of the PostgreSQL of Synapse."""
    synapse_connections: int
    synapse_database_gib: float
    """More in a year."""
    media_gib: float
    """More in a year."""


def size(accounts: int, given: Assumptions) -> Sizing:
    """Return what so many accounts need.

    Raises:
        Refused: it is no such number.
    """
    if isinstance(accounts, bool) or not isinstance(accounts, int):
        raise Refused("a number of accounts is a whole number")
    if not 1 <= accounts <= MOST_ACCOUNTS:
        raise Refused(f"the number of accounts should be from 1 to {MOST_ACCOUNTS:_}")
    active = accounts * given.daily_active
    logins = active * given.morning_logins * given.burst / (60 * given.morning_minutes)
    wrong = logins * given.wrong_passwords
    cores = (logins + wrong) * given.check_ms / 1000 / given.utilisation
    replicas = math.ceil(cores / given.replica_cores) or 1
    if accounts >= given.spare_from:
        replicas += 1
    homeservers = _homeservers(accounts, given)
    synapse_cores = (
        homeservers * given.synapse_cores
        + accounts / 1000 * given.synapse_cores_a_1000
        + logins * given.login_ms / 1000 / given.utilisation
    )
    has_workers = accounts >= given.workers_from
    workers = math.ceil(synapse_cores) - homeservers if has_workers else 0
    return Sizing(
        accounts=accounts,
        active=active,
        morning_logins=logins,
        checks=logins + wrong,
        auth_cores=cores,
        replicas=replicas,
        all_again_minutes=_all_again(active, replicas, given),
        reads=logins * (given.reads_right + given.reads_report) + wrong * given.reads_wrong,
        writes=logins * (given.writes_right + given.writes_report) + wrong * given.writes_wrong,
        reads_beside_valkey=logins * (given.valkey_reads_right + given.reads_report)
        + wrong * given.valkey_reads_wrong,
        writes_beside_valkey=logins * (given.valkey_writes_right + given.writes_report)
        + wrong * given.valkey_writes_wrong,
        log_bytes=(logins + wrong) * given.log_right,
        connections=math.ceil(
            replicas * given.connections_a_replica + given.connections_for_commands
        ),
        valkey_commands=logins * given.valkey_commands_right + wrong * given.valkey_commands_wrong,
        valkey_mib=accounts * given.valkey_account_bytes / _MIB,
        lalepass_gib=_lalepass_bytes(accounts, active, given) / _GIB,
        events=_events(accounts, given),
        homeservers=homeservers,
        synapse_cores=synapse_cores,
        workers=workers,
        synapse_gib=(homeservers * given.synapse_mib + accounts / 1000 * given.synapse_mib_a_1000)
        / _KIB,
        database_cores=homeservers * given.database_cores
        + accounts / 1000 * given.database_cores_a_1000,
        synapse_connections=math.ceil((workers + homeservers) * given.process_connections),
        synapse_database_gib=active
        * given.messages_a_day
        * 365
        * given.message_bytes
        * given.other_tables
        / _GIB,
        media_gib=active * given.media_a_day * 365 * given.media_mib * given.thumbnails / _KIB,
    )


def _events(accounts: int, given: Assumptions) -> float:
    return accounts * given.daily_active * given.messages_a_day * given.busy_hour / 3600


def _homeservers(accounts: int, given: Assumptions) -> int:
    """Return how many it takes: for the events that each process hears of, and for a database."""
    by_events = _events(accounts, given) * given.listening_ms / 1000 / given.listening_share
    for_accounts = accounts / 1000 * given.database_cores_a_1000
    by_database = for_accounts / max(given.largest_database - given.database_cores, 1)
    return max(1, math.ceil(by_events), math.ceil(by_database))


def _all_again(active: float, replicas: int, given: Assumptions) -> float:
    checks = active * (1 + given.wrong_passwords)
    return checks * given.check_ms / 1000 / (replicas * given.replica_cores) / 60


def _lalepass_bytes(accounts: int, active: float, given: Assumptions) -> float:
    of_account = (
        given.account_bytes
        + given.sources * given.source_bytes
        + given.sessions * given.session_bytes
    )
    logins = active * given.morning_logins * (1 + given.rest_of_day)
    entries = logins * (1 + given.wrong_passwords) * given.trail_days
    return accounts * of_account + entries * given.trail_bytes


def parts(sizing: Sizing, given: Assumptions) -> tuple[str, ...]:
    """Return which parts there should be, in the order in which they are added."""
    many = sizing.accounts >= given.spare_from
    wanted = {
        "Synapse on PostgreSQL": True,
        "Lalepass on SQLite": sizing.replicas == 1,
        f"{sizing.replicas} Lalepass on PostgreSQL": sizing.replicas > 1,
        "Valkey": sizing.replicas > 1,
        "standby": many,
        f"{sizing.workers} workers, Redis": sizing.workers > 0,
        "S3": sizing.media_gib > given.local_media_gib,
        f"{sizing.homeservers} homeservers": sizing.homeservers > 1,
    }
    return tuple(part for part, needed in wanted.items() if needed)
