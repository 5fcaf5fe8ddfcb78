"""Who is told of SIGTERM and Ctrl-C, from the start of a process to its end.

Somebody always is. Where nobody listens the system ends a process in the middle of what it does,
such as writing the last of the trail; and it drops the signal if the process is the first of a
container, which would then begin to answer, and be killed while it does.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Self

_NUMBERS: Final = (signal.SIGTERM, signal.SIGINT)

Obey = Callable[[int], object]


class Signals:
    """Hands both to whoever is in charge. To be used on the main thread."""

    def __init__(self) -> None:
        self._obey: Obey = _leave

    def __enter__(self) -> Self:
        """Begin to listen: who is told while nobody is in charge ends the process, with 0."""
        for number in _NUMBERS:
            signal.signal(number, self._heed)
        return self

    def __exit__(self, *_: object) -> None:
        """Listen to nobody any more: the process is about to end by itself."""
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def told_to(self, obey: Obey) -> Iterator[None]:
        """Have a function called on the loop that runs now.

        Behind this a signal changes nothing: all is ending already, and each wait has a bound.
        """
        loop = asyncio.get_running_loop()

        def later(number: int) -> None:
            loop.call_soon_threadsafe(obey, number)

        self._obey = later
        try:
            yield
        finally:
            self._obey = _carry_on

    def _heed(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._obey(number)


def _leave(_number: int) -> None:
    raise SystemExit(0)


def _carry_on(_number: int) -> None:
    pass
