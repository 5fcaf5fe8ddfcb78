"""Each fault of the surroundings, and what everybody notices while it lasts and after it.

The table is what docs/faults.md says. An answer that must never be given (a right password that is
refused, a wrong or an old one that is accepted, an acknowledged change that is lost, a change that
nobody made) fails a test whatever is in the table: see `columns.py`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from lalepass_wire import paths
from lalepass_wire.feed import AccountState
from tests.faults.columns import (
    COLUMNS,
    FIRST,
    Column,
    Disable,
    Feed,
    OldCheck,
    PasswordChange,
    Said,
    Wrong,
    WrongCheck,
)
from tests.faults.site import Site, site, until
from tests.servers.asking import NoAnswer
from tests.servers.faults import Link
from tests.servers.fixtures import left_out_if_missing
from tests.servers.pair import Pair, pair
from tests.servers.pgbouncer import PgBouncer
from tests.servers.valkey import Valkey, valkey
from tools import web

pytestmark = pytest.mark.timeout(600)

NAMES: Final = tuple(column.name for column in COLUMNS)
OK, NONE = Said.OK, Said.NONE

FENCE: Final = 30.0
"""Seconds until all is as ever, once a standby is promoted: what is promised after a failover."""

SOON: Final = 10.0
"""Seconds until all is as ever, once whatever else was broken is mended. That is promised within
one, on a machine that has nothing else to do; this is for machines that are ten times as slow. How
long it took is printed."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong, and what is done about it."""

    breaks: Callable[[Site], None]
    mends: Callable[[Site], None] = lambda _: None
    synchronous: bool = True
    """Whether the primary waits for the standby with each commit."""
    pooled: bool = False
    """Whether it is an installation behind PgBouncer."""
    recovery: float = SOON
    """Seconds until all is as ever."""
    unnoticed: bool = False
    """Whether it is answered as ever, not for a moment otherwise. Operators act one after another,
    and may have to try again where that takes as long as a statement may."""
    guesses_wait: bool = False
    """Whether who was wrong has to wait longer than otherwise, also with the same guess."""


def promote(site: Site) -> None:
    """Promote the standby of a primary that is down."""
    site.pair.standby.promote()
    site.pair.primary, site.pair.standby = site.pair.standby, site.pair.primary


def promote_behind(site: Site) -> None:
    """The same, and tell PgBouncer."""
    promote(site)
    _of(site).point_at(site.link_of_primary.port)


def _of(site: Site) -> PgBouncer:
    assert site.bouncer is not None
    return site.bouncer


def promote_beside(site: Site) -> None:
    """Promote the standby, while a primary that waits for it goes on. Clients ask it first."""
    site.have_first_primary()
    site.pair.primary.require_standby(site.pair.standby)
    site.pair.promote_away()


def each_link(does: Callable[[Link], None]) -> Callable[[Site], None]:
    def to_both(site: Site) -> None:
        for link in site.links:
            does(link)

    return to_both


def make_slow(link: Link) -> None:
    link.delay = 0.03


FAULTS: Final = {
    "primary killed, standby promoted": Fault(
        breaks=lambda site: site.pair.primary.kill(),
        mends=promote,
        recovery=FENCE,
    ),
    "primary's machine gone, standby promoted": Fault(
        breaks=lambda site: site.link_of_primary.lose(),
        mends=lambda site: site.pair.promote_away(),
        recovery=FENCE,
    ),
    "primary promoted away": Fault(
        breaks=promote_beside,
        mends=lambda site: site.pair.rejoin(),
        recovery=FENCE,
    ),
    "standby killed": Fault(
        breaks=lambda site: site.pair.standby.kill(),
        mends=lambda site: site.pair.standby.start(),
        synchronous=False,
        unnoticed=True,
    ),
    "synchronous standby killed": Fault(
        breaks=lambda site: site.pair.standby.kill(),
        mends=lambda site: site.pair.standby.start(),
        unnoticed=True,
    ),
    "standby 30 s behind": Fault(
        breaks=lambda site: site.pair.standby.delay_replay(30),
        mends=lambda site: site.pair.standby.delay_replay(0),
        unnoticed=True,
    ),
    "Valkey killed": Fault(
        breaks=lambda site: site.valkey.kill(),
        mends=lambda site: site.valkey.start(),
        unnoticed=True,
        guesses_wait=True,
    ),
    "Valkey stalled": Fault(
        breaks=lambda site: site.valkey.pause(),
        mends=lambda site: site.valkey.resume(),
        unnoticed=True,
        guesses_wait=True,
    ),
    "tables locked by somebody": Fault(
        breaks=Site.lock_tables,
        mends=Site.unlock_tables,
    ),
    "no connection left": Fault(
        breaks=Site.refuse_connections,
        mends=Site.take_connections,
    ),
    "connections reset once": Fault(
        breaks=each_link(Link.reset_once),
        unnoticed=True,
    ),
    "network resets": Fault(
        breaks=each_link(Link.reset),
        mends=each_link(Link.heal),
    ),
    "network half-open": Fault(
        breaks=each_link(Link.half_open),
        mends=each_link(Link.heal),
    ),
    "network slow": Fault(
        breaks=each_link(make_slow),
        mends=each_link(Link.heal),
        unnoticed=True,
    ),
    "PgBouncer in between": Fault(breaks=lambda _: None, pooled=True, unnoticed=True),
    "PgBouncer killed": Fault(
        breaks=lambda site: _of(site).kill(),
        mends=lambda site: _of(site).start(),
        pooled=True,
    ),
    "PgBouncer, primary killed, standby promoted": Fault(
        breaks=lambda site: site.pair.primary.kill(),
        mends=promote_behind,
        pooled=True,
        recovery=FENCE,
    ),
}

