"""The service with a sleep in the place of its hash: all else that it does, on few cores.

    python -m bench.sleeping SECONDS --config PATH serve

For measurements only. It accepts one password, that of `load`, for every account. Nothing that can
be configured leads here: the hash is handed to the service by this program.
"""

import argparse
import time
from pathlib import Path

from bench.load import PASSWORD
from lalepass_service import app, logs
from lalepass_service.adapters.hashing.bindings import Sodium
from lalepass_service.config import load


class Sleeping:
    """Makes records, and takes its time to say yes. Implements `hashing.bindings.Binding`."""

    name = "sleep"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._real = Sodium()

    def make(self, octets: bytes, *, memory_kib: int, iterations: int) -> bytes:
        """Make a record."""
        return self._real.make(octets, memory_kib=memory_kib, iterations=iterations)

    def verify(self, octets: bytes, *, phc: bytes) -> bool:
        """Wait as long as a hash takes, and use no core meanwhile."""
        del phc
        time.sleep(self._seconds)  # noqa: TID251 - what it is for
        return octets == PASSWORD.encode()


def main() -> None:
    """Answer requests until SIGTERM."""
    parser = argparse.ArgumentParser(prog="bench.sleeping")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("verb", choices=["serve"])
    options = parser.parse_args()
    config = load(options.config)
    logs.configure(level=config.log.level, style=config.log.format)
    app.serve(config, binding=Sleeping(options.seconds))


if __name__ == "__main__":
    main()
