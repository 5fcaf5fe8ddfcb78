"""An unlock is a fact of the account: it counts whether Valkey hears of it or not."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from lalepass_service.adapters.valkey import names
from lalepass_service.core.model import UserId
from lalepass_service.core.softlock import STOP_AT, Bid, Lane, Ticket, Wait
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
from tests.servers.valkey import Valkey

pytestmark = pytest.mark.anyio

ALICE = UserId("00000000-0000-4000-8000-000000000001")
HOME, ELSEWHERE, NOWHERE = b"h" * 16, b"e" * 16, b""
LATER = NOW + timedelta(days=60)


@pytest.fixture
async def operator(url: str) -> AsyncIterator[Replica]:
    async with a_replica(url) as operator:
        yield operator


def guess(number: int) -> bytes:
    return number.to_bytes(16)


def a_bid(
    number: int, unlocked: datetime | None, *, source: bytes = NOWHERE, since: datetime = NOW
) -> Bid:
    return Bid(account=ALICE, guess=guess(number), source=source, since=since, unlocked=unlocked)


async def paid(replica: Replica, bid: Bid, *, now: datetime = LATER) -> Ticket:
    ticket = await replica.shared.pay(bid, now=now)
    assert isinstance(ticket, Ticket), ticket
    return ticket


async def close(replica: Replica) -> None:
    """Guess until nobody may any more, each time as late as it takes."""
    for number in range(STOP_AT):
        await paid(replica, a_bid(number, None), now=NOW + timedelta(hours=2 * number))
    assert isinstance(await replica.shared.pay(a_bid(500, None), now=LATER), Wait)


async def unlock(operator: Replica) -> datetime:
    """Unlock the account, and return what its row says then."""
    before = operator.unlocks.at
    assert await operator.valkey.unlock(ALICE, act=ACT, now=LATER, unlocked=before)
    assert operator.unlocks.at is not None
    return operator.unlocks.at


async def back(server: Valkey, *replicas: Replica) -> None:
    """Start it again, and let it be seen."""
    server.start()
    for replica in replicas:
        await replica.client.look()
        assert replica.client.up


async def test_without_valkey_it_counts_at_once_at_every_replica(
    server: Valkey, url: str, replica: Replica, operator: Replica
) -> None:
    async with a_replica(url, of=2) as other:
        await close(replica)
        assert isinstance(await other.shared.pay(a_bid(500, None), now=LATER), Wait)
        server.kill()
        for each in (replica, other):
            assert isinstance(await each.shared.pay(a_bid(500, None), now=LATER), Wait)

        unlocked = await unlock(operator)

        assert operator.unlocks.entries == [ACT]
        for each in (replica, other):
            ticket = await paid(each, a_bid(500, unlocked))
            assert ticket.unlocked == unlocked
    await back(server, replica)


async def test_it_counts_where_only_a_replica_has_anything(
    server: Valkey, replica: Replica, operator: Replica
) -> None:
    """Which is cut off, and Valkey has lost what it had."""
    await close(replica)
    server.kill()
    assert isinstance(await replica.shared.pay(a_bid(500, None), now=LATER), Wait)
    await back(server, operator)
    await operator.client.ask(("DEL", names.key_of(ALICE, prefix=PREFIX, digests=DIGESTS)))

    # Nobody here can know of it, and the trail has no line of what nobody could see.
    assert not await operator.valkey.unlock(ALICE, act=ACT, now=LATER)

    assert operator.unlocks.entries == []
    assert operator.unlocks.at is not None
    await paid(replica, a_bid(500, operator.unlocks.at))


async def test_it_counts_when_valkey_is_back_with_all_that_it_had(
    server: Valkey, replica: Replica, operator: Replica
) -> None:
    known = await paid(replica, a_bid(500, None, source=HOME), now=NOW)
    replica.shared.settle(known, user_id=ALICE, now=LATER)
    await close(replica)
    await paid(replica, a_bid(501, None, source=HOME))
    server.kill()
    unlocked = await unlock(operator)
    await back(server, replica, operator)

    assert len(await operator.valkey.lanes(ALICE, since=NOW)) == 2
    assert await operator.valkey.lanes(ALICE, since=NOW, unlocked=unlocked) == ()
    again = await operator.valkey.unlock(ALICE, act=ACT, now=LATER, unlocked=unlocked)
    assert not again
    assert operator.unlocks.entries == [ACT]
    ticket = await paid(replica, a_bid(500, unlocked))

    assert ticket.unlocked == unlocked
    expected = (Lane(failures=1, ring=(guess(500),)),)
    assert await replica.valkey.lanes(ALICE, since=NOW, unlocked=unlocked) == expected
    # It is clean there, also for who does not know of it.
    assert await replica.valkey.lanes(ALICE) == expected
    # Who was known is known.
    assert (await paid(replica, a_bid(502, unlocked, source=HOME))).lane == HOME


async def test_nothing_from_before_is_put_back_and_all_that_came_after_it_is(
    server: Valkey, url: str, replica: Replica, operator: Replica
) -> None:
    async with a_replica(url, of=2) as other:
        for each in (replica, other):
            await paid(each, a_bid(1, None), now=NOW)
        server.kill()
        await paid(replica, a_bid(2, None), now=NOW + timedelta(days=1))
        await paid(other, a_bid(3, None), now=NOW + timedelta(days=1))
        unlocked = await unlock(operator)
        await paid(other, a_bid(4, unlocked))
        await back(server, replica, other)
        for each in (replica, other):
            await each.shared._put_all_back()  # noqa: SLF001 - at once

        assert await other.valkey.lanes(ALICE, since=NOW, unlocked=unlocked) == (
            Lane(failures=1, ring=(guess(4),)),
        )
        for each in (replica, other):
            assert not list(each.local.missing(epoch=each.client.epoch))


async def test_what_valkey_was_told_is_lost_with_it_and_counts_all_the_same(
    server: Valkey, replica: Replica, operator: Replica
) -> None:
    """It comes back as it was before, such as another one that had not heard of the last moment."""
    await close(replica)
    key = names.key_of(ALICE, prefix=PREFIX, digests=DIGESTS)
    (before,) = await operator.client.ask(("HGETALL", key))
    unlocked = await unlock(operator)
    await operator.client.ask(("HSET", key, *before), ("HDEL", key, "u"))

    await paid(replica, a_bid(500, unlocked))

    (lane,) = await replica.valkey.lanes(ALICE)
    assert lane.failures == 1
    del server


async def test_who_read_the_account_too_early_undoes_nothing(
    replica: Replica, operator: Replica
) -> None:
    await close(replica)
    unlocked = await unlock(operator)
    await paid(replica, a_bid(1, unlocked))

    late = await paid(replica, a_bid(2, None))
    await replica.shared.charge(late, now=LATER)

    (lane,) = await replica.valkey.lanes(ALICE, since=NOW, unlocked=unlocked)
    assert lane.failures == 2
    await replica.shared.give_back(late, now=LATER)
    (lane,) = await replica.valkey.lanes(ALICE, since=NOW, unlocked=unlocked)
    assert lane.ring == (guess(1),)


@pytest.mark.parametrize("told", [True, False])
async def test_it_may_come_between_two_steps_of_a_guess(
    url: str,
    operator: Replica,
    told: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The guess is made by what was read, and counts where the unlock is known."""
    client = Raced(target(url), prefix=PREFIX, timeout=PATIENT)
    async with in_valkey(url, client) as locks:
        for number in range(5):
            now = NOW + timedelta(hours=2 * number)
            assert isinstance(await locks.pay(a_bid(number, None), now=now), Ticket)

        async def race(_: str) -> None:
            client.between = None
            operator.client.up = told
            await unlock(operator)
            operator.client.up = True

        client.between = race
        assert isinstance(await locks.pay(a_bid(9, None), now=LATER), Ticket)

        unlocked = operator.unlocks.at
        lanes = await locks.lanes(ALICE, since=NOW, unlocked=unlocked)
        assert [lane.failures for lane in lanes] == ([1] if told else [])


