"""Counts that replicas bring together, a moment later."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lalepass_service.adapters.valkey.client import Lost
from lalepass_service.adapters.valkey.throttle import SharedThrottle
from lalepass_service.core.errors import Throttled
from lalepass_service.core.throttle import LocalThrottle, Rate
from tests.lalepass_service.adapters.valkey.house import DIGESTS, Replica, a_replica
from tests.servers.fixtures import left_out_if_missing
from tests.servers.valkey import Valkey, valkey

pytestmark = pytest.mark.anyio

# Nothing comes back while a test runs.
SOURCE = Rate(burst=10, per_second=0.001)
CALLER = Rate(burst=100, per_second=0.001)
PLACE = "192.0.2.1"


@asynccontextmanager
async def counting(url: str, *, of: int = 2) -> AsyncIterator[tuple[SharedThrottle, Replica]]:
    async with a_replica(url, of=of) as replica:
        client = replica.client
        await client.look()
        local = LocalThrottle(source=SOURCE, caller=CALLER, among=lambda: 1 if client.up else of)
        yield SharedThrottle(local, client=client, digests=DIGESTS), replica


def passed(throttle: SharedThrottle, times: int, *, source: str | None = PLACE) -> int:
    """Ask so often, and return how often that was let through."""
    count = 0
    for _ in range(times):
        try:
            throttle.hit(source=source, caller="synapse")
        except Throttled:
            continue
        count += 1
    return count


async def test_what_one_lets_through_the_others_hear_of(valkey_url: str) -> None:
    async with counting(valkey_url) as (one, _), counting(valkey_url) as (other, _):
        assert passed(one, 7) == 7
        await one.tell()
        # It has not heard yet.
        assert passed(other, 1) == 1
        await other.tell()

        assert passed(other, 10) == 2
        await other.tell()
        # It hears when it has something to tell of the same place.
        assert passed(one, 1) == 1
        await one.tell()
        assert passed(one, 10) == 0
        assert passed(one, 10, source="192.0.2.2") == 10


async def test_a_caller_is_counted_over_all_of_its_places(valkey_url: str) -> None:
    async with counting(valkey_url) as (one, _), counting(valkey_url) as (other, _):
        for number in range(9):
            assert passed(one, 10, source=f"192.0.2.{number}") == 10
        await one.tell()
        assert passed(other, 1, source=None) == 1
        await other.tell()

        assert passed(other, 20, source=None) == 9


async def test_what_is_let_through_while_it_is_told_counts_as_well(valkey_url: str) -> None:
    async with counting(valkey_url) as (throttle, _):
        passed(throttle, 5)
        telling = asyncio.create_task(throttle.tell())
        await asyncio.sleep(0)
        assert passed(throttle, 2) == 2
        await telling

        assert passed(throttle, 10) == 3


async def test_who_waits_as_told_is_let_through_by_all(valkey_url: str) -> None:
    async with a_replica(valkey_url) as replica:
        rate = Rate(burst=1, per_second=2)
        local = LocalThrottle(source=rate, caller=Rate(burst=1000, per_second=1000))
        throttle = SharedThrottle(local, client=replica.client, digests=DIGESTS)
        for _ in range(3):
            throttle.hit(source=PLACE, caller="synapse")
            await throttle.tell()
            with pytest.raises(Throttled) as throttled:
                throttle.hit(source=PLACE, caller="synapse")
            await asyncio.sleep(throttled.value.retry_after + 0.001)


async def test_many_places_are_told_in_few_trips(valkey_url: str) -> None:
    async with counting(valkey_url) as (throttle, replica):
        before = sum(replica.client.latency.counts)
        for number in range(2000):
            throttle.hit(source=f"10.0.{number // 250}.{number % 250}", caller=f"c{number % 50}")
        await throttle.tell()

        # Some seven: five hundred at a time, and the script. On a busy machine there are looks at
        # the server beside them.
        assert sum(replica.client.latency.counts) - before <= 50


async def test_no_address_is_readable_and_all_is_gone_by_itself(
    valkey_server: Valkey, valkey_url: str
) -> None:
    async with counting(valkey_url) as (throttle, replica):
        passed(throttle, 1)
        await throttle.tell()

        keys = valkey_server.ask("KEYS", "*:t:*", database=int(valkey_url.rpartition("/")[2]))
        assert isinstance(keys, list)
        assert len(keys) == 2
        for key in keys:
            assert PLACE not in str(key)
            (millis,) = await replica.client.ask(("PTTL", str(key)))
            assert 0 < millis <= 1_000_001


async def test_without_valkey_each_has_its_share() -> None:
    with left_out_if_missing(), valkey() as server:
        async with counting(server.url, of=4) as (throttle, replica):
            server.kill()
            passed(throttle, 1)
            with pytest.raises(Lost):
                await throttle.tell()

            # Each counts as four: of the nine that are left, two, and the last is a part of one.
            assert passed(throttle, 10) == 2
            server.start()
            await replica.client.look()
            # What was counted as four is not forgotten, and not counted again.
            assert passed(throttle, 10) == 1
            await throttle.tell()


async def test_it_is_told_ten_times_a_second(valkey_url: str) -> None:
    async with counting(valkey_url) as (one, _), counting(valkey_url) as (other, _):
        tasks = [asyncio.create_task(each.run()) for each in (one, other)]
        assert passed(one, 10) == 10
        async with asyncio.timeout(20):
            while passed(other, 1):  # noqa: ASYNC110 - the fact is in Valkey
                await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
