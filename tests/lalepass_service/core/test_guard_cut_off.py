"""What the trail says of a check whose caller was cut off, by a timeout or by the end."""

import asyncio

import pytest

from lalepass_service.core.audit import Entry
from lalepass_service.core.check import Accepted
from lalepass_service.core.errors import NoAnswer
from lalepass_service.core.identifiers import ByLocalpart
from tests.lalepass_service.core.guarded import RIGHT, World

pytestmark = pytest.mark.anyio

_PATIENCE = 20


async def cut_off(world: World, password: str, localpart: str = "alice") -> None:
    """Ask, and be cancelled in the middle of the hash."""
    world.hasher.pause = world.hasher.pause or asyncio.Event()
    begun = world.hasher.calls
    leaving = asyncio.create_task(world.check(password, ByLocalpart(localpart), ip="192.0.2.1"))
    await world.hashes(begun + 1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def told(world: World, count: int) -> list[tuple[str, str | None, object]]:
    """Let go of the hashes, and return what is in the trail once so many entries are."""
    if world.hasher.pause is not None:
        world.hasher.pause.set()
    async with asyncio.timeout(_PATIENCE):
        while len(world.trail.entries) < count:  # noqa: ASYNC110 - a list, and the loop turns at once
            await asyncio.sleep(0)
    # Should there be one too many, it comes now.
    for _ in range(20):
        await asyncio.sleep(0)
    return [_short(entry) for entry in world.trail.entries]


def _short(entry: Entry) -> tuple[str, str | None, object]:
    return entry.outcome, entry.localpart, dict(entry.details)


_UNHEARD = {"heard": False}


@pytest.mark.parametrize(
    ("password", "localpart", "expected"),
    [
        (RIGHT, "alice", ("accepted", "alice", _UNHEARD)),
        ("wrong", "alice", ("refused_credentials", "alice", _UNHEARD)),
        (RIGHT, "gone", ("refused_disabled", "gone", _UNHEARD)),
        ("wrong", "nobody", ("refused_credentials", None, _UNHEARD)),
    ],
)
async def test_what_was_decided_is_written_once_though_nobody_waits(
    world: World, password: str, localpart: str, expected: object
) -> None:
    await cut_off(world, password, localpart)
    assert world.trail.entries == []

    assert await told(world, 1) == [expected]
    assert world.trail.entries[0].source_ip == "192.0.2.1"


async def test_what_could_not_be_found_out_is_written_once_though_nobody_waits(
    world: World,
) -> None:
    await cut_off(world, "wrong")
    world.hasher.fail_next = 1

    assert await told(world, 1) == [("no_answer_Overloaded", "alice", _UNHEARD)]
    assert await world.failures() == 0


async def test_each_of_those_who_shared_a_hash_has_an_entry_and_those_who_left_say_so(
    world: World,
) -> None:
    world.hasher.pause = asyncio.Event()
    first, second, third = (asyncio.create_task(world.check(RIGHT)) for _ in range(3))
    await world.hashes(1)
    for each in (first, third):
        each.cancel()
    await asyncio.gather(first, third, return_exceptions=True)

    told_of = await told(world, 3)

    assert isinstance(await second, Accepted)
    assert [outcome for outcome, *_ in told_of] == ["accepted"] * 3
    assert sorted(str(details) for *_, details in told_of) == ["{'heard': False}"] * 2 + ["{}"]


async def test_at_the_end_what_goes_on_is_waited_for(world: World) -> None:
    await cut_off(world, RIGHT)
    asyncio.get_running_loop().call_later(0.01, world.hasher.pause.set)  # type: ignore[union-attr]

    await world.guard.finish(seconds=_PATIENCE)

    assert [_short(entry) for entry in world.trail.entries] == [("accepted", "alice", _UNHEARD)]


async def test_at_the_end_what_goes_on_for_too_long_is_given_up_and_written(world: World) -> None:
    """It stays paid for: nobody knows whether the guess was wrong."""
    await cut_off(world, "wrong")

    await world.guard.finish(seconds=0.01)

    entries = [_short(entry) for entry in world.trail.entries]
    assert entries == [("no_answer_CancelledError", "alice", _UNHEARD)]
    assert await world.failures() == 1


async def test_the_end_takes_no_time_when_nothing_goes_on(world: World) -> None:
    await world.check(RIGHT)

    async with asyncio.timeout(_PATIENCE):
        await world.guard.finish(seconds=1000)

    assert len(world.trail.entries) == 1


async def test_work_that_was_ended_because_it_did_not_end_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lalepass_service.core.guard._LONGEST_SECONDS", 0.01)
    world.hasher.pause = asyncio.Event()
    with pytest.raises(NoAnswer):
        await world.check("wrong")

    assert [_short(entry) for entry in world.trail.entries] == [("no_answer_NoAnswer", "alice", {})]
