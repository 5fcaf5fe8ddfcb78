from collections.abc import Callable
from datetime import timedelta

import pytest

from lalepass_service.adapters.memory import FixedClock, MemoryCallers
from lalepass_service.core.audit import Event
from lalepass_service.core.callers import CallerRegistry
from lalepass_service.core.errors import (
    CallerUnknown,
    InvalidInput,
    ScopeMissing,
    StoreUnavailable,
    TokenNotFound,
    TooManyTokens,
)
from lalepass_service.core.model import Caller, Scope
from tests.lalepass_service.accounts import ACT, BY, NOW

pytestmark = pytest.mark.anyio


@pytest.fixture
def callers() -> MemoryCallers:
    return MemoryCallers()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def registry(callers: MemoryCallers, clock: FixedClock) -> CallerRegistry:
    return CallerRegistry(callers=callers, clock=clock)


async def test_a_token_is_recognised(registry: CallerRegistry) -> None:
    made, token = await registry.create("synapse", [Scope.CHECK], by=BY)

    assert made == await registry.authenticate(token, Scope.CHECK)


async def test_a_new_token_is_what_was_asked_for(
    registry: CallerRegistry, callers: MemoryCallers, clock: FixedClock
) -> None:
    clock.time += timedelta(hours=1)
    made, token = await registry.create("synapse", [Scope.FEED, Scope.CHECK], by=BY)

    scopes = frozenset({Scope.CHECK, Scope.FEED})
    assert made == Caller(
        token_id=token.split("_")[1], name="synapse", scopes=scopes, created_at=clock.time
    )
    assert (await registry.all()) == (made,)
    details = {"token_id": made.token_id, "name": "synapse", "scopes": "check feed"}
    assert callers.acts == [BY.act(Event.TOKEN_CREATED, at=clock.time, details=details)]


async def test_that_a_token_was_revoked_stands_in_the_trail(
    registry: CallerRegistry, callers: MemoryCallers, clock: FixedClock
) -> None:
    made, _ = await registry.create("synapse", [Scope.CHECK], by=BY)
    clock.time += timedelta(hours=1)
    await registry.revoke(made.token_id, by=BY)

    details = {"token_id": made.token_id}
    assert callers.acts[1:] == [BY.act(Event.TOKEN_REVOKED, at=clock.time, details=details)]


async def test_the_random_bytes_are_enough_and_in_the_token(callers: MemoryCallers) -> None:
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    registry = CallerRegistry(callers=callers, clock=FixedClock(NOW), random_bytes=random_bytes)
    _, token = await registry.create("synapse", [Scope.CHECK], by=BY)

    # 256 bits that nobody can guess; the id is only to be another one each time.
    assert asked == [6, 32]
    assert token == "lalepass_000102030405_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert callers.acts[0].details["token_id"] == "000102030405"


async def test_no_more_tokens_are_remembered_than_there_is_room_for(
    callers: MemoryCallers, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lalepass_service.core.recognised._MAX", 2)
    seconds = Seconds()
    registry = CallerRegistry(callers=callers, clock=clock, seconds=seconds)
    tokens = [(await registry.create(f"hs-{n}", [Scope.CHECK], by=BY))[1] for n in range(3)]
    for token in tokens:
        await registry.authenticate(token, Scope.CHECK)
    callers.failure = StoreUnavailable()

    for token in tokens[:2]:
        await registry.authenticate(token, Scope.CHECK)
    with pytest.raises(StoreUnavailable):
        await registry.authenticate(tokens[2], Scope.CHECK)
    # And room is made again for who is there already.
    seconds.now += 1
    callers.failure = None
    await registry.authenticate(tokens[0], Scope.CHECK)
    callers.failure = StoreUnavailable()
    await registry.authenticate(tokens[0], Scope.CHECK)


async def test_the_token_itself_is_not_stored(
    registry: CallerRegistry, callers: MemoryCallers
) -> None:
    made, token = await registry.create("synapse", [Scope.CHECK], by=BY)

    stored = repr(await callers.find(made.token_id))

    assert token.rpartition("_")[2] not in stored


async def test_no_two_tokens_are_alike(registry: CallerRegistry) -> None:
    _, first = await registry.create("synapse", [Scope.CHECK], by=BY)
    _, second = await registry.create("synapse", [Scope.CHECK], by=BY)

    assert first != second


async def test_a_token_is_good_for_its_scopes_only(registry: CallerRegistry) -> None:
    _, token = await registry.create("synapse", [Scope.CHECK], by=BY)

    with pytest.raises(ScopeMissing):
        await registry.authenticate(token, Scope.FEED)


FORGERIES: dict[str, Callable[[str], str]] = {
    "nothing": lambda _: "",
    "a scheme": lambda _: "Bearer",
    "a lone surrogate": lambda _: "\ud800",
    "100 kB": lambda _: "x" * 100_000,
    "a line feed behind": lambda token: token + "\n",
    "a blank in front": lambda token: " " + token,
    "one character short": lambda token: token[:-1],
    "in capitals": lambda token: token.upper(),
    "the id without the secret": lambda token: token[:22] + "A" * 43,
    "the secret without the id": lambda token: "lalepass_000000000000" + token[21:],
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
async def test_anything_else_is_unknown(
    registry: CallerRegistry, forge: Callable[[str], str]
) -> None:
    _, token = await registry.create("synapse", [Scope.CHECK], by=BY)

    with pytest.raises(CallerUnknown):
        await registry.authenticate(forge(token), Scope.CHECK)


async def test_a_revoked_token_is_unknown_and_stays_listed(
    registry: CallerRegistry, clock: FixedClock
) -> None:
    made, token = await registry.create("synapse", [Scope.CHECK], by=BY)
    clock.time += timedelta(hours=1)
    await registry.revoke(made.token_id, by=BY)
    clock.time += timedelta(hours=1)
    await registry.revoke(made.token_id, by=BY)

    with pytest.raises(CallerUnknown):
        await registry.authenticate(token, Scope.CHECK)
    (listed,) = await registry.all()
    assert listed.revoked_at == NOW + timedelta(hours=1)


async def test_a_rotation_has_room_for_two(registry: CallerRegistry) -> None:
    oldest, _ = await registry.create("synapse", [Scope.CHECK], by=BY)
    await registry.create("synapse", [Scope.CHECK], by=BY)

    with pytest.raises(TooManyTokens):
        await registry.create("synapse", [Scope.CHECK], by=BY)
    await registry.create("another", [Scope.CHECK], by=BY)
    await registry.revoke(oldest.token_id, by=BY)
    await registry.create("synapse", [Scope.CHECK], by=BY)


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "x" * 65, "a\n", "\ud800"])
async def test_an_odd_name_gets_no_token(registry: CallerRegistry, name: str) -> None:
    with pytest.raises(InvalidInput):
        await registry.create(name, [Scope.CHECK], by=BY)


