"""Lanes in Valkey: exact over processes, void with an older password, and readable to nobody."""

import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from lalepass_service.adapters.valkey import names
from lalepass_service.adapters.valkey.client import Lost
from lalepass_service.adapters.valkey.softlocks import ValkeySoftLocks
from lalepass_service.core.errors import StoreUnavailable, Throttled
from lalepass_service.core.softlock import FRESH, KNOWN_FOR, STOP_AT, Bid, Lane, Ticket, Wait
from tests.lalepass_service.accounts import ACT, NOW
from tests.lalepass_service.adapters.valkey.house import (
    DIGESTS,
    PATIENT,
    PREFIX,
    Raced,
    Replica,
    a_replica,
    in_valkey,
    target,
)
from tests.lalepass_service.paying import debit
from tests.servers.valkey import Valkey

pytestmark = pytest.mark.anyio

ALICE = "00000000-0000-4000-8000-000000000001"
HOME, ELSEWHERE, NOWHERE = b"h" * 16, b"e" * 16, b""
MONTH_MILLIS = 31 * 86_400_000

# Guesses in parallel, prints a line for each guess that it may make: which, and whether it is paid.
GUESS = """
import asyncio, sys
from lalepass_service.core.errors import Throttled
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.adapters.valkey.house import in_valkey
from tests.lalepass_service.paying import debit

async def main(url, account, who, count, together):
    async with in_valkey(url) as locks:
        await locks.lanes("warm:nobody")
        sys.stdin.readline()

        async def one(number):
            guess = f"{who}-{number}".encode().rjust(16)
            try:
                ticket = await debit(locks, account, source=b"", guess=guess, now=NOW)
            except Throttled:
                return
            print(number, ticket.paid, flush=True)

        numbers = range(int(count))
        for begin in range(0, len(numbers), int(together)):
            await asyncio.gather(*map(one, numbers[begin : begin + int(together)]))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def replica(valkey_url: str) -> AsyncIterator[Replica]:
    async with a_replica(valkey_url) as replica:
        yield replica


@pytest.fixture
def locks(replica: Replica) -> ValkeySoftLocks:
    return replica.valkey


def guess(number: int) -> bytes:
    return number.to_bytes(16)


def a_bid(number: int = 1, *, days: int | None = None, source: bytes = NOWHERE) -> Bid:
    """A guess at a password that was set so many days after NOW."""
    since = None if days is None else NOW + timedelta(days=days)
    return Bid(account=ALICE, guess=guess(number), source=source, since=since)


async def paid(locks: ValkeySoftLocks, bid: Bid, *, hours: float = 0) -> Ticket:
    ticket = await locks.pay(bid, now=NOW + timedelta(hours=hours))
    assert isinstance(ticket, Ticket), ticket
    return ticket


async def guess_wrong(locks: ValkeySoftLocks, times: int, *, days: int | None = None) -> None:
    """Guess as often as said, each time as late as it takes."""
    for number in range(times):
        await paid(locks, a_bid(number, days=days), hours=2 * number)


def start(url: str, account: str, who: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", GUESS, url, account, who, str(count), "200"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes: list[subprocess.Popen[str]]) -> list[list[str]]:
    """Let all go at once, and return what each of them was let do."""
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    lines = []
    for process in processes:
        out, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
        lines.append(out.splitlines())
    return lines


@pytest.mark.parametrize("processes", [1, 4])
async def test_two_thousand_parallel_guesses_get_three(
    valkey_url: str, locks: ValkeySoftLocks, processes: int
) -> None:
    guessing = [start(valkey_url, ALICE, who, 2_000 // processes) for who in "abcd"[:processes]]

    admitted = [line for lines in finish(guessing) for line in lines]

    assert len(admitted) == 3
    (lane,) = await locks.lanes(ALICE)
    assert lane.failures == 3


async def test_the_same_guess_in_two_processes_is_paid_for_once(
    valkey_url: str, locks: ValkeySoftLocks
) -> None:
    """People whose telephone and computer try the same password through two replicas."""
    first, second = finish([start(valkey_url, ALICE, "same", 1) for _ in range(2)])

    assert sorted(first + second) == ["0 False", "0 True"]
    (lane,) = await locks.lanes(ALICE)
    assert lane.failures == 1


async def test_who_loses_a_race_reads_again(valkey_url: str) -> None:
    client = Raced(target(valkey_url), prefix=PREFIX, timeout=PATIENT)
    async with in_valkey(valkey_url, client) as one, in_valkey(valkey_url) as other:

        async def race(_: str) -> None:
            client.between = None
            await paid(other, a_bid(2))

        client.between = race
        await paid(one, a_bid(1))

        assert one.conflicts == 1
        assert await one.lanes(ALICE) == (Lane(failures=2, ring=(guess(2), guess(1))),)


async def test_who_loses_every_race_gives_up(valkey_url: str) -> None:
    client = Raced(target(valkey_url), prefix=PREFIX, timeout=PATIENT)
    async with in_valkey(valkey_url, client) as locks:

        async def race(key: str) -> None:
            await client.ask(("HINCRBY", key, "p", 1))

        client.between = race
        with pytest.raises(StoreUnavailable):
            await locks.pay(a_bid(), now=NOW)
        assert client.up


async def test_what_is_remembered_of_an_older_password_is_void(locks: ValkeySoftLocks) -> None:
    """Also if nobody told Valkey that there is a new one."""
    ticket = await paid(locks, a_bid(0, days=0, source=HOME))
    locks.settle(ticket, user_id=ticket.account, now=NOW)  # type: ignore[arg-type]
    await guess_wrong(locks, STOP_AT, days=0)
    assert isinstance(await locks.pay(a_bid(1000, days=0), now=NOW + timedelta(days=90)), Wait)

    ticket = await paid(locks, a_bid(1000, days=1, source=HOME), hours=24)

    assert ticket.lane == NOWHERE
    assert await locks.lanes(ALICE) == (Lane(failures=1, ring=(guess(1000),)),)


async def test_the_first_password_voids_what_there_was_without_one(locks: ValkeySoftLocks) -> None:
    await guess_wrong(locks, STOP_AT)

    await paid(locks, a_bid(1000, days=400))


async def test_who_reads_an_older_account_opens_nothing(locks: ValkeySoftLocks) -> None:
    """Such as from an old primary: with the password of then, which is to open nothing, either."""
    await guess_wrong(locks, 10, days=1)

    with pytest.raises(StoreUnavailable) as raised:
        await locks.pay(a_bid(50, days=0), now=NOW + timedelta(hours=30))
    # Or the local lanes would decide.
    assert not isinstance(raised.value, Lost)
    await paid(locks, a_bid(51, days=1), hours=40)

    (lane,) = await locks.lanes(ALICE)
    assert lane.failures == 11


async def test_a_right_old_password_settles_nothing_of_a_new_one(locks: ValkeySoftLocks) -> None:
    late = await paid(locks, a_bid(1, days=0, source=HOME))
    await paid(locks, a_bid(2, days=1), hours=24)

    locks.settle(late, user_id=late.account, now=NOW + timedelta(days=1))  # type: ignore[arg-type]

    assert await locks.lanes(ALICE) == (Lane(failures=1, ring=(guess(2),)),)
    assert (await paid(locks, a_bid(3, days=1, source=HOME), hours=25)).lane == NOWHERE


async def test_an_old_guess_is_neither_given_back_nor_charged_with_a_new_password(
    locks: ValkeySoftLocks,
) -> None:
    late = await paid(locks, a_bid(1, days=0))
    await paid(locks, a_bid(2, days=1), hours=24)
    before = await locks.lanes(ALICE)

    await locks.give_back(late, now=NOW)
    await locks.charge(late, now=NOW)

    assert await locks.lanes(ALICE) == before


async def test_an_account_that_is_forgotten_has_neither_lanes_nor_sources(
    locks: ValkeySoftLocks,
) -> None:
    ticket = await paid(locks, a_bid(1, source=HOME))
    locks.settle(ticket, user_id=ticket.account, now=NOW)  # type: ignore[arg-type]
    await paid(locks, a_bid(2, source=ELSEWHERE))

    await locks.forget(ALICE)

    assert await locks.lanes(ALICE) == ()
    assert (await paid(locks, a_bid(3, source=HOME))).lane == NOWHERE


async def test_an_unlock_leaves_the_known_known_and_a_line_in_the_trail(replica: Replica) -> None:
    ticket = await paid(replica.valkey, a_bid(1, source=HOME))
    replica.valkey.settle(ticket, user_id=ticket.account, now=NOW)  # type: ignore[arg-type]
    await guess_wrong(replica.valkey, 5)

    assert await replica.valkey.unlock(ALICE, act=ACT, now=NOW)
    assert not await replica.valkey.unlock(ALICE, act=ACT, now=NOW)

    assert replica.unlocks.entries == [ACT]
    assert (await paid(replica.valkey, a_bid(3, source=HOME))).lane == HOME


async def test_an_unlock_that_can_not_be_written_down_does_not_happen(replica: Replica) -> None:
    await guess_wrong(replica.valkey, 5)

    async def fails(*_: object, **__: object) -> None:
        raise StoreUnavailable

    replica.unlocks.note_unlock = fails  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await replica.valkey.unlock(ALICE, act=ACT, now=NOW)

    assert len(await replica.valkey.lanes(ALICE)) == 1


async def test_guesses_at_an_account_stay_for_ever_and_all_else_has_an_end(
    replica: Replica,
) -> None:
    """Who could empty the lane of everybody by waiting would have its guesses again and again."""
    locks = replica.valkey

    async def ttl(account: str) -> int:
        key = names.key_of(account, prefix=PREFIX, digests=DIGESTS)
        (millis,) = await replica.client.ask(("PTTL", key))
        return int(millis)

    def has_an_end(millis: int) -> bool:
        return 0.9 * MONTH_MILLIS < millis <= MONTH_MILLIS

    nobody = await debit(locks, "0:nobody", source=NOWHERE, guess=guess(1), now=NOW)
    assert await ttl(nobody.account) == -1
    await locks.give_back(nobody, now=NOW)
    assert has_an_end(await ttl(nobody.account))

    wrong = await paid(locks, a_bid(1))
    assert await ttl(ALICE) == -1
    await locks.give_back(wrong, now=NOW)
    assert has_an_end(await ttl(ALICE))

    right = await paid(locks, a_bid(2, source=HOME))
    locks.settle(right, user_id=right.account, now=NOW)  # type: ignore[arg-type]
    await locks.lanes(ALICE)
    assert has_an_end(await ttl(ALICE))

    await paid(locks, a_bid(3, source=HOME))
    assert has_an_end(await ttl(ALICE))
    await paid(locks, a_bid(4, source=ELSEWHERE))
    assert await ttl(ALICE) == -1
    known = await paid(locks, a_bid(5, source=HOME))
    locks.settle(known, user_id=known.account, now=NOW)  # type: ignore[arg-type]
    await locks.lanes(ALICE)
    assert await ttl(ALICE) == -1

    assert await locks.unlock(ALICE, act=None, now=NOW)
    assert has_an_end(await ttl(ALICE))


async def test_sources_that_are_no_longer_known_are_swept_beside_guesses_that_stay(
    valkey_url: str,
) -> None:
    async with in_valkey(valkey_url, names_kept=301) as locks:
        await sweep_beside_guesses_that_stay(locks)


async def sweep_beside_guesses_that_stay(locks: ValkeySoftLocks) -> None:
    ticket = await paid(locks, a_bid(1, source=HOME))
    locks.settle(ticket, user_id=ticket.account, now=NOW)  # type: ignore[arg-type]
    await paid(locks, a_bid(2, source=HOME))
    await guess_wrong(locks, 3)
    for number in range(1200):
        # Over three hours, the last of which has 300.
        at = NOW + timedelta(hours=number // 450)
        await debit(locks, f"{number}:nobody", source=NOWHERE, guess=guess(number), now=at)

    assert await locks.sweep(before=NOW) == 0
    assert await locks.sweep(before=NOW + KNOWN_FOR) == 2 + 450
    assert await locks.sweep(before=NOW + KNOWN_FOR) == 0
    assert not await locks.lanes("0:nobody")
    assert await locks.lanes("450:nobody")

    (lane,) = await locks.lanes(ALICE)
    assert lane.failures == 3


async def test_what_is_settled_in_between_comes_before_what_is_asked_later(
    locks: ValkeySoftLocks,
) -> None:
    for number in range(20):
        ticket = await paid(locks, a_bid(number))
        locks.settle(ticket, user_id=ticket.account, now=NOW)  # type: ignore[arg-type]

    assert await locks.lanes(ALICE) == ()


async def test_nothing_that_somebody_typed_is_readable(
    valkey_server: Valkey, valkey_url: str, locks: ValkeySoftLocks
) -> None:
    await debit(locks, "hunter2:nobody", source=HOME, guess=guess(1), now=NOW)
    await paid(locks, a_bid(1))

    keys = valkey_server.ask("KEYS", "*", database=int(valkey_url.rpartition("/")[2]))

    assert isinstance(keys, list)
    assert len(keys) == 3
    assert not any("hunter2" in str(key) or ALICE in str(key) for key in keys)


@pytest.mark.parametrize(
    "value", [b"", b"\x01", b"\x02" + bytes(18), b"\x01" + bytes(18) + b"x", b"\x01" + b"\xff" * 18]
)
async def test_a_lane_that_can_not_be_read_is_no_answer(replica: Replica, value: bytes) -> None:
    key = names.key_of(ALICE, prefix=PREFIX, digests=DIGESTS)
    await replica.client.ask(("HSET", key, "e", value))

    with pytest.raises(StoreUnavailable):
        await replica.valkey.pay(a_bid(), now=NOW)
    assert replica.client.up
    # What the operator can do about it.
    assert await replica.valkey.unlock(ALICE, act=ACT, now=NOW)
    await paid(replica.valkey, a_bid())


@pytest.mark.parametrize("value", [b"-1", b"1.5", b"9" * 18, b"9" * 400, b"x", b"\xff"])
async def test_a_time_that_can_not_be_read_is_no_answer(replica: Replica, value: bytes) -> None:
    key = names.key_of(ALICE, prefix=PREFIX, digests=DIGESTS)
    await replica.client.ask(("HSET", key, "p", value))

    with pytest.raises(StoreUnavailable):
        await replica.valkey.pay(a_bid(days=0), now=NOW)
    await replica.valkey.forget(ALICE)
    await paid(replica.valkey, a_bid(days=0))


@pytest.mark.parametrize(
    "lane",
    [
        FRESH,
        Lane(failures=3, not_before=NOW, ring=(guess(1), guess(2))),
        Lane(
            failures=STOP_AT,
            not_before=NOW + timedelta(days=3650),
            ring=tuple(map(guess, range(8))),
        ),
    ],
)
def test_a_lane_is_read_as_it_was_written(lane: Lane) -> None:
    assert names.unpack(names.pack(lane, changed_at=NOW)) == (lane, NOW)


async def test_a_known_source_does_not_wait_for_strangers(locks: ValkeySoftLocks) -> None:
    ticket = await paid(locks, a_bid(1, days=0, source=HOME))
    locks.settle(ticket, user_id=ticket.account, now=NOW)  # type: ignore[arg-type]
    for number in range(2, 5):
        await paid(locks, a_bid(number, days=0, source=ELSEWHERE))
    with pytest.raises(Throttled):
        await debit(locks, ALICE, source=ELSEWHERE, guess=guess(5), now=NOW)

    assert (await paid(locks, a_bid(6, days=0, source=HOME))).lane == HOME
