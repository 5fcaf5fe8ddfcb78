"""How often the primary is asked where it is, and what is thought of a standby."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import cast

import pytest

from lalepass_service.adapters.sql import fence as module
from lalepass_service.adapters.sql.connecting import OpenSession
from lalepass_service.adapters.sql.fence import Fence, Fences, Why, begin
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.core.errors import StoreUnavailable

SERVER = PostgresServer(url="postgresql://lalepass@localhost/lalepass")
WANTED = Fence(system=7, database=5, timeline=3, position=0x2_00000010)
_FENCE = 30.0


class Opened:
    """A connection in the place of a real one."""

    closed = 0

    @classmethod
    def to(cls, _: PostgresServer) -> "Opened":
        return cls()

    def close(self) -> None:
        Opened.closed += 1

    def cut(self) -> None:
        """Nothing waits."""


class Primary:
    """Answers when it is told to, with how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.fault: Exception | None = None

    def __call__(self, _: object) -> Fence:
        self.asked += 1
        number = self.asked
        self.entered.release()
        assert self.go.acquire(timeout=_FENCE)
        if self.fault is not None:
            raise self.fault
        return replace(WANTED, position=number)


@pytest.fixture
def primary(monkeypatch: pytest.MonkeyPatch) -> Primary:
    primary = Primary()
    monkeypatch.setattr(module, "fence", primary)
    monkeypatch.setattr(module, "OpenSession", Opened)
    return primary


def waiting(fences: Fences) -> int:
    """Return how many threads wait for an answer to somebody else's question."""
    return len(fences._changed._waiters)  # type: ignore[attr-defined]  # noqa: SLF001 - no other way


def wait(fact: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if fact():
            return
        pause.wait(0.01)
    raise TimeoutError


def test_all_who_come_during_a_question_share_the_next_one(primary: Primary) -> None:
    fences = Fences(SERVER)
    with ThreadPoolExecutor(30) as threads:
        first = threads.submit(fences.now)
        assert primary.entered.acquire(timeout=_FENCE)
        later = [threads.submit(fences.now) for _ in range(29)]
        wait(lambda: waiting(fences) == 29)
        primary.go.release()
        assert first.result(_FENCE).position == 1
        assert primary.entered.acquire(timeout=_FENCE)
        assert not any(each.done() for each in later)
        primary.go.release()
        # None of them got the answer to what was asked before they came.
        assert {each.result(_FENCE).position for each in later} == {2}
    assert (primary.asked, fences.asked) == (2, 2)


def test_who_comes_alone_gets_an_answer_of_its_own(primary: Primary) -> None:
    fences = Fences(SERVER)
    for number in (1, 2, 3):
        primary.go.release()
        assert fences.now().position == number
    fences.close()


def test_a_question_that_failed_fails_those_who_shared_it_and_no_later_one(
    primary: Primary,
) -> None:
    fences = Fences(SERVER)
    closed = Opened.closed
    with ThreadPoolExecutor(4) as threads:
        primary.fault = OSError("gone")
        first = threads.submit(fences.now)
        assert primary.entered.acquire(timeout=_FENCE)
        later = [threads.submit(fences.now) for _ in range(3)]
        wait(lambda: waiting(fences) == 3)
        primary.go.release(2)
        for each in (first, *later):
            with pytest.raises(StoreUnavailable):
                each.result(_FENCE)
    assert Opened.closed == closed + 2
    primary.fault = None
    primary.go.release()
    assert fences.now().position == 3


def test_a_connection_that_was_closed_meanwhile_is_no_reason_to_fail(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    fences = Fences(SERVER)
    primary.go.release()
    fences.now()
    failures = iter([OSError("gone")])

    def once_gone(_: object) -> Fence:
        for error in failures:
            raise error
        return WANTED

    monkeypatch.setattr(module, "fence", once_gone)
    assert fences.now() == WANTED


GOOD = (7, 5, True, True, "streaming", 3, "2/10")


class Standby:
    """A connection to one that says this of itself."""

    def __init__(self, row: tuple[object, ...]) -> None:
        self.connection = self
        self._row = row

    def execute(self, _: str) -> "Standby":
        return self

    def nextset(self) -> bool:
        return True

    def fetchone(self) -> tuple[object, ...]:
        return self._row


def said(**changed: object) -> OpenSession:
    names = ("system", "database", "recovering", "receives", "status", "timeline", "position")
    row = dict(zip(names, GOOD, strict=True)) | changed
    return cast("OpenSession", Standby(tuple(row.values())))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, None),
        ({"position": "2/11"}, None),
        ({"position": "10/0"}, None),
        ({"position": "2/F"}, Why.LAGGING),
        ({"position": "1/FFFFFFFF"}, Why.LAGGING),
        ({"position": "0/10"}, Why.LAGGING),
        # all of its log came from an archive, or it has just started
        ({"position": None}, Why.LAGGING),
        ({"timeline": 2}, Why.OTHER_TIMELINE),
        ({"timeline": 4}, Why.OTHER_TIMELINE),
        ({"timeline": 2, "position": "3/0"}, Why.OTHER_TIMELINE),
        ({"status": "stopping"}, Why.NOT_FOLLOWING),
        ({"status": "waiting"}, Why.NOT_FOLLOWING),
        ({"status": None, "timeline": None}, Why.NOT_PERMITTED),
        ({"receives": False, "status": None, "timeline": None}, Why.NOT_FOLLOWING),
        ({"recovering": False, "receives": False, "status": None}, Why.PROMOTED),
        ({"system": 8}, Why.OTHER_DATABASE),
        ({"database": 6}, Why.OTHER_DATABASE),
    ],
)
def test_what_is_thought_of_a_standby(changed: dict[str, object], why: Why | None) -> None:
    assert begin(said(**changed), WANTED) == why