async def test_a_token_without_a_scope_is_not_made(
    registry: CallerRegistry, callers: MemoryCallers
) -> None:
    with pytest.raises(InvalidInput):
        await registry.create("synapse", [], by=BY)

    assert await callers.all() == ()


async def test_what_does_not_exist_is_not_revoked(registry: CallerRegistry) -> None:
    with pytest.raises(TokenNotFound):
        await registry.revoke("000000000000", by=BY)


async def test_a_store_without_an_answer_does_not_make_a_caller_unknown(
    registry: CallerRegistry, callers: MemoryCallers
) -> None:
    _, token = await registry.create("synapse", [Scope.CHECK], by=BY)
    callers.failure = StoreUnavailable()

    with pytest.raises(StoreUnavailable):
        await registry.authenticate(token, Scope.CHECK)


class Seconds:
    """A clock that counts up when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_token_is_looked_up_once_a_second(
    callers: MemoryCallers, clock: FixedClock
) -> None:
    seconds = Seconds()
    registry = CallerRegistry(callers=callers, clock=clock, seconds=seconds)
    _, token = await registry.create("synapse", [Scope.CHECK], by=BY)
    await registry.authenticate(token, Scope.CHECK)

    callers.failure = StoreUnavailable()
    seconds.now += 0.99
    await registry.authenticate(token, Scope.CHECK)
    with pytest.raises(ScopeMissing):
        await registry.authenticate(token, Scope.FEED)
    seconds.now = 101.0
    with pytest.raises(StoreUnavailable):
        await registry.authenticate(token, Scope.CHECK)


async def test_a_token_that_another_process_revokes_lives_for_a_second(
    callers: MemoryCallers, clock: FixedClock
) -> None:
    seconds = Seconds()
    here, there = (CallerRegistry(callers=callers, clock=clock, seconds=seconds) for _ in range(2))
    made, token = await here.create("synapse", [Scope.CHECK], by=BY)
    await here.authenticate(token, Scope.CHECK)
    await there.authenticate(token, Scope.CHECK)

    await there.revoke(made.token_id, by=BY)

    with pytest.raises(CallerUnknown):
        await there.authenticate(token, Scope.CHECK)
    # The other one may still believe in it, but not for longer, however often it is asked.
    for _ in range(9):
        seconds.now += 0.1
        await here.authenticate(token, Scope.CHECK)
    seconds.now += 0.2
    with pytest.raises(CallerUnknown):
        await here.authenticate(token, Scope.CHECK)


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_remembered_token_makes_no_forgery_good(
    registry: CallerRegistry, forge: Callable[[str], str]
) -> None:
    _, token = await registry.create("synapse", [Scope.CHECK], by=BY)
    await registry.authenticate(token, Scope.CHECK)

    with pytest.raises(CallerUnknown):
        await registry.authenticate(forge(token), Scope.CHECK)
    await registry.authenticate(token, Scope.CHECK)


async def test_a_token_that_is_no_good_is_not_remembered(
    registry: CallerRegistry, callers: MemoryCallers
) -> None:
    made, token = await registry.create("synapse", [Scope.CHECK], by=BY)
    await callers.revoke(made.token_id, at=NOW, act=ACT)
    for _ in range(2):
        with pytest.raises(CallerUnknown):
            await registry.authenticate(token, Scope.CHECK)
    callers.failure = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await registry.authenticate(token, Scope.CHECK)
