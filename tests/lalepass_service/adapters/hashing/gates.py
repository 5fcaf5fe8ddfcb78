"""Slots, and work for them that lasts until it is let go."""

import threading

from lalepass_service.adapters.hashing.slots import Slots


class Gate:
    """Work that lasts until the gate is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._lock = threading.Lock()
        self.inside = 0
        self.most = 0
        self.order: list[str] = []

    def open(self) -> None:
        self._open.set()

    def work(self, name: str = "") -> str:
        with self._lock:
            self.order.append(name)
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self._open.wait(timeout=60)
        with self._lock:
            self.inside -= 1
        return name


def make(
    *,
    count: int = 2,
    max_waiting: int = 3,
    deadline: float = 60,
    expected: float = 0.01,
    extra_kib: int = 100,
) -> Slots:
    return Slots(
        count=count,
        max_waiting=max_waiting,
        deadline=deadline,
        expected_duration=expected,
        extra_kib=extra_kib,
    )
