"""The feed as a homeserver asks for it. What the stores do is in `adapters/test_feed.py`."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from lalepass_service.core.model import UserId, UserState
from lalepass_wire import limits, paths
from lalepass_wire.feed import AccountState, Changes
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing
from tests.lalepass_service.http.feeding import START, WIDE, ask, locked, somebody_waits
from tests.lalepass_service.http.world import World, assert_problem

pytestmark = pytest.mark.anyio


async def test_an_account_is_told_as_it_is_now(follower: httpx.AsyncClient, world: World) -> None:
    for state in (UserState.DISABLED, UserState.ACTIVE):
        await world.users.set_state(UserId("id-alice"), state, act=ACT)

    told = await ask(follower)

    gone, alice = told.accounts
    assert (gone.localpart, gone.state) == ("gone", AccountState.DISABLED)
    assert alice.model_dump() == {
        "id": "id-alice",
        "localpart": "alice",
        "state": AccountState.ACTIVE,
        "display_name": "Alice",
        "emails": ("alice@example.org",),
        "phones": ("491701234567",),
        "admin": True,
    }
    assert not told.more
    assert (await ask(follower, told.cursor)).accounts == ()


async def test_nothing_but_the_name_is_told_of_a_deleted_account(
    follower: httpx.AsyncClient, world: World
) -> None:
    await world.users.delete(UserId("id-alice"), now=standing(NOW), act=ACT)

    alice = (await ask(follower)).accounts[-1]

    assert alice.model_dump(exclude_defaults=True) == {
        "id": "id-alice",
        "localpart": "alice",
        "state": AccountState.DELETED,
    }


async def test_pages_follow_one_another_to_the_end(
    follower: httpx.AsyncClient, world: World
) -> None:
    for number in range(5):
        await world.users.add(
            a_user(f"user-{number}", state=UserState.DISABLED), None, reuse_name=False, act=ACT
        )

    seen, cursor, more = [], START, True
    while more:
        told = await ask(follower, cursor, limit=2)
        seen += [each.localpart for each in told.accounts]
        cursor, more = told.cursor, told.more

    assert seen == ["gone", *(f"user-{number}" for number in range(5))]
    assert (await ask(follower, cursor)).cursor == cursor


async def test_who_waits_is_told_of_a_change_when_it_comes(
    follower: httpx.AsyncClient, world: World
) -> None:
    cursor = (await ask(follower)).cursor
    waiting = asyncio.create_task(ask(follower, cursor, wait=20))
    await somebody_waits(world)

    await world.users.set_state(UserId("id-alice"), UserState.DISABLED, act=ACT)

    async with asyncio.timeout(15):
        told = await waiting
    assert [each.localpart for each in told.accounts] == ["alice"]


async def test_a_wait_in_vain_ends_with_nothing(follower: httpx.AsyncClient) -> None:
    cursor = (await ask(follower)).cursor

    told = await ask(follower, cursor, wait=0.05)

    assert (told.accounts, told.cursor, told.more) == ((), cursor, False)


async def test_a_wait_is_not_cut_off_by_the_deadline_of_a_request(world: World) -> None:
    async with world.follower(request_timeout=0.2) as client:
        cursor = (await ask(client)).cursor

        told = await ask(client, cursor, wait=0.8)

    assert told.accounts == ()


@pytest.mark.parametrize("wait", ["1e300", "9" * 300, str(limits.MAX_FEED_WAIT_SECONDS + 1)])
async def test_nobody_waits_longer_than_agreed(
    follower: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    asked: list[float] = []

    async def beyond(_seq: int, *, seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr(world.watch, "beyond", beyond)
    await ask(follower, (await ask(follower)).cursor, wait=wait)

    assert asked == [limits.MAX_FEED_WAIT_SECONDS]


@pytest.mark.parametrize(
    "cursor",
    ["other-0", "memor-0", "memory-2", f"memory-{'9' * 19}"],
    ids=["another database", "nearly this one", "ahead of the head", "ahead of all numbers"],
)
async def test_a_cursor_that_is_not_of_this_database_is_gone(
    follower: httpx.AsyncClient, cursor: str
) -> None:
    answer = await follower.get(paths.CHANGES, params={"after": cursor, "wait": 5})

    assert_problem(answer, 410, "cursor_unknown")


_ODD_QUESTIONS = {
    "no cursor": "",
    "an empty cursor": "after=",
    "half a cursor": "after=memory",
    "a cursor with a sign": "after=memory-+1",
    "a cursor below zero": "after=memory--1",
    "a cursor in capitals": "after=MEMORY-0",
    "a cursor with too many digits": f"after=memory-{'1' * 20}",
    "a cursor with a line feed": "after=memory-0%0A",
    "a cursor with a NUL": "after=memory-0%00",
    "a cursor in other digits": "after=memory-%D9%A1",
    "two cursors": "after=memory-0&after=memory-1",
    "a wait below zero": "after=memory-0&wait=-1",
    "nearly nothing below zero": "after=memory-0&wait=-1e-9",
    "a wait that is no number": "after=memory-0&wait=soon",
    "NaN": "after=memory-0&wait=NaN",
    "for ever": "after=memory-0&wait=Infinity",
    "for ever, in digits": "after=memory-0&wait=1e999",
    "an empty wait": "after=memory-0&wait=",
    "a limit of nothing": "after=memory-0&limit=0",
    "a limit below zero": "after=memory-0&limit=-1",
    "a limit that is too high": f"after=memory-0&limit={limits.MAX_CHANGES + 1}",
    "half a limit": "after=memory-0&limit=1.5",
    "a huge limit": f"after=memory-0&limit={'9' * 400}",
    "orders, perhaps": "after=memory-0&orders=maybe",
    "orders, twice": "after=memory-0&orders=true&orders=false",
    "something else": "after=memory-0&canary-7f3a=canary-7f3a",
    "bytes that are no text": "after=memory-0%FF",
}


@pytest.mark.parametrize("query", _ODD_QUESTIONS.values(), ids=_ODD_QUESTIONS.keys())
async def test_an_odd_question_is_malformed_and_is_not_repeated(
    follower: httpx.AsyncClient, query: str
) -> None:
    answer = await follower.get(f"{paths.CHANGES}?{query}")

    assert_problem(answer, 400, "malformed_request")
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "after=",
        "after=Alice",
        "after=%00",
        f"after={'a' * 253}",
        "limit=0",
        f"limit={limits.MAX_LOCKED_PAGE + 1}",
        "limit=many",
        "wait=1",
        "after=a&after=b",
    ],
)
async def test_an_odd_page_is_malformed(follower: httpx.AsyncClient, query: str) -> None:
    assert_problem(await follower.get(f"{paths.LOCKED}?{query}"), 400, "malformed_request")


async def test_the_locked_are_told_by_pages(follower: httpx.AsyncClient, world: World) -> None:
    await world.users.add(a_user("zoe", state=UserState.DISABLED), None, reuse_name=False, act=ACT)
    await world.users.delete(UserId("id-stale"), now=standing(NOW), act=ACT)

    first = await locked(follower, limit=2)
    second = await locked(follower, limit=2, after=first.localparts[-1])

    assert (first.localparts, first.more) == (("gone", "stale"), True)
    assert (second.localparts, second.more) == (("zoe",), False)
    assert (await ask(follower, first.cursor)).accounts == ()


async def test_the_largest_answer_is_within_the_limit(
    follower: httpx.AsyncClient, world: World
) -> None:
    """Names and addresses of the greatest length, of letters that take four bytes each."""
    for number in range(limits.MAX_CHANGES + 1):
        user = replace(
            a_user(f"{number:03}{'a' * (limits.MAX_LOCALPART_LENGTH - 3)}"),
            id=UserId(f"{number:064}"),
            emails=tuple(
                f"{number:03}{n:02}{WIDE * (limits.MAX_EMAIL_LENGTH - 7)}@x"
                for n in range(limits.MAX_EMAILS)
            ),
            phones=tuple(f"49{number:03}{n:010}" for n in range(limits.MAX_PHONES)),
            display_name=WIDE * limits.MAX_DISPLAY_NAME_LENGTH,
        )
        await world.users.add(user, None, reuse_name=False, act=ACT)
        await world.users.sign_out(user.id, now=standing(NOW), act=ACT)

    answer = await follower.get(paths.CHANGES, params={"after": START, "orders": True})

    assert len(answer.content) < limits.MAX_FEED_ANSWER_BYTES
    told = Changes.model_validate_json(answer.content)
    assert len(told.accounts) == limits.MAX_CHANGES
    assert len(told.sign_outs) == limits.MAX_ORDERS


async def test_an_account_with_too_many_addresses_is_told_alone(
    follower: httpx.AsyncClient, world: World
) -> None:
    """Nobody can make one any more; an older version let an import do so."""
    for name in ("a", "large", "z"):
        emails = tuple(f"{n}@{'x' * 200}" for n in range(1000)) if name == "large" else ()
        await world.users.add(
            a_user(name, emails=emails, state=UserState.DISABLED), None, reuse_name=False, act=ACT
        )

    seen, cursor, more = [], START, True
    while more:
        told = await ask(follower, cursor)
        seen.append([each.localpart for each in told.accounts])
        cursor, more = told.cursor, told.more

    assert seen == [["gone", "a"], ["large"], ["z"]]
