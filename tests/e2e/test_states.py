"""Everything that can be wrong with a service, on a homeserver that knows two replicas (lesson 8).

Both are reached through TLS, with an authority of ours and a certificate for the homeserver.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.certificates import Authority, gate_tls
from tests.e2e.conftest import synapse_config
from tests.e2e.crowds import (
    LOGINS,
    Crowd,
    assert_in_time,
    assert_unnoticed,
    log_in_at_once,
    timed,
    while_idle,
)
from tests.e2e.parts import Homeserver, statuses
from tests.e2e.scripted import TOKEN, ScriptedService
from tests.e2e.test_outage import assert_honest
from tools.gate import Gate, Mode
from tools.processes import Process
from tools.service import Service

pytestmark = pytest.mark.e2e

TIMEOUT = 4.0
PASSWORD = "states-7"
# What one may grow by that answers 30 logins at once, whatever comes back.
GROWTH_MIB = 96

# Nothing is sent, or no byte comes back: the other replica is asked.
SILENT = [Mode.SHUT, Mode.BLACK_HOLE, Mode.HUNG, Mode.TLS_FAULT, Mode.WRONG_CERTIFICATE]
# Logins wait in these until their time is up.
WAITING = [Mode.BLACK_HOLE, Mode.HUNG, Mode.SLOW_HEADER, Mode.DRIPPING_BODY]
# Something comes back: nothing is asked twice, but the next login goes to the other replica.
ANSWERED = [
    Mode.SLOW_HEADER,
    Mode.DRIPPING_BODY,
    Mode.ENDLESS_BODY,
    Mode.GARBAGE,
    Mode.ERROR_500,
    Mode.HTML,
    Mode.REDIRECT,
    Mode.GARBAGE_JSON,
    Mode.WRONG_SCHEMA,
]


@dataclass
class Site:
    homeserver: Homeserver
    process: Process
    gates: tuple[Gate, Gate]

    def log_in(self) -> httpx.Response:
        return self.homeserver.log_in("states", PASSWORD)

    def log_in_at_once(self, pool: ThreadPoolExecutor) -> Crowd:
        return log_in_at_once(self.homeserver, self.log_in, pool)

    def resident_mib(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("the kernel does not say how much memory is in use")

    def metric(self, name: str) -> dict[str, float]:
        return self.homeserver.metric(name)


@pytest.fixture(scope="module")
def whole_site(
    tmp_path_factory: pytest.TempPathFactory, scripted: ScriptedService
) -> Iterator[Site]:
    scripted.add("states", PASSWORD)
    port = int(scripted.url.rpartition(":")[2])
    directory = tmp_path_factory.mktemp("states")
    services, callers = Authority("services"), Authority("callers")
    tls = gate_tls(services, directory, callers=callers.write(directory, "callers"))
    certificate, key = callers.issue("synapse").write(directory, "client")
    with Gate(port, tls=tls) as first, Gate(port, tls=tls) as second:
        config = synapse_config(
            directory / "synapse",
            Service(directory=directory, port=port),
            "",
            module_options={
                "urls": [first.url, second.url],
                "timeout": TIMEOUT,
                "connect_timeout": 2.0,
                "tls": {
                    "ca_path": str(services.write(directory)),
                    "certificate_path": str(certificate),
                    "key_path": str(key),
                },
            },
        )
        config.token_path.write_text(TOKEN)
        config.write()
        with config.process() as process:
            process.wait_until_healthy(timeout=120)
            yield Site(Homeserver(config), process, (first, second))


@pytest.fixture
def site(whole_site: Site) -> Iterator[Site]:
    """The site, well before and after the test."""
    yield whole_site
    for gate in whole_site.gates:
        gate.mode = Mode.OPEN
    until_well(whole_site)


def until_well(site: Site) -> None:
    """Log in until both replicas are asked again: a probe has to find that out."""
    fence = time.monotonic() + 60
    while set(site.metric("lalepass_provider_endpoint_up").values()) != {1.0}:
        assert time.monotonic() < fence
        assert site.log_in().status_code == 200
        time.sleep(0.1)  # noqa: TID251 - between two questions, with a fence


@pytest.fixture(scope="module")
def people() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(LOGINS) as pool:
        yield pool


@pytest.mark.parametrize("state", [*SILENT, *ANSWERED], ids=lambda mode: mode.name)
def test_nobody_is_refused_and_nobody_else_notices(
    site: Site, people: ThreadPoolExecutor, state: Mode
) -> None:
    assert site.log_in().status_code == 200
    idle = while_idle(site.homeserver)
    well = site.log_in_at_once(people)
    assert statuses(well.answers) == [200] * LOGINS
    before = site.resident_mib()

    site.gates[0].mode = state
    if state in SILENT:
        one_is_dead(site, people, well=well)
    else:
        one_talks_nonsense(site)
    site.gates[1].mode = state
    crowd = none_is_well(site, people, well=well)
    if state in WAITING:
        assert_unnoticed(crowd.others, idle=idle)
    assert site.resident_mib() - before < GROWTH_MIB

    # The service is back, and so are the logins: with the first that tries, within a second.
    for gate in site.gates:
        gate.mode = Mode.OPEN
    answer, took = timed(site.log_in)
    assert answer.status_code == 200
    assert took < 1.0 + max(well.seconds)


def one_is_dead(site: Site, people: ThreadPoolExecutor, *, well: Crowd) -> None:
    """No login fails; and after a few have paid for it, nobody asks it any more."""
    crowd = site.log_in_at_once(people)

    assert statuses(crowd.answers) == [200] * LOGINS
    assert_in_time(crowd, deadline=TIMEOUT, control=well)
    assert site.metric("lalepass_provider_endpoint_up")[f'{{endpoint="{of(site.gates[0])}"}}'] == 0
    failures = sum(site.metric("lalepass_provider_endpoint_failures_total").values())
    assert statuses([site.log_in() for _ in range(6)]) == [200] * 6
    more = sum(site.metric("lalepass_provider_endpoint_failures_total").values()) - failures
    # None of the six; but a long poll that had begun before may end in between.
    assert more <= 1


def one_talks_nonsense(site: Site) -> None:
    """Whoever meets it is told so, and after that nobody meets it, but for a trial."""
    answers = [site.log_in() for _ in range(6)]

    assert set(statuses(answers)) <= {200, 503}
    assert statuses(answers).count(200) >= 3


def none_is_well(site: Site, people: ThreadPoolExecutor, *, well: Crowd) -> Crowd:
    """People are told the truth in time."""
    crowd = site.log_in_at_once(people)

    for answer in crowd.answers:
        assert_honest(answer)
    assert_in_time(crowd, deadline=TIMEOUT, control=well)
    return crowd


def test_the_metrics_tell_it(site: Site, people: ThreadPoolExecutor) -> None:
    before = site.metric("lalepass_provider_checks_total")
    site.log_in()
    site.homeserver.log_in("states", "a wrong password")
    for gate in site.gates:
        gate.mode = Mode.SHUT
    site.log_in_at_once(people)
    after = site.metric("lalepass_provider_checks_total")

    def more(outcome: str, kind: str = "") -> float:
        labels = f'{{kind="{kind}",outcome="{outcome}"}}'
        return after.get(labels, 0) - before.get(labels, 0)

    assert more("accepted") == 1
    assert more("refused") == 1
    assert more("no_answer", "NotConnected") == LOGINS
    assert site.metric("lalepass_provider_checks_in_flight") == {"": 0}
    assert set(site.metric("lalepass_provider_endpoint_up")) == {
        f'{{endpoint="{of(gate)}"}}' for gate in site.gates
    }
    assert site.metric("lalepass_provider_check_seconds_count")[""] == sum(after.values())
    assert TOKEN not in site.homeserver.call("GET", "/_synapse/metrics").text


def of(gate: Gate) -> str:
    return f"localhost:{gate.port}"
