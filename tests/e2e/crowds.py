"""Many who log in at once, how long each of them waits, and what others notice of it.

Seconds are compared with those of a control in the same test, on the same busy machine, and never
with a number alone.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from tests.e2e.parts import Homeserver

LOGINS = 30
_FENCE = 120.0
_IDLE_CALLS = 20


@dataclass(frozen=True)
class Crowd:
    """What came of it."""

    answers: list[httpx.Response]
    seconds: list[float]
    """For each login, from its begin to its answer."""
    others: list[float]
    """For each request that has nothing to do with Lalepass, meanwhile."""


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    begun = time.monotonic()
    answer = call()
    return answer, time.monotonic() - begun


def log_in_at_once(
    homeserver: Homeserver, log_in: Callable[[], httpx.Response], pool: ThreadPoolExecutor
) -> Crowd:
    """Begin 30 logins, and ask for something else again and again until all are answered."""
    logins = [pool.submit(timed, log_in) for _ in range(LOGINS)]
    others: list[float] = []
    fence = time.monotonic() + _FENCE
    while not all(login.done() for login in logins) and time.monotonic() < fence:
        others.append(ask_for_something_else(homeserver))
    results = [login.result(timeout=1) for login in logins]
    return Crowd([answer for answer, _ in results], [took for _, took in results], others)


def ask_for_something_else(homeserver: Homeserver) -> float:
    answer, took = timed(lambda: homeserver.call("GET", "/_matrix/client/versions"))
    assert answer.status_code == 200
    return took


def while_idle(homeserver: Homeserver) -> list[float]:
    """The control for who asks for something else."""
    return [ask_for_something_else(homeserver) for _ in range(_IDLE_CALLS)]


def assert_in_time(crowd: Crowd, *, deadline: float, control: Crowd) -> None:
    """Each login is answered within the deadline, and the time that the machine needs for them.

    `control` are as many logins that nothing is wrong with.
    """
    allowed = deadline + 1.0 + 2 * max(control.seconds)
    assert max(crowd.seconds) < allowed, f"{max(crowd.seconds):.1f} s of {allowed:.1f}"


def assert_unnoticed(others: Sequence[float], *, idle: Sequence[float]) -> None:
    """Who asks for something else waits no longer than on a homeserver where nobody logs in."""
    allowed = 0.1 + 5 * statistics.median(idle)
    found = statistics.median(others)
    assert found < allowed, f"{found:.3f} s of {allowed:.3f}"
    # And nobody waits until the logins are answered. One that stands still serves one, at the end.
    assert len(others) > 3
    assert max(others) < 1.0 + 10 * max(idle)
