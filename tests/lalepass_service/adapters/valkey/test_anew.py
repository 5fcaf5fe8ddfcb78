"""An operator has all wrong passwords counted anew, since the database is an older one."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from lalepass_service.adapters.valkey.anew import account_keys, begin_anew
from lalepass_service.adapters.valkey.client import Client, Lost, Script
from lalepass_service.adapters.valkey.connections import Reply, Word
from lalepass_service.adapters.valkey.softlocks import ValkeySoftLocks
from lalepass_service.adapters.valkey.throttle import SharedThrottle
from lalepass_service.core.softlock import STOP_AT, Bid, Lane, Ticket, Wait
from lalepass_service.core.throttle import LocalThrottle, Rate
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.adapters.valkey.house import (
    DIGESTS,
    PATIENT,
    PREFIX,
    Replica,
    a_replica,
    target,
)
from tests.lalepass_service.paying import debit
from tests.servers.valkey import Valkey

pytestmark = pytest.mark.anyio

ALICE, NOBODY = "00000000-0000-4000-8000-000000000001", "0:nobody"
HOME, NOWHERE = b"h" * 16, b""


@pytest.fixture
async def operator(url: str) -> AsyncIterator[Client]:
    client = Client(target(url), prefix=PREFIX, timeout=PATIENT)
    yield client
    await client.close()


def guess(number: int) -> bytes:
    return number.to_bytes(16)


def a_bid(number: int, *, days: int, source: bytes = NOWHERE) -> Bid:
    since = NOW + timedelta(days=days)
    return Bid(account=ALICE, guess=guess(number), source=source, since=since)


async def guess_wrong(replica: Replica, times: int, *, days: int) -> None:
    """Guess as often as said, each time as late as it takes, at a password set so late."""
    for number in range(times):
        bid = a_bid(number, days=days)
        later = NOW + timedelta(days=days, hours=2 * number)
        assert isinstance(await replica.shared.pay(bid, now=later), Ticket)


async def test_an_older_password_has_its_whole_budget(replica: Replica, operator: Client) -> None:
    await guess_wrong(replica, STOP_AT, days=1)

    assert await begin_anew(operator) == 1
    await replica.client.look()

    later = NOW + timedelta(days=2)
    for number in range(3):
        ticket = await replica.shared.pay(a_bid(1000 + number, days=0), now=later)
        assert isinstance(ticket, Ticket)
    assert isinstance(await replica.shared.pay(a_bid(2000, days=0), now=later), Wait)
    (lane,) = await replica.shared.lanes(ALICE)
    assert lane.failures == 3


async def test_sources_are_known_anew_too(replica: Replica, operator: Client) -> None:
    """One of them may be known by a password that nobody has any more."""
    ticket = await replica.shared.pay(a_bid(1, days=1, source=HOME), now=NOW)
    assert isinstance(ticket, Ticket)
    replica.shared.settle(ticket, user_id=ALICE, now=NOW)  # type: ignore[arg-type]
    await replica.shared.lanes(ALICE)

    await begin_anew(operator)
    await replica.client.look()

    ticket = await replica.shared.pay(a_bid(2, days=0, source=HOME), now=NOW)
    assert isinstance(ticket, Ticket)
    assert ticket.lane == NOWHERE


async def test_no_replica_puts_back_what_it_saw(
    url: str, operator: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_replica(url, of=2) as one, a_replica(url, of=2) as other:
        await guess_wrong(one, 10, days=1)
        await other.shared.pay(a_bid(50, days=1), now=NOW + timedelta(days=3))

        await begin_anew(operator)
        for replica in (one, other):
            await replica.client.look()
            await replica.shared._put_all_back()  # noqa: SLF001 - at once

        assert await one.valkey.lanes(ALICE) == ()
        assert (one.client.emptied, other.client.emptied) == (0, 0)
        assert not one.client.changed.is_set()
        assert (len(one.local), len(other.local)) == (0, 0)
        said = [each.getMessage() for each in caplog.records]
        assert said == ["wrong passwords are counted anew in Valkey, as an operator has said"] * 2


async def test_what_is_lost_after_it_is_put_back(
    server: Valkey, replica: Replica, operator: Client
) -> None:
    await guess_wrong(replica, 10, days=1)
    await begin_anew(operator)
    await replica.client.look()
    await guess_wrong(replica, 4, days=0)
    server.kill()
    server.forget()
    server.start()

    await replica.client.look()
    await replica.shared._put_all_back()  # noqa: SLF001 - at once

    assert replica.client.emptied == 1
    (lane,) = await replica.valkey.lanes(ALICE)
    assert lane.failures == 4


async def test_what_a_replica_took_alone_before_it_is_not_added(
    server: Valkey, replica: Replica, operator: Client
) -> None:
    """A standby took over while Valkey was away, and the operator spoke first when it was back."""
    await guess_wrong(replica, 1, days=1)
    server.kill()
    await guess_wrong(replica, 4, days=1)
    server.start()

    await begin_anew(operator)
    await replica.client.look()
    await replica.shared._put_all_back()  # noqa: SLF001 - at once

    assert await replica.valkey.lanes(ALICE) == ()


async def test_what_was_written_before_is_not_remembered_after_it(
    url: str, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a guess that is just being paid for."""
    async with a_replica(url, of=2) as replica:
        run = replica.client.run

        async def race(script: Script, key: str, *words: Word) -> Reply:
            reply = await run(script, key, *words)
            await begin_anew(operator)
            await replica.client.look()
            return reply

        with monkeypatch.context() as patch:
            patch.setattr(replica.client, "run", race)
            assert isinstance(await replica.shared.pay(a_bid(1, days=1), now=NOW), Ticket)

        assert len(replica.local) == 0
        await replica.shared._put_all_back()  # noqa: SLF001 - at once
        assert await replica.valkey.lanes(ALICE) == ()


