"""What is proposed for given measurements, and what holds for all of them."""

import itertools
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_service.adapters.hashing.argon2 import MIN_ITERATIONS, MIN_MEMORY_KIB
from lalepass_service.adapters.hashing.bindings import Sodium
from lalepass_service.adapters.hashing.calibration import (
    LADDER,
    Machine,
    Measured,
    Proposal,
    hashes_of,
    measure,
    propose,
    threads_that_fit,
)
from lalepass_service.cli.calibrate import fragment
from lalepass_service.config import Hashing

MIB = 1024
GIB = 1024 * MIB


def measurements(machine: Machine, *, milliseconds: float) -> list[Measured]:
    """A machine on which the floor takes so long, and all else in proportion to its cost."""
    floor = MIN_MEMORY_KIB * MIN_ITERATIONS
    found = []
    for parameters in LADDER:
        cost = parameters.memory_kib * parameters.iterations / floor
        threads = max(1, threads_that_fit(parameters, machine))
        seconds = milliseconds / 1000 * cost
        found.append(
            Measured(
                parameters=parameters, threads=threads, seconds=seconds, rate=threads / seconds
            )
        )
    return found


def proposed(
    cores: int, memory_kib: int | None, logins: float, *, milliseconds: float = 25
) -> Proposal:
    machine = Machine(cores=cores, memory_kib=memory_kib)
    return propose(
        machine, measurements(machine, milliseconds=milliseconds), logins_per_second=logins
    )


@pytest.mark.parametrize(
    ("cores", "memory_kib", "logins", "expected", "threads", "machines"),
    [
        # 40 hashes a second and core at the floor, of which a peak may take 70 %
        (4, 8 * GIB, 112, (19456, 2), 4, 1),
        (4, 8 * GIB, 113, (19456, 2), 4, 2),
        (4, 8 * GIB, 1000, (19456, 2), 4, 9),
        (4, 8 * GIB, 74, (19456, 3), 4, 1),
        (4, 8 * GIB, 20, (65536, 3), 4, 1),
        (4, 8 * GIB, 1, (262144, 2), 4, 1),
        (1, 8 * GIB, 1, (262144, 2), 1, 1),
        # half of the memory is for hashes, one for each thread
        (4, 600 * MIB, 1, (65536, 3), 4, 1),
        (4, 160 * MIB, 1, (19456, 3), 4, 1),
        (4, 100 * MIB, 1, (19456, 3), 2, 1),
        (4, 100 * MIB, 57, (19456, 2), 2, 2),
        (4, 38 * MIB, 1, (19456, 3), 1, 1),
        (4, 37 * MIB, 1, (19456, 2), 1, 0),
        (4, 0, 1, (19456, 2), 1, 0),
        (4, None, 1, (262144, 2), 4, 1),
    ],
)
def test_the_most_expensive_parameters_with_room_for_the_peak_are_proposed(
    *,
    cores: int,
    memory_kib: int | None,
    logins: float,
    expected: tuple[int, int],
    threads: int,
    machines: int,
) -> None:
    proposal = proposed(cores, memory_kib, logins)

    assert (proposal.parameters.memory_kib, proposal.parameters.iterations) == expected
    assert (proposal.threads, proposal.machines) == (threads, machines)
    assert proposal.enough is (machines == 1)


def test_a_slow_machine_is_not_made_slower() -> None:
    assert proposed(64, 64 * GIB, 1, milliseconds=400).parameters == LADDER[0]


@given(
    st.integers(1, 256),
    st.none() | st.integers(0, 512 * GIB),
    st.floats(0.01, 1_000_000),
    st.floats(1, 2000),
)
def test_whatever_was_measured_the_proposal_can_be_used(
    cores: int, memory_kib: int | None, logins: float, milliseconds: float
) -> None:
    proposal = proposed(cores, memory_kib, logins, milliseconds=milliseconds)
    options = tomllib.loads(fragment(proposal, logins))["hashing"]

    assert Hashing(**options).model_dump(include=set(options)) == options
    assert proposal.parameters.memory_kib >= MIN_MEMORY_KIB
    assert proposal.parameters.iterations >= MIN_ITERATIONS
    assert 1 <= proposal.threads <= cores
    assert proposal.wait_seconds >= 0
    if proposal.machines and memory_kib is not None:
        assert proposal.memory_kib <= memory_kib / 2
    if proposal.enough:
        assert proposal.rate >= logins
    else:
        assert proposal.parameters == LADDER[0]
        assert "NOT POSSIBLE" in fragment(proposal, logins)


def test_each_step_of_the_ladder_costs_more_than_the_one_before() -> None:
    costs = [each.memory_kib * each.iterations for each in LADDER]

    assert all(less < more for less, more in itertools.pairwise(costs))
    assert (LADDER[0].memory_kib, LADDER[0].iterations) == (MIN_MEMORY_KIB, MIN_ITERATIONS)


def test_a_measurement_hashes_on_every_thread() -> None:
    seen: list[object] = []
    found = measure(LADDER[0], threads=3, seconds=0, work=seen.append)

    assert seen == [LADDER[0]] * 9
    assert found.threads == 3
    assert found.rate == pytest.approx(3 / found.seconds)


def test_a_measurement_is_of_the_real_hash() -> None:
    found = measure(LADDER[0], threads=1, seconds=0, work=hashes_of(Sodium()))

    assert found.seconds > 0
