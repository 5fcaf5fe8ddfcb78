"""Tokens are looked up rarely, together, and behind everybody's back."""

import asyncio
from dataclasses import replace

import pytest

from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.model import Caller, Scope
from lalepass_service.core.recognised import RecognisedTokens, Stored
from tests.lalepass_service.accounts import NOW

pytestmark = pytest.mark.anyio

ID = "000102030405"
STORED: Stored = (
    Caller(token_id=ID, name="synapse", scopes=frozenset({Scope.CHECK}), created_at=NOW),
    b"digest",
)
REVOKED: Stored = (replace(STORED[0], revoked_at=NOW), STORED[1])


class Store:
    """Answers when it is told to, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.has: Stored | None = STORED
        self.failure: Exception | None = None
        self.free = asyncio.Event()
        self.free.set()
        self.now = 100.0
        self.tokens = RecognisedTokens(find=self.find, seconds=lambda: self.now)

    async def find(self, token_id: str) -> Stored | None:
        assert token_id == ID
        self.asked += 1
        found = self.has
        await self.free.wait()
        if self.failure:
            raise self.failure
        return found

    async def remembered(self) -> None:
        """Look it up, as who comes first does."""
        stored, looked = await self.tokens.look_up(ID)
        assert stored is not None
        self.tokens.remember(ID, stored, looked=looked)


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def store() -> Store:
    return Store()


async def test_those_who_come_together_share_one_look(store: Store) -> None:
    store.free.clear()
    asking = [asyncio.ensure_future(store.tokens.look_up(ID)) for _ in range(9)]
    await _settled()
    asking[0].cancel()
    await _settled()
    store.free.set()

    assert await asyncio.gather(*asking[1:]) == [(STORED, 100.0)] * 8
    assert store.asked == 1


async def test_those_who_come_together_share_no_answer_too(store: Store) -> None:
    store.failure = StoreUnavailable()
    for _ in range(2):
        told = await asyncio.gather(
            *(store.tokens.look_up(ID) for _ in range(3)), return_exceptions=True
        )
        assert [type(each) for each in told] == [StoreUnavailable] * 3
    assert store.asked == 2


async def test_nobody_joins_a_look_that_began_too_long_ago(store: Store) -> None:
    store.free.clear()
    first = asyncio.ensure_future(store.tokens.look_up(ID))
    await _settled()
    store.now += 1
    store.has = REVOKED
    second = asyncio.ensure_future(store.tokens.look_up(ID))
    await _settled()
    store.free.set()

    assert await first == (STORED, 100.0)
    assert await second == (REVOKED, 101.0)


async def test_nobody_waits_for_a_token_that_is_in_use(store: Store) -> None:
    await store.remembered()
    for _ in range(30):
        store.now += 0.3
        assert store.tokens.recall(ID) == STORED
        await _settled()

    # Nine seconds: it is looked up when half of the second is over, at the next use.
    assert store.asked == 1 + 30 // 2


async def test_it_counts_from_when_the_store_was_asked(store: Store) -> None:
    await store.remembered()
    store.free.clear()
    store.now += 0.5
    assert store.tokens.recall(ID) == STORED
    await _settled()
    store.now += 0.4
    store.free.set()
    await _settled()

    # Asked at 100.5, answered at 100.9.
    store.free.clear()
    store.now = 101.4
    assert store.tokens.recall(ID) == STORED
    store.now = 101.5
    assert store.tokens.recall(ID) is None


@pytest.mark.parametrize("now_has", [None, REVOKED, (STORED[0], b"another")], ids=str)
async def test_what_is_found_to_be_gone_is_forgotten_at_once(
    store: Store, now_has: Stored | None
) -> None:
    await store.remembered()
    store.has = now_has
    store.now += 0.5
    assert store.tokens.recall(ID) == STORED
    await _settled()

    assert store.tokens.recall(ID) is None


async def test_a_store_without_an_answer_is_asked_once_and_ends_nothing(store: Store) -> None:
    await store.remembered()
    store.failure = StoreUnavailable()
    for _ in range(4):
        store.now += 0.24
        assert store.tokens.recall(ID) == STORED
        await _settled()
    store.now += 0.24

    assert store.tokens.recall(ID) is None
    assert store.asked == 2


async def test_what_is_revoked_while_it_is_looked_up_is_not_remembered_again(store: Store) -> None:
    await store.remembered()
    store.free.clear()
    store.now += 0.5
    store.tokens.recall(ID)
    await _settled()

    store.tokens.forget(ID)
    store.has = REVOKED
    late = asyncio.ensure_future(store.tokens.look_up(ID))
    await _settled()
    store.free.set()

    # Nor does anybody get what was found before.
    assert await late == (REVOKED, 100.5)
    assert store.tokens.recall(ID) is None


async def test_at_the_end_a_look_may_be_cut_off(store: Store) -> None:
    await store.remembered()
    store.free.clear()
    store.now += 0.5
    store.tokens.recall(ID)
    await _settled()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    looks = [task for task in others if "_ask" in repr(task)]
    for task in looks:
        task.cancel()
    await _settled()

    assert len(looks) == 1
    assert store.tokens.recall(ID) == STORED