# fmt: off
TABLE: Final = {
    #                                              good  wrong old   new   dis-  un-   feed  ready
    #                                              word  word  word  word  able  lock
    "primary killed, standby promoted":            (NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE),
    "primary's machine gone, standby promoted":    (NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE),
    "primary promoted away":                       (OK,   OK,   OK,   OK,   OK,   OK,   OK,   OK),
    "standby killed":                              (OK,   OK,   OK,   OK,   OK,   OK,   OK,   OK),
    "synchronous standby killed":                  (OK,   OK,   OK,   NONE, NONE, NONE, OK,   OK),
    "standby 30 s behind":                         (OK,   OK,   OK,   OK,   OK,   OK,   OK,   OK),
    "Valkey killed":                               (OK,   OK,   OK,   OK,   OK,   OK,   OK,   OK),
    "Valkey stalled":                              (OK,   OK,   OK,   OK,   OK,   OK,   OK,   OK),
    "tables locked by somebody":                   (NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE),
    "no connection left":                          (NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE),
    "connections reset once":                      (OK,   OK,   OK,   OK,   OK,   OK,   OK,   OK),
    "network resets":                              (NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE),
    "network half-open":                           (NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE),
    "network slow":                                (OK,   OK,   OK,   OK,   OK,   OK,   OK,   OK),
    "PgBouncer in between":                        (OK,   OK,   OK,   OK,   OK,   OK,   OK,   OK),
    "PgBouncer killed":                            (NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE),
    "PgBouncer, primary killed, standby promoted": (NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE),
}
# fmt: on


def person(fault: str, column: type[Column], when: str) -> str:
    """Return who does this in the course of that fault."""
    return f"{column.__name__.lower()}-{list(FAULTS).index(fault)}-{when}"


def people(*, pooled: bool) -> dict[str, str]:
    return {
        person(name, column, when): FIRST
        for name, fault in FAULTS.items()
        if fault.pooled == pooled
        for column in COLUMNS
        for when in ("during", "after")
    }


@dataclass
class Shown:
    """What came of one kind of thing, in the course of one fault."""

    during: set[Said] = field(default_factory=set)
    """What was said, each time that it was tried while the fault lasted."""
    during_seconds: float = 0.0
    recovery_seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    """What must never be."""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Pair, Valkey]]:
    with left_out_if_missing(), pair() as both, valkey(keeps=True) as counters:
        yield both, counters


@pytest.fixture(scope="module")
def sites(
    servers: tuple[Pair, Valkey], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[bool, Site]]:
    """The one that is behind PgBouncer (True), and the other one."""
    both, counters = servers
    with (
        site(
            tmp_path_factory.mktemp("direct"),
            pair=both,
            valkey=counters,
            people=people(pooled=False),
        ) as direct,
        left_out_if_missing(),
        site(
            tmp_path_factory.mktemp("pooled"),
            pair=both,
            valkey=counters,
            people=people(pooled=True),
            replicas=1,
            pooled=True,
        ) as pooled,
    ):
        yield {False: direct, True: pooled}


@pytest.fixture(scope="module", params=FAULTS)
def shown(request: pytest.FixtureRequest, sites: dict[bool, Site]) -> tuple[str, dict[str, Shown]]:
    """Break something, mend it, and tell what everybody noticed."""
    name: str = request.param
    came = show(name, sites[FAULTS[name].pooled])
    line = "  ".join(
        f"{each} {one.during_seconds:.1f}/{one.recovery_seconds:.1f}" for each, one in came.items()
    )
    # figures, for who asks for them with -s
    print(f"\n{name}: {line}")  # noqa: T201 - for who ran it
    return name, came


@pytest.mark.parametrize("column", NAMES)
def test_everybody_notices_what_the_table_says(
    shown: tuple[str, dict[str, Shown]], column: str
) -> None:
    fault, came = shown
    one = came[column]
    assert not one.wrong
    expected = TABLE[fault][NAMES.index(column)]
    assert expected in one.during
    is_act = COLUMNS[NAMES.index(column)].changes
    if expected is NONE or (FAULTS[fault].unnoticed and not is_act):
        guesses = column in {WrongCheck.name, OldCheck.name}
        waits = {Said.WAIT} if FAULTS[fault].guesses_wait and guesses else set()
        assert one.during - waits == {expected}
    assert one.recovery_seconds < FAULTS[fault].recovery


