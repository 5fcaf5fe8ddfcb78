"""Valkey is killed, stalls, comes back, comes back empty: what happens to guesses then."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest

from lalepass_service.adapters.valkey.client import Client, Lost
from lalepass_service.adapters.valkey.connections import Reply, Word
from lalepass_service.core.softlock import STOP_AT, Bid, Lane, Ticket, Wait
from tests.lalepass_service.accounts import ACT, NOW
from tests.lalepass_service.adapters.valkey.house import Replica, a_replica
from tests.lalepass_service.waiting import until
from tests.servers.valkey import Valkey

pytestmark = pytest.mark.anyio

ALICE = "00000000-0000-4000-8000-000000000001"
HOME, NOWHERE = b"h" * 16, b""
LOST = "Valkey gives no answer: it did not answer in time"


def guess(number: int) -> bytes:
    return number.to_bytes(16)


async def pay(
    replica: Replica,
    number: int = 1,
    *,
    hours: float = 0,
    source: bytes = NOWHERE,
    days: int | None = None,
) -> Ticket | Wait:
    since = None if days is None else NOW + timedelta(days=days)
    bid = Bid(account=ALICE, guess=guess(number), source=source, since=since)
    return await replica.shared.pay(bid, now=NOW + timedelta(hours=hours))


async def paid(replica: Replica, number: int = 1, **how: float) -> Ticket:
    ticket = await pay(replica, number, **how)  # type: ignore[arg-type]
    assert isinstance(ticket, Ticket), ticket
    return ticket


async def failures(replica: Replica) -> int:
    return max((lane.failures for lane in await replica.valkey.lanes(ALICE)), default=0)


async def back(server: Valkey, *replicas: Replica) -> None:
    """Start it again, and let it be seen."""
    server.start()
    for replica in replicas:
        await replica.client.look()
        assert replica.client.up


@asynccontextmanager
async def reconciling(replica: Replica) -> AsyncIterator[None]:
    task = asyncio.create_task(replica.shared.reconcile())
    yield
    task.cancel()


async def test_guesses_go_on_by_the_share_of_a_replica(server: Valkey, replica: Replica) -> None:
    await paid(replica, 1)
    server.kill()

    # Two were seen or may be taken elsewhere: this one counts as two more.
    await paid(replica, 2)
    wait = await pay(replica, 3)

    assert wait == Wait(2 * 3.0)
    assert not replica.client.up
    assert replica.shared.fallbacks == 2
    await back(server, replica)


async def test_what_was_guessed_meanwhile_is_added(server: Valkey, replica: Replica) -> None:
    for number in range(5):
        await paid(replica, number, hours=number)
    server.kill()
    for number in range(5, 8):
        await paid(replica, number, hours=number)
    await back(server, replica)
    assert await failures(replica) == 5

    async with reconciling(replica):
        await until(lambda: replica.shared.put_back == 1)

    (lane,) = await replica.valkey.lanes(ALICE)
    assert (lane.failures, lane.ring) == (8, tuple(map(guess, range(8))))
    assert lane.not_before == NOW + timedelta(hours=7, seconds=10)
    assert replica.client.emptied == 0


async def test_who_comes_first_does_not_wait_until_all_is_put_back(
    server: Valkey, replica: Replica
) -> None:
    """Else somebody could guess on where it has not been put back yet."""
    await paid(replica, 0)
    server.kill()
    await paid(replica, 1)
    await paid(replica, 2, hours=1)
    await back(server, replica)

    assert isinstance(await pay(replica, 3, hours=1), Wait)

    assert await failures(replica) == 3


async def test_nothing_is_lowered_by_it(server: Valkey, url: str) -> None:
    async with a_replica(url, of=2) as one, a_replica(url, of=2) as other:
        await paid(one, 0)
        for number in range(1, 20):
            await paid(other, number, hours=number)
        server.kill()
        await paid(one, 50, hours=20)
        await back(server, one)
        async with reconciling(one):
            await until(lambda: one.shared.put_back == 1)

        assert await failures(one) == 21


async def test_the_same_guess_at_two_replicas_is_added_once(server: Valkey, url: str) -> None:
    async with a_replica(url, of=2) as one, a_replica(url, of=2) as other:
        await one.client.look()
        await other.client.look()
        server.kill()
        await paid(one, 7)
        await paid(other, 7)
        await back(server, one, other)
        async with reconciling(one), reconciling(other):
            await until(lambda: one.shared.put_back == 1 == other.shared.put_back)

        assert await failures(one) == 1


async def test_what_valkey_took_without_an_answer_is_added_once(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_replica(url, of=2) as replica:
        ask = Client.ask

        async def deaf(client: Client, *commands: Sequence[Word]) -> list[Reply]:
            replies = await ask(client, *commands)
            if commands[0][0] == "EVALSHA":
                client.up = False
                raise Lost("the answer was lost")
            return replies

        await paid(replica, 1)
        with monkeypatch.context() as patch:
            patch.setattr(Client, "ask", deaf)
            await paid(replica, 2)
        await replica.client.look()
        async with reconciling(replica):
            await until(lambda: replica.shared.put_back == 1)

        assert await failures(replica) == 2


async def test_all_replicas_together_stop_at_a_hundred(server: Valkey, url: str) -> None:
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(a_replica(url, of=4)) for _ in range(4)]
        for replica in replicas:
            await replica.client.look()
        server.kill()
        taken = 0
        for number in range(40):
            for which, replica in enumerate(replicas):
                ticket = await pay(replica, 100 * number + which, hours=24 * number)
                taken += isinstance(ticket, Ticket)

        assert taken == STOP_AT
        await back(server, *replicas)
        for replica in replicas:
            await replica.shared._put_all_back()  # noqa: SLF001 - at once, one after another
        assert await failures(replicas[0]) == STOP_AT


async def test_a_right_password_meanwhile_clears_what_was_counted_here(
    server: Valkey, replica: Replica
) -> None:
    """And the count in Valkey with the next one."""
    for number in range(4):
        await paid(replica, number, hours=number)
    server.kill()
    await paid(replica, 50, hours=5)
    right = await paid(replica, 99, hours=6, source=HOME)  # type: ignore[arg-type]
    replica.shared.settle(right, user_id=ALICE, now=NOW + timedelta(hours=6))  # type: ignore[arg-type]
    known = await paid(replica, 98, hours=6, source=HOME)  # type: ignore[arg-type]
    assert known.lane == HOME
    await replica.shared.give_back(known, now=NOW)
    await back(server, replica)
    await replica.shared._put_all_back()  # noqa: SLF001 - as above

    assert await failures(replica) == 4

    right = await paid(replica, 99, hours=7)
    replica.shared.settle(right, user_id=ALICE, now=NOW + timedelta(hours=7))  # type: ignore[arg-type]
    assert await replica.shared.lanes(ALICE) == ()


async def test_a_source_that_was_known_is_known_without_it(
    server: Valkey, replica: Replica
) -> None:
    ticket = await paid(replica, 1, source=HOME)  # type: ignore[arg-type]
    replica.shared.settle(ticket, user_id=ALICE, now=NOW)  # type: ignore[arg-type]
    for number in range(2, 5):
        await paid(replica, number)
    assert isinstance(await pay(replica, 5), Wait)
    server.kill()

    assert isinstance(await pay(replica, 6), Wait)
    known = await paid(replica, 6, source=HOME)  # type: ignore[arg-type]

    assert known.lane == HOME
    await back(server, replica)


async def test_another_password_voids_what_is_counted_here(
    server: Valkey, replica: Replica
) -> None:
    await paid(replica, 1, days=0, source=HOME)  # type: ignore[arg-type]
    server.kill()
    await paid(replica, 2, days=0)
    assert isinstance(await pay(replica, 3, days=0), Wait)

    ticket = await paid(replica, 3, days=1)
    assert ticket.lane == NOWHERE

    await back(server, replica)
    await replica.shared._put_all_back()  # noqa: SLF001 - as above
    assert await replica.valkey.lanes(ALICE) == (Lane(failures=1, ring=(guess(3),)),)


async def test_what_an_older_password_left_here_is_not_put_back(server: Valkey, url: str) -> None:
    async with a_replica(url, of=2) as one, a_replica(url, of=2) as other:
        await paid(one, 1, days=0)
        server.kill()
        await paid(one, 2, days=0)
        await back(server, one)
        await paid(other, 3, days=1, hours=24)

        await one.shared._put_all_back()  # noqa: SLF001 - as above

        assert await other.valkey.lanes(ALICE) == (Lane(failures=1, ring=(guess(3),)),)
        # And it is not tried again for ever.
        assert not one.local.missing(epoch=one.client.epoch)


async def test_what_an_operator_unlocked_meanwhile_has_nothing_from_before(
    server: Valkey, url: str
) -> None:
    """This replica could not be told. What it took before counts no more, wherever that was."""
    async with a_replica(url, of=2) as one, a_replica(url, of=2) as operator:
        for number in range(10):
            await paid(one, number, hours=number)
        server.kill()
        await paid(one, 50, hours=10)
        await back(server, one)
        assert await operator.valkey.unlock(ALICE, act=ACT, now=NOW)
        async with reconciling(one):
            await until(lambda: one.shared.put_back == 1)

        assert await failures(one) == 0


async def test_a_guess_that_is_given_back_without_it_leaves_nothing(
    server: Valkey, replica: Replica
) -> None:
    await paid(replica, 1)
    server.kill()
    taken = await paid(replica, 2)
    again = await paid(replica, 2, hours=1)
    assert not again.paid
    await replica.shared.give_back(again, now=NOW)
    await replica.shared.give_back(taken, now=NOW)
    # It was given back, and the one who rode on it was wrong.
    await replica.shared.charge(again, now=NOW)
    await replica.shared.charge(again, now=NOW)
    await back(server, replica)
    await replica.shared._put_all_back()  # noqa: SLF001 - as above

    assert await failures(replica) == 2


async def test_a_guess_that_valkey_took_stays_paid_if_it_is_lost_before_the_end(
    server: Valkey, replica: Replica
) -> None:
    taken = await paid(replica, 1)
    server.kill()
    await replica.shared.give_back(taken, now=NOW)
    await back(server, replica)

    assert await failures(replica) == 1


async def test_one_that_has_lost_its_data_gets_them_back(
    server: Valkey, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_replica(url, of=2) as one, a_replica(url, of=2) as other:
        for number in range(30):
            await paid(one, number, hours=number)
        # The other one saw it earlier, when it was less.
        assert isinstance(await pay(other, 99, hours=29), Wait)
        await paid(one, 30, hours=40)
        (before,) = await one.valkey.lanes(ALICE)
        server.kill()
        server.forget()
        await back(server, one, other)
        async with reconciling(other):
            await until(lambda: other.shared.put_back == 1)
        assert await failures(one) == 30
        async with reconciling(one):
            await until(lambda: one.shared.put_back == 1)

        (after,) = await one.valkey.lanes(ALICE)
        assert (after.failures, after.not_before) == (before.failures, before.not_before)
        assert guess(30) in after.ring
        assert (one.client.emptied, other.client.emptied) == (1, 1)
        said = [each.getMessage() for each in caplog.records]
        assert len([text for text in said if "has lost its data" in text]) == 2
        # Once is enough.
        await one.client.look()
        await one.shared._put_all_back()  # noqa: SLF001 - as above
        assert one.client.emptied == 1
        assert one.shared.put_back == 1


async def test_data_that_are_thrown_away_under_it_are_missed_at_the_next_look(
    server: Valkey, url: str
) -> None:
    async with a_replica(url, of=2) as replica:
        for number in range(5):
            await paid(replica, number, hours=number)
        server.ask("FLUSHDB", database=int(url.rpartition("/")[2]))

        await replica.client.look()
        assert replica.client.emptied == 1
        assert isinstance(await pay(replica, 50, hours=4), Wait)

        assert await failures(replica) == 5


async def test_data_that_are_thrown_away_under_it_are_missed_by_who_comes_before_that(
    server: Valkey, url: str
) -> None:
    """Or what is there then, which is next to nothing, would be all that is remembered."""
    async with a_replica(url, of=2) as one, a_replica(url, of=2) as other:
        for number in range(5):
            await paid(one, number, hours=number)
            assert await pay(other, number, hours=number) is not None
        server.ask("FLUSHDB", database=int(url.rpartition("/")[2]))

        # The first finds nothing at all, and goes by itself; what the second finds has a new name.
        assert isinstance(await pay(one, 50, hours=4), Wait)
        await one.client.look()
        assert isinstance(await pay(other, 51, hours=4), Wait)

        assert (one.client.emptied, other.client.emptied) == (1, 1)
        assert await failures(other) == 5


async def test_one_that_restarts_between_two_checks_is_not_missed(
    server: Valkey, replica: Replica
) -> None:
    await paid(replica, 1)
    server.restart()

    await paid(replica, 2)

    assert replica.shared.fallbacks == 0
    assert await failures(replica) == 2


async def test_one_that_restarts_empty_between_two_checks_is_noticed_by_the_second(
    server: Valkey, replica: Replica
) -> None:
    for number in range(5):
        await paid(replica, number, hours=number)
    server.kill()
    server.forget()
    server.start()

    assert isinstance(await pay(replica, 50, hours=4), Wait)
    assert replica.client.emptied == 1
    assert await failures(replica) == 5


async def test_one_that_stalls_makes_nobody_wait_but_those_who_are_waiting(
    server: Valkey, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_replica(url, of=2, patience=1) as replica:
        await paid(replica, 1)
        caplog.clear()
        server.pause()
        try:
            together = [pay(replica, number, hours=1) for number in range(10, 15)]
            taken = [isinstance(each, Ticket) for each in await asyncio.gather(*together)]
            trips = sum(replica.client.latency.counts)
            for number in range(200):
                await pay(replica, number, hours=2)
            assert sum(replica.client.latency.counts) == trips
        finally:
            server.resume()

        assert taken.count(True) == 1
        assert replica.shared.fallbacks == 205
        await replica.client.look()
        assert replica.client.up
        await replica.shared._put_all_back()  # noqa: SLF001 - as above
    said = [each.getMessage() for each in caplog.records]
    assert said == [
        f"{LOST}; guesses are counted by each replica alone until it does",
        "Valkey answers again",
        "wrong passwords were put back into Valkey for 1 lanes",
    ]


async def test_it_is_found_well_again_by_itself(server: Valkey, url: str) -> None:
    async with a_replica(url, of=2) as replica:
        await paid(replica, 1)
        watch = asyncio.create_task(replica.client.watch())
        server.kill()
        await until(lambda: not replica.client.up)
        server.start()
        await until(lambda: replica.client.up)
        watch.cancel()

        assert replica.client.losses == 1
        assert replica.shared.fallbacks == 0


async def test_what_operators_ask_for_is_not_done_by_halves(
    server: Valkey, replica: Replica
) -> None:
    await paid(replica, 1)
    server.kill()
    shared = replica.shared

    for asked in (
        shared.lanes(ALICE),
        shared.forget(ALICE),
        shared.sweep(before=NOW),
    ):
        with pytest.raises(Lost):
            await asked
    await back(server, replica)


async def test_an_unlock_opens_what_is_remembered_here(server: Valkey, replica: Replica) -> None:
    for number in range(10):
        await paid(replica, number, hours=number)

    assert await replica.shared.unlock(ALICE, act=ACT, now=NOW)

    server.kill()
    await paid(replica, 50, hours=9)
    await back(server, replica)
