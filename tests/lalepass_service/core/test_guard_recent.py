"""All that stands around a hash goes on when the hash is spared."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from lalepass_service.core.check import Accepted, Refusal, Refused
from lalepass_service.core.errors import Overloaded, StoreUnavailable, Throttled
from lalepass_service.core.identifiers import ByLocalpart, Identifier
from lalepass_service.core.model import Credentials, Password, User, UserId, UserState
from tests.lalepass_service.accounts import ACT, NOW, standing
from tests.lalepass_service.core.guarded import ALICE, EVERY_NAME, RIGHT, World

pytestmark = pytest.mark.anyio

SECONDS = 60
ID = UserId("id-alice")


@pytest.fixture
async def world() -> World:
    """A guard that remembers, and has been asked once."""
    world = World(remember=SECONDS)
    await world.settle()
    assert await world.check(RIGHT) == Accepted(await alice(world))
    assert world.hasher.calls == 1
    return world


async def alice(world: World) -> User:
    found = await world.users.find(ALICE)
    assert found is not None
    return found


async def test_the_same_password_again_is_not_hashed_again(world: World) -> None:
    for identifier in EVERY_NAME:
        outcome = await world.check(RIGHT, identifier)
        assert outcome == Accepted(await alice(world), from_cache=True)

    assert world.hasher.calls == 1


async def test_a_wrong_password_is_hashed_each_time_and_never_remembered(world: World) -> None:
    for count in range(2, 6):
        assert await world.check("wrong") == Refused(Refusal.CREDENTIALS)
        assert world.hasher.calls == count
    assert len(world.recent) == 1


async def test_a_name_that_nobody_has_is_not_remembered(world: World) -> None:
    for _ in range(3):
        assert await world.check(RIGHT, ByLocalpart("nobody")) == Refused(Refusal.CREDENTIALS)

    assert world.hasher.calls == 4
    assert len(world.recent) == 1


async def test_a_right_password_that_is_refused_is_not_remembered(world: World) -> None:
    for _ in range(3):
        assert await world.check(RIGHT, ByLocalpart("gone")) == Refused(Refusal.DISABLED)

    assert world.hasher.calls == 4
    assert len(world.recent) == 1


async def test_who_is_disabled_is_refused_at_once(world: World) -> None:
    await world.users.set_state(ID, UserState.DISABLED, act=ACT)
    assert await world.check(RIGHT) == Refused(Refusal.DISABLED)
    await world.users.set_state(ID, UserState.ACTIVE, act=ACT)

    assert await world.check(RIGHT) == Accepted(await alice(world))
    assert world.hasher.calls == 3


async def test_who_is_deleted_is_nobody_at_once(world: World) -> None:
    await world.users.delete(ID, now=standing(NOW), act=ACT)

    assert await world.check(RIGHT) == Refused(Refusal.CREDENTIALS)


async def test_an_old_password_is_wrong_at_once(world: World) -> None:
    record = await world.hasher.hash(Password("another one"))
    await world.users.set_password(ID, record, changed_at=NOW + timedelta(hours=1), act=ACT)

    assert await world.check(RIGHT) == Refused(Refusal.CREDENTIALS)
    assert await world.check("another one") == Accepted(await alice(world))


async def test_a_temporary_password_ends_in_time(world: World) -> None:
    record, end = await world.hasher.hash(Password(RIGHT)), world.clock.now() + timedelta(seconds=9)
    await world.users.set_password(ID, record, changed_at=NOW, expires_at=end, act=ACT)
    await world.check(RIGHT)
    world.later(seconds=8)
    assert await world.check(RIGHT) == Accepted(await alice(world), from_cache=True)
    world.later(seconds=1)

    calls = world.hasher.calls
    assert await world.check(RIGHT) == Refused(Refusal.CREDENTIALS)
    # A decoy, as for everybody who has no password.
    assert world.hasher.calls == calls + 1


async def test_a_password_that_has_to_be_changed_is_so_at_once(world: World) -> None:
    record = await world.hasher.hash(Password(RIGHT))
    await world.users.set_password(ID, record, changed_at=NOW, must_change=True, act=ACT)

    assert await world.check(RIGHT) == Refused(Refusal.PASSWORD_CHANGE_REQUIRED)


async def test_the_answer_is_of_the_account_as_it_is_now(world: World) -> None:
    await world.users.edit(ID, lambda user: replace(user, emails=("new@example.org",)), act=ACT)
    outcome = await world.check(RIGHT)

    assert isinstance(outcome, Accepted)
    assert not outcome.from_cache
    assert outcome.user.emails == ("new@example.org",)


async def test_who_has_to_wait_waits_and_a_hit_begins_anew(world: World) -> None:
    for number in range(3):
        await world.check(f"wrong {number}")
    with pytest.raises(Throttled):
        await world.check(RIGHT)
    world.later(seconds=1)

    assert await world.check(RIGHT) == Accepted(await alice(world), from_cache=True)
    assert await world.failures() == 0


async def test_a_hit_makes_its_source_known(world: World) -> None:
    await world.check(RIGHT, ip="192.0.2.1")
    for number in range(3):
        await world.check(f"wrong {number}", ip="198.51.100.9")

    with pytest.raises(Throttled):
        await world.check(RIGHT, ip="198.51.100.9")
    assert await world.check(RIGHT, ip="192.0.2.1") == Accepted(await alice(world), from_cache=True)


async def test_the_throttles_count_it(world: World) -> None:
    world.throttle.hits.clear()
    await world.check(RIGHT, ip="192.0.2.1")
    world.throttle.failure = Throttled(retry_after=7)

    with pytest.raises(Throttled):
        await world.check(RIGHT, ip="192.0.2.1")
    assert world.throttle.hits == [("192.0.2.1", "synapse")] * 2


async def test_what_can_not_be_paid_for_is_not_answered(world: World) -> None:
    world.locks.failure = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await world.check(RIGHT)

    world.locks.failure, world.users.failure = None, StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await world.check(RIGHT)


async def test_what_came_to_no_answer_is_not_remembered() -> None:
    world = World(remember=SECONDS)
    await world.settle()
    world.hasher.failure = Overloaded(retry_after=1)
    with pytest.raises(Overloaded):
        await world.check(RIGHT)

    assert len(world.recent) == 0


async def test_those_who_share_a_check_share_what_it_was(world: World) -> None:
    world.later(seconds=SECONDS)
    world.hasher.pause = asyncio.Event()
    asked = [asyncio.create_task(world.check(RIGHT)) for _ in range(5)]
    await world.hashes(2)
    world.hasher.pause.set()

    assert await asyncio.gather(*asked) == [Accepted(await alice(world))] * 5
    assert world.hasher.calls == 2


async def test_a_renewed_record_is_known_too() -> None:
    """What is remembered is the account as it is after the check, and not as it was before."""
    world = World(remember=SECONDS)
    await world.settle()
    old = world.hasher.stale(Password(RIGHT))
    await world.users.set_password(ID, old, changed_at=NOW, act=ACT)

    assert await world.check(RIGHT) == Accepted(await alice(world))
    assert await world.check(RIGHT) == Accepted(await alice(world), from_cache=True)


async def test_a_password_that_is_changed_during_the_hash_is_not_remembered(world: World) -> None:
    world.later(seconds=SECONDS)
    world.hasher.pause = asyncio.Event()
    asked = asyncio.create_task(world.check(RIGHT))
    await world.hashes(2)
    record = await world.hasher.hash(Password("another one"))
    await world.users.set_password(ID, record, changed_at=NOW + timedelta(hours=1), act=ACT)
    world.hasher.pause.set()

    assert await asked == Refused(Refusal.CREDENTIALS)
    assert len(world.recent) == 0


async def test_a_password_that_is_changed_during_a_hit_is_hashed(world: World) -> None:
    """The second look finds another record: then it is verified like any other."""
    record = await world.hasher.hash(Password("another one"))
    calls, look = world.hasher.calls, world.users.credentials

    async def change_behind(identifier: Identifier) -> Credentials | None:
        found = await look(identifier)
        await world.users.set_password(ID, record, changed_at=NOW + timedelta(hours=1), act=ACT)
        return found

    world.users.credentials = change_behind  # type: ignore[method-assign]

    assert await world.check(RIGHT) == Refused(Refusal.CREDENTIALS)
    assert world.hasher.calls == calls + 1


async def test_a_record_is_renewed_at_a_hit_if_there_was_no_room_before() -> None:
    world = World(remember=SECONDS)
    await world.settle()
    old = world.hasher.stale(Password(RIGHT))
    await world.users.set_password(ID, old, changed_at=NOW, act=ACT)
    world.hasher.full = True
    await world.check(RIGHT)
    world.hasher.full = False

    assert await world.check(RIGHT) == Accepted(await alice(world), from_cache=True)
    found = await world.users.credentials(ALICE)
    assert found is not None
    assert found.record == await world.hasher.hash(Password(RIGHT))


async def test_the_trail_says_where_the_answer_came_from(world: World) -> None:
    await world.check(RIGHT)
    await world.check("wrong")

    told = [(entry.outcome, dict(entry.details)) for entry in world.trail.entries]
    assert told == [
        ("accepted", {}),
        ("accepted", {"from_cache": True}),
        ("refused_credentials", {}),
    ]


async def test_no_print_has_a_secret(world: World) -> None:
    assert RIGHT not in repr(world.recent)
    assert RIGHT not in repr(vars(world.recent))
    assert "instant" not in repr(vars(world.recent))