async def test_names_that_nobody_has_begin_anew_as_well(replica: Replica, operator: Client) -> None:
    """Else they would be told apart by the guesses that they have left."""
    for account in (ALICE, NOBODY):
        await debit(replica.shared, account, source=NOWHERE, guess=guess(1), now=NOW)

    assert await begin_anew(operator) == 2

    assert await replica.valkey.lanes(NOBODY) == ()


async def test_what_is_of_others_stays(url: str, replica: Replica, operator: Client) -> None:
    await guess_wrong(replica, 3, days=1)
    rate = Rate(burst=1, per_second=0.001)
    throttle = SharedThrottle(
        LocalThrottle(source=rate, caller=rate), client=replica.client, digests=DIGESTS
    )
    throttle.hit(source="192.0.2.1", caller="synapse")
    await throttle.tell()
    neighbour = Client(target(url), prefix=f"{PREFIX}-2", timeout=PATIENT)
    locks = ValkeySoftLocks(neighbour, DIGESTS)
    await locks.pay(a_bid(1, days=1), now=NOW)
    foreign = f"x{PREFIX}:1:u:theirs", f"{PREFIX}:2:u:later", f"{PREFIX}x1:u:theirs"
    await operator.ask(*(("SET", key, "theirs") for key in foreign))
    before = await _all_keys(operator)

    assert await begin_anew(operator) == 1

    gone = before - await _all_keys(operator)
    assert len(gone) == 1
    assert await locks.lanes(ALICE) == (Lane(failures=1, ring=(guess(1),)),)
    await neighbour.look()
    assert neighbour.emptied == 0
    await neighbour.close()


async def _all_keys(client: Client) -> set[bytes]:
    (found,) = await client.ask(("KEYS", "*"))
    return set(found)


async def test_a_great_many_are_deleted_some_at_a_time(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [("HSET", f"{PREFIX}:1:u:{{{number}}}", "e", "x") for number in range(5_000)]
    await operator.ask(*calls)
    trips: list[int] = []
    ask = Client.ask

    async def counted(client: Client, *commands: Sequence[Word]) -> list[Reply]:
        trips.append(len(commands))
        return await ask(client, *commands)

    monkeypatch.setattr(Client, "ask", counted)
    assert await begin_anew(operator) == 5_000

    # SCAN may return some more than it is asked for.
    assert 10 <= len(trips) < 200
    assert max(trips) < 1_500
    assert [keys async for keys in account_keys(operator)] == []


async def test_one_that_goes_away_in_between_is_told_of_and_it_can_be_done_again(
    url: str, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    await guess_wrong(replica, 5, days=1)
    client = Client(target(url), prefix=PREFIX, timeout=PATIENT)
    ask = Client.ask

    async def fails(client: Client, *commands: Sequence[Word]) -> list[Reply]:
        if commands[0][0] == "SET":
            raise Lost("it did not answer in time")
        return await ask(client, *commands)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "ask", fails)
        with pytest.raises(Lost):
            await begin_anew(client)
    # Nobody was told yet, and what this replica saw is in force where it was, as long as it is.
    await replica.client.look()
    assert replica.client.emptied == 0

    assert await begin_anew(client) == 0
    await replica.client.look()

    assert len(replica.local) == 0
    await client.close()
