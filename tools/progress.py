"""One line for each step: on a terminal with the seconds counting up, elsewhere plain."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Tells a person who waits what is going on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._live = sys.stdout.isatty()
        self._begun = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since this was made."""
        return time.monotonic() - self._begun

    def say(self, text: str) -> None:
        """Print a line."""
        print(f"{self._name}: {text}", flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show what is being done, and on a terminal how long it takes."""
        if not self._live:
            self.say(f"{text} ...")
            yield
            return
        begun = time.monotonic()
        done = threading.Event()
        ticker = threading.Thread(target=self._count, args=(text, begun, done), daemon=True)
        ticker.start()
        outcome = "not done"
        try:
            yield
            outcome = f"{time.monotonic() - begun:.1f} s"
        finally:
            done.set()
            ticker.join()
            # The blanks cover the rest of what was there.
            print(f"\r{self._name}: {text}: {outcome}    ", flush=True)

    def _count(self, text: str, begun: float, done: threading.Event) -> None:
        while True:
            seconds = time.monotonic() - begun
            print(f"\r{self._name}: {text} ... {seconds:.0f} s", end="", flush=True)
            if done.wait(1.0):
                return
