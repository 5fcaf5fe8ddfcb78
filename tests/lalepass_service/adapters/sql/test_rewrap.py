"""Records that move from key to key, while others change them and somebody pulls the plug."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Row, select, text, update

from lalepass_service.adapters.keys import KeyVault, NullVault
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.rewrap import Progress, Rewrap, retire
from lalepass_service.adapters.sql.tables import passwords
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.audit import Entry, Event
from lalepass_service.core.model import PasswordRecord, UserId
from tests.lalepass_service.accounts import ACT, NOW, a_user
from tests.lalepass_service.adapters.killing import Nursery, rounds
from tests.lalepass_service.adapters.sql.site import BEGUN, PEOPLE, UNCHANGED, Site

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("batch", [1, 7, 60, 1000])
async def test_all_records_move_to_the_active_key(site: Site, batch: int) -> None:
    await site.settle()
    _, new = site.rotate()
    seen: list[int] = []
    work = site.rewrap(batch=batch)

    assert await work.pending() == len(PEOPLE)
    done = await work.run(lambda progress: seen.append(progress.seen))

    assert done == Progress(moved=len(PEOPLE))
    assert seen == [min(n, 60) for n in range(batch, 60 + batch, batch)]
    assert await work.pending() == 0
    assert await site.keys_in_use() == {new}
    assert await site.records() == UNCHANGED


async def test_records_from_before_there_were_keys_move_too(site: Site) -> None:
    await site.settle(NullVault())
    assert await site.keys_in_use() == {None}
    assert await site.records() == UNCHANGED

    await site.rewrap().run(lambda _: None)

    assert await site.keys_in_use() == {site.directory.load().active}
    assert await site.records() == UNCHANGED


async def test_moving_a_record_is_no_change_of_the_password(site: Site) -> None:
    await site.settle()
    site.rotate()
    async with site.database.write() as connection:
        await connection.execute(
            update(passwords).values(must_change=True, normal_form="nfkc", expires_at=NOW)
        )
    before = await site.users.page(after=None, limit=99, state=None)
    await site.rewrap().run(lambda _: None)

    assert await site.users.page(after=None, limit=99, state=None) == before
    async with site.database.read() as connection:
        for row in await connection.execute(select(passwords)):
            assert (row.must_change, row.normal_form, row.expires_at) == (True, "nfkc", NOW)


async def test_there_is_nothing_to_do_twice(site: Site) -> None:
    await site.settle()
    site.rotate()
    await site.rewrap().run(lambda _: None)

    assert await site.rewrap().run(lambda _: None) == Progress()


async def test_that_it_has_begun_is_written_with_the_first_record_that_moves(site: Site) -> None:
    await site.settle()
    already = len(await site.events())
    copies: list[Entry] = []
    await site.rewrap(copy=copies.append).run(lambda _: None)
    assert (await site.events())[already:] == []
    assert copies == []

    site.rotate()
    seen: list[list[str]] = []

    async def run() -> None:
        work = site.rewrap(copy=copies.append)
        await work.run(lambda _: seen.append([entry.event for entry in copies]))

    await run()
    await run()
    assert (await site.events())[already:] == [Event.KEYS_REWRAP_BEGUN]
    assert copies == [BEGUN]
    assert seen == [[Event.KEYS_REWRAP_BEGUN]] * 9


async def test_where_nothing_could_be_moved_nothing_has_begun(site: Site) -> None:
    await site.settle()
    site.rotate()
    already = await site.events()
    async with site.database.write() as connection:
        await connection.execute(text("UPDATE passwords SET phc = phc || 'AAAA'"))

    assert await site.rewrap().run(lambda _: None) == Progress(unreadable=60)
    assert await site.events() == already


class Interrupted(Exception):
    """Somebody presses Ctrl-C."""


async def test_it_goes_on_where_it_was_interrupted(site: Site) -> None:
    await site.settle()
    site.rotate()

    def interrupt(progress: Progress) -> None:
        if progress.seen >= 20:
            raise Interrupted

    with pytest.raises(Interrupted):
        await site.rewrap().run(interrupt)
    assert await site.records() == UNCHANGED
    assert await site.rewrap().run(lambda _: None) == Progress(moved=60 - 21)


async def test_a_damaged_record_stays_and_is_counted(site: Site) -> None:
    await site.settle()
    site.rotate()
    owner = a_user(PEOPLE[30]).id
    async with site.database.write() as connection:
        await connection.execute(
            text("UPDATE passwords SET phc = phc || 'AAAA' WHERE user_id = :owner"),
            {"owner": owner},
        )

    assert await site.rewrap().run(lambda _: None) == Progress(moved=59, unreadable=1)
    assert await site.rewrap().pending() == 1


async def test_a_password_that_is_changed_meanwhile_stays_changed(site: Site) -> None:
    await site.settle()
    site.rotate()

    class Meddled(Rewrap):
        """Everybody changes the password between the look and the swap."""

        async def _next(self, after: str) -> Sequence[Row[str, str]]:
            rows = await super()._next(after)
            for row in rows:
                record = PasswordRecord("$new$")
                await site.users.set_password(UserId(row.user_id), record, changed_at=NOW, act=ACT)
            return rows

    work = Meddled(database=site.database, vault=site.vault, act=BEGUN, batch=7, pause=0)

    assert await work.run(lambda _: None) == Progress(changed=60)
    assert await site.records() == dict.fromkeys(PEOPLE, "$new$")


async def test_a_race_with_changes_loses_nothing(site: Site, path: Path) -> None:
    await site.settle()
    other = Database.open(path)
    changing = SqlUsers(other, KeyVault(site.directory))
    acknowledged = dict(UNCHANGED)
    done = asyncio.Event()

    async def change() -> None:
        number = 0
        while not done.is_set():
            number += 1
            name = PEOPLE[number * 7 % len(PEOPLE)]
            record = PasswordRecord(f"${name}-{number}$")
            moment = NOW + timedelta(seconds=number)
            assert await changing.set_password(a_user(name).id, record, changed_at=moment, act=ACT)
            acknowledged[name] = record.phc

    async def rotate() -> None:
        for _ in range(5):
            old, _ = site.rotate()
            while await site.rewrap().pending():
                await site.rewrap().run(lambda _: None)
            await retire(site.database, site.directory, old, act=ACT)
        done.set()

    await asyncio.gather(change(), rotate())
    await other.close()

    assert acknowledged != UNCHANGED
    assert await site.records() == acknowledged
    assert await site.keys_in_use() == {site.directory.load().active}
    assert len(site.directory.load().ids) == 1


_REWRAP = """
import asyncio
from pathlib import Path
from lalepass_service.adapters.keys import KeyDirectory, KeyVault
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.rewrap import Rewrap
from tests.lalepass_service.adapters.sql.site import BEGUN

