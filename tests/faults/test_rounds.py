"""What was acknowledged is so, whatever dies in the next moment: many rounds of it.

ROUNDS of them in every run. `make rounds` does 1000: LALEPASS_ROUNDS says how many, and
LALEPASS_ROUNDS_SEED which ones.
"""

import os
import time
from pathlib import Path
from typing import Final

import pytest

from tests.faults.rounds import Operator, Rounds
from tests.faults.site import site
from tests.servers.pair import Pair
from tests.servers.valkey import Valkey

ROUNDS: Final = int(os.environ.get("LALEPASS_ROUNDS", "30"))
SEED: Final = int(os.environ.get("LALEPASS_ROUNDS_SEED", "0")) or time.time_ns() % 1_000_000
_SECONDS: Final = 30
"""Of fence for each round; it takes half of one."""


_AT_ONCE: Final = 100
"""Rounds after which it is said how far it has got."""


def tell(rounds: Rounds) -> None:
    """Say what was done, and with which seed: a failure can be looked for again with it."""
    print(f"\nseed {SEED}, {rounds.done.total()} rounds:", flush=True)  # noqa: T201 - for who ran it
    for kind, count in rounds.done.most_common():
        line = f"{count:5d} {kind}, slowest {rounds.slowest[kind]:.1f} s"
        print(line, flush=True)  # noqa: T201 - for who ran it


@pytest.mark.timeout(300 + ROUNDS * _SECONDS)
def test_a_password_that_was_acknowledged_is_the_only_one(
    postgres_pair: Pair, keeping_valkey: Valkey, tmp_path: Path
) -> None:
    people = {f"person-{number}": f"first of {number}" for number in range(5)}
    with site(
        tmp_path, pair=postgres_pair, valkey=keeping_valkey, people=people, replicas=3
    ) as made:
        made.heal()
        rounds = Rounds(made, people=people, seed=SEED)
        with Operator(made) as operator:
            while (left := ROUNDS - rounds.done.total()) > 0:
                try:
                    rounds.run(operator, rounds=min(left, _AT_ONCE))
                finally:
                    tell(rounds)
    assert rounds.done.total() == ROUNDS
