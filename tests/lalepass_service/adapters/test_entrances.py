"""What every way into a check does, by the same tests: in memory, in SQLite in one trip or two."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from lalepass_service.adapters.entrance import StagedEntrance
from lalepass_service.adapters.keys import NullVault
from lalepass_service.adapters.memory import MemorySoftLocks, MemoryUsers
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.entrance import SqlEntrance, SqlLookup
from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import StoreUnavailable, Throttled
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import Credentials, PasswordRecord, UserId
from lalepass_service.core.ports import Entrance, SoftLocks, Users
from lalepass_service.core.softlock import Bid, Lane
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing
from tests.lalepass_service.adapters.databases import fresh, opened
from tests.lalepass_service.adapters.valkey.house import in_shared_valkey
from tests.lalepass_service.paying import debit

pytestmark = pytest.mark.anyio

ALICE = a_user("alice", emails=("alice@example.org",), phones=("491701234567",))
BOB = a_user("bob", emails=("bob@example.org",))
EVERY_NAME: list[Identifier] = [
    ByLocalpart("alice"),
    ByEmail("alice@example.org"),
    ByPhone("491701234567"),
]
NOBODY: list[Identifier] = [
    ByLocalpart("nobody"),
    ByLocalpart(""),
    ByEmail("nobody@example.org"),
    ByPhone("49170999"),
]
RECORD = PasswordRecord("$some$record")


@dataclass
class House:
    """An entrance, and what is behind it."""

    entrance: Entrance
    users: Users
    locks: SoftLocks

    async def enter(
        self, identifier: Identifier, guess: int = 1, *, near: str = "0", pay: bool = True
    ) -> tuple[Credentials | None, bool | None]:
        """Return what was read, and whether the ticket is a paid one."""
        read: list[Credentials | None] = []

        def bid(credentials: Credentials | None) -> Bid | None:
            read.append(credentials)
            account = credentials.user.id if credentials else "0:nobody"
            bid = Bid(account=account, guess=guess.to_bytes(16), source=b"")
            return bid if pay else None

        ticket = await self.entrance.enter(identifier, bid=bid, near=near, now=NOW)
        return read[-1], ticket.paid if ticket else None


@pytest.fixture(
    params=["memory", "sqlite", "sqlite, staged", "postgresql, staged", "sqlite, valkey"]
)
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    if request.param == "memory":
        memory, lanes = MemoryUsers(), MemorySoftLocks()
        await _settle(memory)
        yield House(StagedEntrance(memory, lanes), memory, lanes)
        return
    kind, _, staged = request.param.partition(", ")
    async with opened(fresh(kind, request, tmp_path)) as at:
        users = SqlUsers(at.database, reads=at.hot)
        await _settle(users)
        if staged == "valkey":
            async with in_shared_valkey(request.getfixturevalue("valkey_url")) as shared:
                yield House(StagedEntrance(SqlLookup(at.hot, users), shared), users, shared)
            return
        locks = SqlSoftLocks(at.hot)
        lookup = SqlLookup(at.hot, users)
        entrance = StagedEntrance(lookup, locks) if staged else SqlEntrance(at.hot, users)
        yield House(entrance, users, locks)


async def _settle(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await users.add(BOB, None, reuse_name=False, act=ACT)


@pytest.mark.parametrize("identifier", EVERY_NAME, ids=repr)
async def test_an_account_is_found_by_every_name_and_paid_for(
    house: House, identifier: Identifier
) -> None:
    read, paid = await house.enter(identifier)

    assert read == await house.users.credentials(identifier)
    assert read is not None
    assert read.user.id == ALICE.id
    assert read.record == RECORD
    assert paid is True
    assert await house.locks.lanes(ALICE.id) == (Lane(failures=1, ring=((1).to_bytes(16),)),)


@pytest.mark.parametrize("near", ["", "0", "9", "f", "zzzz"])
@pytest.mark.parametrize("identifier", NOBODY, ids=repr)
async def test_a_name_that_nobody_has_is_nobody_whoever_is_looked_at_instead(
    house: House, identifier: Identifier, near: str
) -> None:
    assert await house.enter(identifier, near=near) == (None, True)

    assert len(await house.locks.lanes("0:nobody")) == 1
    assert await house.locks.lanes(ALICE.id) == ()
    assert await house.locks.lanes(BOB.id) == ()


async def test_where_nobody_is_at_all_a_name_is_nobody(house: House) -> None:
    for user in (ALICE, BOB):
        await house.users.delete(user.id, now=standing(NOW), act=ACT)

    assert await house.enter(ByLocalpart("alice")) == (None, True)


async def test_an_account_without_a_password_is_found(house: House) -> None:
    read, _ = await house.enter(ByLocalpart("bob"))

    assert read is not None
    assert (read.user.id, read.record) == (BOB.id, None)


async def test_the_budget_is_that_of_the_locks(house: House) -> None:
    for number in range(3):
        await house.enter(ByLocalpart("alice"), number)
    assert await house.enter(ByLocalpart("bob"), 0) is not None

    with pytest.raises(Throttled) as throttled:
        await house.enter(ByEmail("alice@example.org"), 4)
    assert throttled.value.retry_after == 1
    locks = house.locks
    later = NOW + timedelta(seconds=1)
    assert (await debit(locks, ALICE.id, source=b"", guess=b"x" * 16, now=later)).paid


async def test_the_same_guess_costs_once(house: House) -> None:
    assert (await house.enter(ByLocalpart("alice")))[1] is True
    assert (await house.enter(ByLocalpart("alice")))[1] is False


async def test_without_a_bid_nothing_is_paid(house: House) -> None:
    read, paid = await house.enter(ByLocalpart("alice"), pay=False)

    assert read is not None
    assert paid is None
    assert await house.locks.lanes(ALICE.id) == ()


@pytest.mark.parametrize("staged", [False, True])
async def test_a_record_that_does_not_open_is_told_and_not_raised(
    tmp_path: Path, *, staged: bool
) -> None:
    path = tmp_path / "lalepass.db"
    upgrade(path)
    database, hot = Database.open(path), HotPath.open(path)
    users = SqlUsers(database, reads=hot)
    await _settle(users)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE passwords SET phc = '$lpw$v=1,k=gone$AAAA'")
    locks = SqlSoftLocks(hot)
    two_trips = StagedEntrance(SqlLookup(hot, users), locks)
    house = House(two_trips if staged else SqlEntrance(hot, users), users, locks)

    read, paid = await house.enter(ByLocalpart("alice"))
    nobody, _ = await house.enter(ByLocalpart("nobody"))

    assert read is not None
    assert read.record is None
    assert read.fault is not None
    assert "gone" in read.fault
    assert paid is True
    assert nobody is None
    await hot.close()
    await database.close()


@pytest.mark.parametrize("failing", ["the look-up", "the locks"])
async def test_a_store_that_does_not_answer_is_no_answer(failing: str) -> None:
    """And what was not found is not paid for."""
    locks = MemorySoftLocks()
    wanted = Bid(account=ALICE.id, guess=b"g" * 16, source=b"")

    class Accounts:
        async def look_up(self, identifier: Identifier, *, near: str) -> None:
            del identifier, near
            if failing == "the look-up":
                raise StoreUnavailable

    if failing == "the locks":
        locks.failure = StoreUnavailable()
    entrance: Entrance = StagedEntrance(Accounts(), locks)

    with pytest.raises(StoreUnavailable):
        await entrance.enter(ByLocalpart("alice"), bid=lambda _: wanted, near="0", now=NOW)

    locks.failure = None
    assert await locks.lanes(ALICE.id) == ()


class Counting(NullVault):
    """Notes whose records are opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[UserId] = []

    def open(self, stored: str, *, user_id: UserId) -> str:
        self.opened.append(user_id)
        return super().open(stored, user_id=user_id)