def work(path):
    asyncio.run(rewrap(Path(path)))

async def rewrap(path):
    database = Database.open(path)
    vault = KeyVault(KeyDirectory(path.parent / "keys"))
    work = Rewrap(database=database, vault=vault, act=BEGUN, batch=3, pause=0)
    await work.run(lambda _: None)
    await database.close()
"""


@pytest.mark.timeout(600)
async def test_kill_9_leaves_no_half_wrapped_record_and_no_run_without_an_entry(
    site: Site, path: Path
) -> None:
    await site.settle()
    with Nursery(_REWRAP, path) as nursery:
        site.rotate()
        for delay in rounds(longest=await asyncio.to_thread(nursery.whole)):
            if not await site.rewrap().pending():
                site.rotate()
            before, begun = await site.rewrap().pending(), await site.begun()
            await asyncio.to_thread(nursery.kill_after, delay)
            assert await site.opened() == UNCHANGED
            # Each run that has moved anything stands in the trail, and no other does.
            moved = await site.rewrap().pending() < before
            assert await site.begun() == begun + moved
            assert await site.keys_in_use() <= site.directory.load().ids
        site.rotate()
        await asyncio.to_thread(nursery.whole)

    assert await site.keys_in_use() == {site.directory.load().active}
    assert await site.records() == UNCHANGED
