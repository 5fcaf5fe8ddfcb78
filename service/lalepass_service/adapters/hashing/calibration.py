"""Which hash parameters a machine can afford at a wanted peak. `propose` is pure arithmetic.

What is measured is the rate of the whole machine with every core busy, since cores share their way
to the memory: one hash alone is faster than one of many.
"""

import math
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final

from lalepass_service.adapters.hashing.argon2 import (
    MIN_ITERATIONS,
    MIN_MEMORY_KIB,
    Argon2Parameters,
)
from lalepass_service.adapters.hashing.available import foreign_memory_kib
from lalepass_service.adapters.hashing.bindings import Binding

LADDER: Final = tuple(
    Argon2Parameters(memory_kib=memory_kib, iterations=iterations)
    for memory_kib, iterations in (
        (MIN_MEMORY_KIB, MIN_ITERATIONS),
        (MIN_MEMORY_KIB, 3),
        (32 * 1024, 3),
        (64 * 1024, 2),
        # the second recommendation of RFC 9106, with one lane in place of four
        (64 * 1024, 3),
        (128 * 1024, 2),
        (128 * 1024, 3),
        (256 * 1024, 2),
        (256 * 1024, 3),
    )
)
"""What is tried, each step more expensive than the one before."""

_USE: Final = 0.7
"""Of the measured rate that a peak may take. Queues grow without bound towards 1, and the rest of a
check, other work on the machine and a peak within the peak need something, too."""

_MEMORY_USE: Final = 0.5
"""Of the memory that is left that hashes may take: the rest is for records of others that take more
than ours (`available.foreign_memory_kib`), for the database's pages and for what else grows."""

_LONGEST_HASH: Final = 0.5
"""Seconds. Above that people feel the login itself, and one guess more costs an attacker little."""

_DEADLINE: Final = 3.0
"""Seconds. With the hash behind it, this ends before the homeserver's module gives up after 5."""

_SECONDS: Final = 0.5
_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is."""

    cores: int
    memory_kib: int | None
    """None: nobody knows, and no bound is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one step of the ladder came to, with `threads` hashes at a time."""

    parameters: Argon2Parameters
    threads: int
    seconds: float
    """One hash among the others."""
    rate: float
    """Hashes a second, of the whole machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What to write into the settings, and what to expect of it."""

    parameters: Argon2Parameters
    threads: int
    max_waiting: int
    deadline_seconds: float
    rate: float
    hash_seconds: float
    wait_seconds: float
    """On the average at the wanted peak, or the deadline if the peak is too high."""
    memory_kib: int
    """What hashes of ours take at most."""
    foreign_memory_kib: int
    """What records of others may take on top of that, as long as there are any."""
    machines: int
    """Of this kind that the peak takes; 1 if this one is enough. 0: no number of them, since not
    even one hash fits into the memory."""

    @property
    def enough(self) -> bool:
        """Whether this machine alone can do it."""
        return self.machines == 1


def propose(
    machine: Machine, measured: Sequence[Measured], *, logins_per_second: float
) -> Proposal:
    """Choose the most expensive parameters that the peak leaves room for, never below the floor.

    Args:
        machine: what there is.
        measured: steps of the ladder, the floor first.
        logins_per_second: the wanted peak.
    """
    floor, *others = (_fitted(each, machine) for each in measured)
    good = [
        each
        for each in others
        if each.threads == floor.threads
        and each.rate * _USE >= logins_per_second
        and each.seconds <= _LONGEST_HASH
    ]
    return _proposal(
        good[-1] if good else floor,
        logins_per_second,
        foreign_memory_kib=foreign_memory_kib(machine.memory_kib),
    )


def threads_that_fit(parameters: Argon2Parameters, machine: Machine) -> int:
    """Return how many hashes may run at a time: one a core, as far as the memory goes."""
    if machine.memory_kib is None:
        return machine.cores
    return min(machine.cores, int(machine.memory_kib * _MEMORY_USE) // parameters.memory_kib)


def hashes_of(binding: Binding) -> Callable[[Argon2Parameters], object]:
    """Return what makes one hash."""
    octets = secrets.token_bytes(16)

    def make(costs: Argon2Parameters) -> object:
        return binding.make(octets, memory_kib=costs.memory_kib, iterations=costs.iterations)

    return make


def measure(
    parameters: Argon2Parameters,
    *,
    threads: int,
    work: Callable[[Argon2Parameters], object],
    seconds: float = _SECONDS,
) -> Measured:
    """Hash on all threads for a while and at least thrice each, and say how long it took."""
    began = perf_counter()

    def one_thread(_: int) -> list[float]:
        durations: list[float] = []
        while len(durations) < _ROUNDS or perf_counter() - began < seconds:
            before = perf_counter()
            work(parameters)
            durations.append(perf_counter() - before)
        return durations

    with ThreadPoolExecutor(max_workers=threads) as pool:
        durations = [each for thread in pool.map(one_thread, range(threads)) for each in thread]
    usual = median(durations)
    # From the usual duration and not from the whole time: the threads do not end together.
    return Measured(parameters=parameters, threads=threads, seconds=usual, rate=threads / usual)


def _fitted(measured: Measured, machine: Machine) -> Measured:
    """Return what is left of a rate if the memory does not allow a hash for each core."""
    threads = min(measured.threads, threads_that_fit(measured.parameters, machine))
    return Measured(
        parameters=measured.parameters,
        threads=threads,
        seconds=measured.seconds,
        rate=measured.rate * threads / measured.threads,
    )


def _proposal(chosen: Measured, wanted: float, *, foreign_memory_kib: int) -> Proposal:
    capacity = chosen.rate * _USE
    machines = math.ceil(wanted / capacity) if capacity else 0
    threads = max(1, chosen.threads)
    return Proposal(
        parameters=chosen.parameters,
        threads=threads,
        # What can be worked off before its deadline: more would wait for nothing.
        max_waiting=min(65535, max(threads, int(chosen.rate * _DEADLINE))),
        deadline_seconds=_DEADLINE,
        rate=chosen.rate,
        hash_seconds=chosen.seconds,
        wait_seconds=_mean_wait(chosen, wanted) if machines == 1 else _DEADLINE,
        memory_kib=threads * chosen.parameters.memory_kib,
        foreign_memory_kib=foreign_memory_kib,
        machines=machines,
    )


def _mean_wait(chosen: Measured, wanted: float) -> float:
    """Return the mean time in the queue for logins that come at random, Sakasegawa's formula.

    Halved, since hashes are all equally long (M/D/c).
    """
    use = wanted / chosen.rate
    exponent = math.sqrt(2 * (chosen.threads + 1)) - 1
    wait: float = chosen.seconds * use**exponent / (chosen.threads * (1 - use)) / 2
    return wait