@pytest.mark.parametrize("kind", ["sqlite", "sqlite, staged", "postgresql, staged"])
@pytest.mark.parametrize("near", ["0", "id-alice", "id-b", "zzzz"])
async def test_who_has_no_record_takes_the_time_to_open_one(
    kind: str, near: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """To unwrap a record is a part of the time that everybody's check takes."""
    name, _, staged = kind.partition(", ")
    async with opened(fresh(name, request, tmp_path)) as at:
        vault = Counting()
        users = SqlUsers(at.database, vault, at.hot)
        await _settle(users)
        locks, lookup = SqlSoftLocks(at.hot), SqlLookup(at.hot, users)
        entrance = StagedEntrance(lookup, locks) if staged else SqlEntrance(at.hot, users)
        house = House(entrance, users, locks)

        for identifier in (*EVERY_NAME, ByLocalpart("bob"), ByEmail("bob@example.org"), *NOBODY):
            vault.opened.clear()
            read, _ = await house.enter(identifier, near=near)
            assert vault.opened == [ALICE.id], identifier
            assert (read is None or read.record is None) == (identifier not in EVERY_NAME)
            await locks.forget("0:nobody")
            await locks.forget(ALICE.id)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql, staged"])
async def test_the_second_record_is_not_beside_the_account_that_is_read_instead(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Or it would be read from pages that are in memory already, where nobody has the name."""
    name, _, staged = kind.partition(", ")
    async with opened(fresh(name, request, tmp_path)) as at:
        vault = Counting()
        users = SqlUsers(at.database, vault, at.hot)
        await _settle(users)
        await users.add(a_user("carol"), RECORD, reuse_name=False, act=ACT)
        locks, lookup = SqlSoftLocks(at.hot), SqlLookup(at.hot, users)
        entrance = StagedEntrance(lookup, locks) if staged else SqlEntrance(at.hot, users)
        house = House(entrance, users, locks)

        # Bob's account, who has no password, and from behind not that of Carol, who comes next.
        await house.enter(ByLocalpart("nobody"), near="id-b")
        assert vault.opened == [ALICE.id]

        vault.opened.clear()
        await house.enter(ByLocalpart("bob"), near="b-di")
        assert vault.opened == [a_user("carol").id]


async def test_what_is_opened_for_the_time_alone_may_not_open(tmp_path: Path) -> None:
    path = tmp_path / "lalepass.db"
    upgrade(path)
    async with opened(path) as at:
        users = SqlUsers(at.database, reads=at.hot)
        await _settle(users)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE passwords SET phc = '$lpw$v=1,k=gone$AAAA'")
        house = House(SqlEntrance(at.hot, users), users, SqlSoftLocks(at.hot))

        read, _ = await house.enter(ByLocalpart("bob"))

        assert read is not None
        assert (read.record, read.fault) == (None, None)
