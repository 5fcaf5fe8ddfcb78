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


@pytest.mark.timeout(300 + ROUNDS * _SECONDS)
def test_a_password_that_was_acknowledged_is_the_only_one(
    postgres_pair: Pair, keeping_valkey: Valkey, tmp_path: Path
) -> None:
    people = {f"person-{number}": f"first of {number}" for number in range(5)}
    with site(
        tmp_path, pair=postgres_pair, valkey=keeping_valkey, people=people, replicas=3
    ) as made:
        made.heal()
        rounds = Rounds(made, seed=SEED)
        try:
            with Operator(made) as operator:
                rounds.run(operator, people=people, rounds=ROUNDS)
        finally:
            # With them a failure can be looked for again, and the figures are what was asked for.
            print(f"\nseed {SEED}, {rounds.done.total()} rounds:")  # noqa: T201
            for kind, count in rounds.done.most_common():
                print(f"{count:5d} {kind}, slowest {rounds.slowest[kind]:.1f} s")  # noqa: T201
    assert rounds.done.total() == ROUNDS
