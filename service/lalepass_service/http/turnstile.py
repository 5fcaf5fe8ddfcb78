"""What strangers ask is begun a few at a time, so that nobody who is known waits for all of it."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

A_TURN: Final = 4
"""Requests that are begun in one turn of the loop. Each takes up to a millisecond of it, and
whoever is known has to wait for a dozen turns until a check is answered."""


class Turnstile:
    """Begins things in the order in which they came, and lets the loop turn in between.

    A connection has one request in it at most, so there are as many as there are connections.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._turns = False

    def add(self, begin: Callable[[], None]) -> None:
        """Have something begun when it is its turn."""
        self._waiting.append(begin)
        self._go_on()

    def _go_on(self) -> None:
        if self._waiting and not self._turns:
            self._turns = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turns = False
        try:
            for _ in range(min(A_TURN, len(self._waiting))):
                self._waiting.popleft()()
        finally:
            self._go_on()