async def test_of_two_who_bring_it_along_neither_deletes_what_the_other_has_written(
    url: str, replica: Replica, operator: Replica
) -> None:
    known = await paid(replica, a_bid(1, None, source=HOME), now=NOW)
    replica.shared.settle(known, user_id=ALICE, now=LATER)
    await paid(replica, a_bid(2, None, source=HOME))
    operator.client.up = False
    unlocked = await unlock(operator)
    client = Raced(target(url), prefix=PREFIX, timeout=PATIENT)
    async with in_valkey(url, client) as locks:

        async def race(_: str) -> None:
            client.between = None
            await paid(replica, a_bid(3, unlocked, source=HOME))

        client.between = race
        assert isinstance(await locks.pay(a_bid(4, unlocked), now=LATER), Ticket)

        assert locks.conflicts == 1
        lanes = await locks.lanes(ALICE)
        assert [lane.ring for lane in lanes] == [(guess(4),), (guess(3),)]


async def test_another_password_and_an_unlock_go_together_in_any_order(
    replica: Replica, operator: Replica
) -> None:
    operator.client.up = False
    unlocked = await unlock(operator)
    operator.client.up = True
    await close(replica)
    renewed = LATER + timedelta(days=1)

    await paid(replica, a_bid(1, unlocked, since=renewed), now=renewed)
    assert len(await replica.valkey.lanes(ALICE, since=renewed, unlocked=unlocked)) == 1

    # The unlock was written with it, and voids nothing for the second time.
    await paid(replica, a_bid(2, unlocked, since=renewed), now=renewed)
    (lane,) = await replica.valkey.lanes(ALICE, since=renewed, unlocked=unlocked)
    assert lane.failures == 2


