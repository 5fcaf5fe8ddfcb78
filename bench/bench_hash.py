"""One hash on one thread: libsodium through PyNaCl against the argon2-cffi wheel.

By processor time, in turns of a few hashes each: two cores that others use, too, drift by a factor.
"""

import statistics
import time
from collections.abc import Callable
from typing import Final

from argon2.low_level import Type, verify_secret
from nacl import bindings

from bench.figures import Figure, asked_to_be_quick, at_least, report
from bench.load import PASSWORD, record

_TURN: Final = 10


def turn(verify: Callable[[], object]) -> float:
    """Return the milliseconds of one hash, of processor time."""
    began = time.thread_time()
    for _ in range(_TURN):
        verify()
    return 1000 * (time.thread_time() - began) / _TURN


def main() -> None:
    """Measure and report."""
    rounds = 5 if asked_to_be_quick(__doc__) else 60
    phc, password = record(), PASSWORD.encode()

    def sodium() -> object:
        return bindings.crypto_pwhash_str_verify(phc, password)

    def cffi() -> object:
        return verify_secret(phc, password, Type.ID)

    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(turn(sodium))
        theirs.append(turn(cffi))
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    report(
        "hash",
        "Argon2id m=19456,t=2,p=1, one thread, by processor time:",
        [
            Figure("PyNaCl", statistics.median(ours), "ms"),
            Figure("argon2-cffi", statistics.median(theirs), "ms"),
            at_least("PyNaCl verifies as many times as many", ratio, 1.9),
        ],
    )


if __name__ == "__main__":
    main()