def show(name: str, site: Site) -> dict[str, Shown]:
    """Go through one fault."""
    fault = FAULTS[name]
    site.heal(synchronous=fault.synchronous)
    came = {column.name: Shown() for column in COLUMNS}
    during, after = (
        [column(site, person(name, column, when)) for column in COLUMNS]
        for when in ("during", "after")
    )
    with ThreadPoolExecutor(2 * len(COLUMNS)) as threads:
        until(lambda: is_well(during[0]), seconds=FENCE, what=f"all is well before: {name}")
        # The feed last: what comes before the fault is not of it.
        for feeds in (False, True):
            some = [one for one in (*during, *after) if isinstance(one, Feed) is feeds]
            list(threads.map(lambda one: one.prepare(), some))
        fault.breaks(site)
        try:
            expected = dict(zip(NAMES, TABLE[name], strict=True))
            list(threads.map(lambda one: _during(one, came[one.name], expected[one.name]), during))
        finally:
            began = time.monotonic()
            fault.mends(site)
        list(threads.map(lambda one: _recover(one, came[one.name], began), after))
        list(threads.map(lambda one: _verify(one, came[one.name]), (*during, *after)))
    _compare(during, after, came[Feed.name])
    return came


def is_well(column: Column) -> bool:
    try:
        return all(column.check(url, FIRST) for url in column.site.urls)
    except NoAnswer:
        return False


def _during(column: Column, shown: Shown, expected: Said) -> None:
    """Try it everywhere: once if there is to be no answer, and until there is one otherwise.

    What is no act is asked twice: who repeats a question gets the same answer.
    """
    began = time.monotonic()
    for place in column.places:
        try:
            while (said := column.ask(place)) is not expected and expected is OK:
                shown.during.add(said)
                if time.monotonic() > began + FENCE:
                    break
            shown.during.add(said)
            if not column.changes:
                shown.during.add(column.ask(place))
        except Wrong as wrong:
            shown.wrong.append(f"during the fault: {wrong}")
    shown.during_seconds = time.monotonic() - began


def _recover(column: Column, shown: Shown, began: float) -> None:
    try:
        for place in column.places:
            while not _answers(column, place) and time.monotonic() < began + FENCE:
                pass
    except Wrong as wrong:
        shown.wrong.append(f"after the fault: {wrong}")
    shown.recovery_seconds = time.monotonic() - began


def _answers(column: Column, place: str) -> bool:
    """Say whether it is as ever there; what is no act, twice."""
    return all(column.ask(place) is OK for _ in range(1 if column.changes else 2))


def _verify(column: Column, shown: Shown) -> None:
    def is_true() -> bool:
        try:
            for url in column.site.urls:
                column.verify(url)
        except NoAnswer:
            return False
        return True

    try:
        until(is_true, seconds=FENCE, what=f"{column.name} can be looked at")
    except Wrong as wrong:
        shown.wrong.append(str(wrong))


def _compare(during: Sequence[Column], after: Sequence[Column], shown: Shown) -> None:
    """Look whether the feed has what was acknowledged, and nothing that nobody has tried."""
    acts = [one for one in (*during, *after) if isinstance(one, PasswordChange | Disable)]
    must = {one.person for one in acts if one.acknowledged}
    may = {one.person for one in acts}
    disabled = {one.person for one in acts if isinstance(one, Disable)}
    for feed in [one for one in (*during, *after) if isinstance(one, Feed)]:
        for url in feed.places:
            states = feed.states(url)
            out = {name for name, state in states.items() if state is AccountState.DISABLED}
            if not must <= states.keys() <= may:
                shown.wrong.append(
                    f"the feed has {set(states)}: no less than {must}, or than {may}"
                )
            if not must & disabled <= out <= disabled:
                shown.wrong.append(f"{out} are disabled in the feed")


def test_the_table_is_about_every_fault_and_is_that_of_the_document() -> None:
    assert TABLE.keys() == FAULTS.keys()
    lines = Path(__file__).parents[2].joinpath("docs", "faults.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    told = {
        first: tuple(rest) for first, *rest in cells if first in FAULTS and len(rest) == len(NAMES)
    }

    def word(column: type[Column], said: Said) -> str:
        return "yes" if said is OK else "fails" if column.changes else "503"

    assert told == {name: tuple(map(word, COLUMNS, row)) for name, row in TABLE.items()}


def test_checks_were_read_from_the_standby(sites: dict[bool, Site]) -> None:
    """Or nothing above has shown anything about it."""
    site = sites[False]
    site.heal()

    def reads() -> bool:
        column = COLUMNS[0](site, person(next(iter(FAULTS)), COLUMNS[0], "during"))
        return is_well(column) and all(_reads_of_standby(url) > 0 for url in site.urls)

    until(reads, seconds=FENCE, what="the standby is read from")


def _reads_of_standby(url: str) -> float:
    text = web.request("GET", f"{url}{paths.METRICS}").body.decode()
    lines = [line for line in text.splitlines() if line.startswith("lalepass_replica_reads_total")]
    return sum(float(line.split()[-1]) for line in lines)
