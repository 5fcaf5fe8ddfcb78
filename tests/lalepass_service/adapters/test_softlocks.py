"""What every keeper of lanes does, by the same tests: in memory, in SQLite, in Valkey."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from lalepass_service.adapters.memory import MemorySoftLocks
from lalepass_service.adapters.sql.audit import SqlTrail
from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.session import Session
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.audit import Entry
from lalepass_service.core.errors import Throttled
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import PasswordRecord
from lalepass_service.core.ports import SoftLocks
from lalepass_service.core.softlock import KNOWN_FOR, STOP_AT, Bid, Lane, Ticket
from tests.lalepass_service.accounts import ACT, NOW, a_user
from tests.lalepass_service.adapters.databases import fresh, opened
from tests.lalepass_service.adapters.valkey.house import in_shared_valkey, in_valkey
from tests.lalepass_service.paying import debit

pytestmark = pytest.mark.anyio

ALICE = a_user("alice")
HOME, ELSEWHERE, NOWHERE = b"h" * 16, b"e" * 16, b""
NAMES = 3
"""How many are kept that nobody has."""


@pytest.fixture(params=["memory", "sqlite", "postgresql", "valkey", "valkey, shared"])
async def locks(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SoftLocks]:
    if request.param == "memory":
        yield MemorySoftLocks(names_kept=NAMES)
        return
    if "valkey" in request.param:
        url = request.getfixturevalue("valkey_url")
        async with (in_shared_valkey if "shared" in request.param else in_valkey)(
            url, names_kept=NAMES
        ) as kept:
            yield kept
        return
    async with opened(fresh(request.param, request, tmp_path)) as at:
        await SqlUsers(at.database).add(ALICE, None, reuse_name=False, act=ACT)
        yield SqlSoftLocks(at.hot, names_kept=NAMES)


def guess(number: int) -> bytes:
    return number.to_bytes(16)


async def guess_wrong(
    locks: SoftLocks, times: int, *, source: bytes = NOWHERE, account: str = ALICE.id
) -> None:
    """Guess as often as said, each time as late as it takes."""
    now = NOW
    for number in range(times):
        now += timedelta(hours=2)
        await debit(locks, account, source=source, guess=guess(number), now=now)


async def test_three_guesses_are_free_and_the_fourth_has_to_wait(locks: SoftLocks) -> None:
    for number in range(3):
        await debit(locks, ALICE.id, source=NOWHERE, guess=guess(number), now=NOW)

    with pytest.raises(Throttled) as throttled:
        await debit(locks, ALICE.id, source=NOWHERE, guess=guess(3), now=NOW)
    assert throttled.value.retry_after == 1

    later = NOW + timedelta(seconds=1)
    await debit(locks, ALICE.id, source=NOWHERE, guess=guess(3), now=later)


async def test_the_same_wrong_password_costs_once(locks: SoftLocks) -> None:
    for _ in range(50):
        await debit(locks, ALICE.id, source=NOWHERE, guess=guess(1), now=NOW)

    assert await locks.lanes(ALICE.id) == (Lane(failures=1, ring=(guess(1),)),)


async def test_the_right_password_begins_anew(locks: SoftLocks) -> None:
    await guess_wrong(locks, 10)
    ticket = await debit(locks, ALICE.id, source=HOME, guess=guess(99), now=NOW + timedelta(days=2))

    locks.settle(ticket, user_id=ALICE.id, now=NOW + timedelta(days=2))

    assert await locks.lanes(ALICE.id) == ()


async def test_who_was_right_lately_is_not_held_up_by_strangers(locks: SoftLocks) -> None:
    ticket = await debit(locks, ALICE.id, source=HOME, guess=guess(1), now=NOW)
    locks.settle(ticket, user_id=ALICE.id, now=NOW)

    await guess_wrong(locks, STOP_AT, source=ELSEWHERE)
    much_later = NOW + KNOWN_FOR - timedelta(seconds=1)
    with pytest.raises(Throttled):
        await debit(locks, ALICE.id, source=ELSEWHERE, guess=guess(1000), now=much_later)

    known = await debit(locks, ALICE.id, source=HOME, guess=guess(1000), now=much_later)
    assert known.lane == HOME


async def test_a_source_is_forgotten_after_a_month(locks: SoftLocks) -> None:
    ticket = await debit(locks, ALICE.id, source=HOME, guess=guess(1), now=NOW)
    locks.settle(ticket, user_id=ALICE.id, now=NOW)

    stranger = await debit(locks, ALICE.id, source=HOME, guess=guess(2), now=NOW + KNOWN_FOR)

    assert stranger.lane == NOWHERE


async def test_a_wrong_password_makes_no_source_known(locks: SoftLocks) -> None:
    await guess_wrong(locks, 2, source=ELSEWHERE)

    ticket = await debit(
        locks, ALICE.id, source=ELSEWHERE, guess=guess(9), now=NOW + timedelta(days=1)
    )
    assert ticket.lane == NOWHERE


async def test_a_known_source_has_a_budget_too(locks: SoftLocks) -> None:
    ticket = await debit(locks, ALICE.id, source=HOME, guess=guess(1), now=NOW)
    locks.settle(ticket, user_id=ALICE.id, now=NOW)

    for number in range(3):
        await debit(locks, ALICE.id, source=HOME, guess=guess(number), now=NOW)

    with pytest.raises(Throttled):
        await debit(locks, ALICE.id, source=HOME, guess=guess(3), now=NOW)
    await debit(locks, ALICE.id, source=ELSEWHERE, guess=guess(3), now=NOW)


async def test_a_hundred_close_the_lane_until_it_is_unlocked(locks: SoftLocks) -> None:
    await guess_wrong(locks, STOP_AT)
    later = NOW + timedelta(days=3650)
    with pytest.raises(Throttled):
        await debit(locks, ALICE.id, source=NOWHERE, guess=guess(1000), now=later)

    assert await locks.unlock(ALICE.id, act=ACT, now=NOW)

    await debit(locks, ALICE.id, source=NOWHERE, guess=guess(1000), now=later)
    await locks.unlock(ALICE.id, act=ACT, now=NOW)
    assert not await locks.unlock(ALICE.id, act=ACT, now=NOW)


async def test_what_was_not_verified_is_given_back(locks: SoftLocks) -> None:
    await guess_wrong(locks, 5)
    before = await locks.lanes(ALICE.id)
    ticket = await debit(
        locks, ALICE.id, source=NOWHERE, guess=guess(99), now=NOW + timedelta(days=1)
    )

    await locks.give_back(ticket, now=NOW + timedelta(days=1))

    (lane,) = await locks.lanes(ALICE.id)
    assert (lane.failures, lane.ring) == (before[0].failures, before[0].ring)


async def test_a_repeated_guess_has_nothing_to_give_back(locks: SoftLocks) -> None:
    await guess_wrong(locks, 2)
    again = await debit(
        locks, ALICE.id, source=NOWHERE, guess=guess(1), now=NOW + timedelta(days=1)
    )

    await locks.give_back(again, now=NOW + timedelta(days=1))

    (lane,) = await locks.lanes(ALICE.id)
    assert lane.failures == 2
    assert not again.paid


async def test_a_repeated_guess_is_charged_once_its_debit_is_gone(locks: SoftLocks) -> None:
    paid = await debit(locks, ALICE.id, source=HOME, guess=guess(1), now=NOW)
    rider = await debit(locks, ALICE.id, source=ELSEWHERE, guess=guess(1), now=NOW)
    assert (paid.paid, rider.paid) == (True, False)

    await locks.charge(rider, now=NOW)
    (lane,) = await locks.lanes(ALICE.id)
    assert lane.failures == 1

    await locks.give_back(paid, now=NOW)
    await locks.charge(rider, now=NOW)
    (lane,) = await locks.lanes(ALICE.id)
    assert (lane.failures, lane.ring) == (1, (guess(1),))


async def test_accounts_do_not_share_a_budget(locks: SoftLocks) -> None:
    await guess_wrong(locks, 50)

    await debit(locks, "0:nobody", source=NOWHERE, guess=guess(1), now=NOW)


async def test_a_name_that_nobody_has_is_held_up_alike(locks: SoftLocks) -> None:
    for number in range(3):
        await debit(locks, "0:nobody", source=HOME, guess=guess(number), now=NOW)

    with pytest.raises(Throttled):
        await debit(locks, "0:nobody", source=HOME, guess=guess(3), now=NOW)


@pytest.mark.parametrize("account", [ALICE.id[:-1], ALICE.id + "0", "0:nobody", "zzzz"])
@pytest.mark.parametrize("source", [HOME, ELSEWHERE, NOWHERE, b"z" * 16])
async def test_a_known_source_is_one_only_of_its_account(
    locks: SoftLocks, account: str, source: bytes
) -> None:
    """Whose row comes first in the order of accounts and sources, or next."""
    right = await debit(locks, ALICE.id, source=HOME, guess=guess(1), now=NOW)
    locks.settle(right, user_id=ALICE.id, now=NOW)

    hers = await debit(locks, ALICE.id, source=source, guess=guess(2), now=NOW)
    theirs = await debit(locks, account, source=source, guess=guess(2), now=NOW)

    assert hers.lane == (HOME if source == HOME else NOWHERE)
    assert theirs.lane == NOWHERE


async def test_old_lanes_and_sources_are_swept(locks: SoftLocks) -> None:
    ticket = await debit(locks, ALICE.id, source=HOME, guess=guess(1), now=NOW)
    locks.settle(ticket, user_id=ALICE.id, now=NOW)
    assert await locks.lanes(ALICE.id) == ()
    await debit(locks, ALICE.id, source=HOME, guess=guess(2), now=NOW)

    assert await locks.sweep(before=NOW + timedelta(days=365)) == 2

    assert await locks.lanes(ALICE.id) == ()


@pytest.mark.parametrize("times", [6, STOP_AT])
async def test_a_month_does_not_tell_a_name_that_nobody_has_from_one_that_somebody_has(
    locks: SoftLocks, times: int
) -> None:
    for account in ("0:nobody", ALICE.id):
        await guess_wrong(locks, times, account=account)

    await locks.sweep(before=NOW + timedelta(days=3650))

    assert await locks.lanes("0:nobody") == await locks.lanes(ALICE.id) != ()


async def test_of_names_that_nobody_has_the_newest_are_kept(locks: SoftLocks) -> None:
    for hour in range(NAMES + 4):
        at = NOW + timedelta(hours=hour)
        await debit(locks, f"{hour}:nobody", source=NOWHERE, guess=guess(1), now=at)
    await debit(locks, ALICE.id, source=NOWHERE, guess=guess(1), now=NOW)

    # Those that were used since are kept as well.
    assert await locks.sweep(before=NOW) == 0
    assert await locks.sweep(before=NOW + timedelta(hours=NAMES)) == 0
    assert await locks.sweep(before=NOW + timedelta(hours=NAMES + 1)) == 1
    assert await locks.sweep(before=NOW + timedelta(days=365)) == 3

    kept = [hour for hour in range(NAMES + 4) if await locks.lanes(f"{hour}:nobody")]
    assert kept == [4, 5, 6]
    assert len(await locks.lanes(ALICE.id)) == 1
    assert await locks.sweep(before=NOW + timedelta(days=365)) == 0


async def test_what_was_used_at_the_very_moment_is_not_swept(locks: SoftLocks) -> None:
    ticket = await debit(locks, ALICE.id, source=HOME, guess=guess(1), now=NOW)
    locks.settle(ticket, user_id=ALICE.id, now=NOW)
    assert await locks.lanes(ALICE.id) == ()
    await debit(locks, ALICE.id, source=HOME, guess=guess(2), now=NOW)

    assert await locks.sweep(before=NOW) == 0
    assert await locks.sweep(before=NOW + timedelta(microseconds=1)) == 2


async def test_what_is_given_back_after_an_unlock_leaves_nothing(locks: SoftLocks) -> None:
    ticket = await debit(locks, ALICE.id, source=HOME, guess=guess(1), now=NOW)
    await locks.unlock(ALICE.id, act=ACT, now=NOW)

    await locks.give_back(ticket, now=NOW)

    assert await locks.lanes(ALICE.id) == ()
    assert not await locks.unlock(ALICE.id, act=ACT, now=NOW)


async def test_wrong_passwords_in_a_row_are_not_forgotten_by_waiting(locks: SoftLocks) -> None:
    """Else somebody could make 99 guesses a month for ever."""
    await guess_wrong(locks, STOP_AT - 1)

    await locks.sweep(before=NOW + timedelta(days=3650))

    (lane,) = await locks.lanes(ALICE.id)
    assert lane.failures == STOP_AT - 1


async def test_the_lane_of_a_source_goes_when_the_source_is_no_longer_known(
    locks: SoftLocks,
) -> None:
    ticket = await debit(locks, ALICE.id, source=HOME, guess=guess(1), now=NOW)
    locks.settle(ticket, user_id=ALICE.id, now=NOW)
    await debit(locks, ALICE.id, source=HOME, guess=guess(2), now=NOW)

    assert await locks.sweep(before=NOW + KNOWN_FOR) == 2
    assert await locks.lanes(ALICE.id) == ()


async def test_a_closed_lane_of_an_account_is_not_swept(locks: SoftLocks) -> None:
    await guess_wrong(locks, STOP_AT)

    await locks.sweep(before=NOW + timedelta(days=3650))

    (lane,) = await locks.lanes(ALICE.id)
    assert lane.closed


async def test_an_account_with_another_password_has_neither_lanes_nor_sources(
    locks: SoftLocks,
) -> None:
    ticket = await debit(locks, ALICE.id, source=HOME, guess=guess(1), now=NOW)
    locks.settle(ticket, user_id=ALICE.id, now=NOW)
    await guess_wrong(locks, 5)
    await guess_wrong(locks, 2, account="0:nobody")

    await locks.forget(ALICE.id)
    await locks.forget(ALICE.id)

    assert await locks.lanes(ALICE.id) == ()
    assert len(await locks.lanes("0:nobody")) == 1
    stranger = await debit(locks, ALICE.id, source=HOME, guess=guess(2), now=NOW)
    assert stranger.lane == NOWHERE


async def test_a_clock_that_was_ahead_holds_nobody_up_once_it_is_right(locks: SoftLocks) -> None:
    ahead = NOW + timedelta(days=1)
    for number in range(3):
        await debit(locks, ALICE.id, source=NOWHERE, guess=guess(number), now=ahead)

    with pytest.raises(Throttled) as throttled:
        await debit(locks, ALICE.id, source=NOWHERE, guess=guess(3), now=NOW)

    assert throttled.value.retry_after == 1
    later = NOW + timedelta(seconds=1)
    ticket = await debit(locks, ALICE.id, source=NOWHERE, guess=guess(3), now=later)
    assert ticket.paid
    (lane,) = await locks.lanes(ALICE.id)
    assert lane.failures == 4
    assert lane.not_before == later + timedelta(seconds=3)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_who_was_right_with_an_old_password_is_not_known_by_the_new_one(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """What is settled is written a moment later, and the password may have been reset meanwhile."""
    async with opened(fresh(kind, request, tmp_path)) as at:
        users, locks = SqlUsers(at.database), SqlSoftLocks(at.hot)
        await users.add(ALICE, PasswordRecord("$stolen$"), reuse_name=False, act=ACT)

        async def ticket(since: datetime) -> Ticket:
            bid = Bid(account=ALICE.id, guess=guess(1), source=HOME, since=since)
            paid = await locks.pay(bid, now=NOW)
            assert isinstance(paid, Ticket)
            return paid

        before = await ticket(ALICE.created_at)
        assert before.since == ALICE.created_at
        reset = NOW + timedelta(seconds=5)
        await users.set_password(ALICE.id, PasswordRecord("$new$"), changed_at=reset, act=ACT)
        locks.settle(before, user_id=ALICE.id, now=NOW)
        assert (await ticket(reset)).lane == NOWHERE

        locks.settle(await ticket(reset), user_id=ALICE.id, now=NOW)
        assert (await ticket(reset)).lane == HOME


@dataclass(frozen=True)
class Kept:
    """Accounts and lanes in one database, with Alice."""

    users: SqlUsers
    locks: SqlSoftLocks
    trail: SqlTrail
    copies: list[Entry]

    async def unlocked_at(self) -> datetime | None:
        user = await self.users.find(ByLocalpart("alice"))
        assert user is not None
        return user.unlocked_at


@pytest.fixture(params=["sqlite", "postgresql"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    async with opened(fresh(request.param, request, tmp_path)) as at:
        copies: list[Entry] = []
        locks = SqlSoftLocks(at.hot, copy=copies.append)
        kept = Kept(SqlUsers(at.database), locks, SqlTrail(at.hot), copies)
        await kept.users.add(ALICE, None, reuse_name=False, act=ACT)
        yield kept


async def test_an_unlock_is_a_fact_of_the_account(kept: Kept) -> None:
    assert await kept.unlocked_at() is None
    assert not await kept.locks.unlock(ALICE.id, act=ACT, now=NOW)
    assert await kept.unlocked_at() is None
    await guess_wrong(kept.locks, 3)

    assert await kept.locks.unlock(ALICE.id, act=ACT, now=NOW)

    assert await kept.unlocked_at() == NOW


async def test_an_unlock_is_written_down_for_lanes_that_are_elsewhere(kept: Kept) -> None:
    assert await kept.locks.note_unlock(ALICE.id, act=ACT, now=NOW) == NOW
    assert await kept.unlocked_at() == NOW
    # Whatever the clock says: the later one has to be in force.
    moment = timedelta(microseconds=1)
    assert await kept.locks.note_unlock(ALICE.id, act=None, now=NOW) == NOW + moment
    before = NOW - timedelta(days=1)
    assert await kept.locks.note_unlock(ALICE.id, act=ACT, now=before) == NOW + 2 * moment
    later = NOW + timedelta(days=1)
    assert await kept.locks.note_unlock(ALICE.id, act=ACT, now=later) == later

    assert await kept.unlocked_at() == later
    assert kept.copies == [ACT] * 3
    # One is of the account.
    assert [entry for _, entry in await kept.trail.entries()] == [ACT] * 4


async def test_nobody_is_unlocked_whose_account_is_gone(kept: Kept) -> None:
    assert await kept.locks.note_unlock("nobody", act=ACT, now=NOW) is None

    assert kept.copies == []
    assert [entry for _, entry in await kept.trail.entries()] == [ACT]


class CommittedTwice:
    """A way to a database of which the first answer is lost: what is written is written again."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hot, name)

    async def write(self, work: Callable[[Session], object]) -> object:
        await self._hot.write(work)
        return await self._hot.write(work)


async def test_an_unlock_that_is_done_again_says_that_it_has_unlocked(tmp_path: Path) -> None:
    path = tmp_path / "lalepass.db"
    upgrade(path)
    async with opened(path) as at:
        await SqlUsers(at.database).add(ALICE, None, reuse_name=False, act=ACT)
        copies: list[object] = []
        locks = SqlSoftLocks(cast("Hot", CommittedTwice(at.hot)), copy=copies.append)
        await guess_wrong(locks, 3)

        assert await locks.unlock(ALICE.id, act=ACT, now=NOW)

        assert copies == [ACT]
        entries = [entry for _, entry in await SqlTrail(at.hot).entries()]
        assert entries == [ACT, ACT]  # one of them is of the account
        assert not await locks.unlock(ALICE.id, act=ACT, now=NOW)