async def test_every_lane_is_open_by_it(replica: Replica, operator: Replica) -> None:
    """Also that of a source which somebody else comes to first."""
    for source in (HOME, ELSEWHERE):
        right = await paid(replica, a_bid(1, None, source=source), now=NOW)
        replica.shared.settle(right, user_id=ALICE, now=LATER)
        for number in range(5):
            now = LATER + timedelta(hours=number)
            await paid(replica, a_bid(number, None, source=source), now=now)
    assert len(await replica.valkey.lanes(ALICE)) == 2
    operator.client.up = False
    unlocked = await unlock(operator)
    later = LATER + timedelta(hours=5)

    await paid(replica, a_bid(9, unlocked, source=HOME), now=later)

    assert len(await replica.valkey.lanes(ALICE)) == 1
    await paid(replica, a_bid(9, unlocked, source=ELSEWHERE), now=later)
    lanes = await replica.valkey.lanes(ALICE)
    assert [lane.failures for lane in lanes] == [1, 1]


async def test_it_helps_where_the_mark_of_an_unlock_can_not_be_read(
    replica: Replica, operator: Replica
) -> None:
    await paid(replica, a_bid(1, None))
    key = names.key_of(ALICE, prefix=PREFIX, digests=DIGESTS)
    await operator.client.ask(("HSET", key, "u", "no time"))

    unlocked = await unlock(operator)

    await paid(replica, a_bid(2, unlocked))
    (lane,) = await replica.valkey.lanes(ALICE, since=NOW, unlocked=unlocked)
    assert lane.ring == (guess(2),)


async def test_an_account_that_is_gone_is_not_unlocked(replica: Replica, operator: Replica) -> None:
    await paid(replica, a_bid(1, None))

    async def gone(*_: object, **__: object) -> None:
        return None

    operator.unlocks.note_unlock = gone  # type: ignore[method-assign]

    assert not await operator.valkey.unlock(ALICE, act=ACT, now=LATER)
    assert len(await operator.valkey.lanes(ALICE)) == 1
