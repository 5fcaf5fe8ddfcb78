"""A key goes only when no record needs it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update

from lalepass_service.adapters.keys import KeyDirectory, KeyVault
from lalepass_service.adapters.sql.retired import refuse_retired, retired_keys
from lalepass_service.adapters.sql.rewrap import retire
from lalepass_service.adapters.sql.tables import passwords
from lalepass_service.core.audit import Event
from lalepass_service.core.errors import Conflict, NoAnswer, NotFound
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import PasswordRecord
from tests.lalepass_service.accounts import ACT, BY, NOW, a_user
from tests.lalepass_service.adapters.databases import fresh, opened
from tests.lalepass_service.adapters.sql.site import PEOPLE, UNCHANGED, Site

pytestmark = pytest.mark.anyio


async def test_a_key_is_retired_when_no_record_needs_it(site: Site) -> None:
    await site.settle()
    old, new = site.rotate()
    with pytest.raises(Conflict, match=f"{old}: 60"):
        await retire(site.database, site.directory, old, act=ACT)
    with pytest.raises(Conflict, match=f"{new} is the active one"):
        await retire(site.database, site.directory, new, act=ACT)
    with pytest.raises(NotFound):
        await retire(site.database, site.directory, "zzzz", act=ACT)
    await site.rewrap().run(lambda _: None)

    await retire(site.database, site.directory, old, act=ACT)

    assert site.directory.load().ids == {new}
    assert await site.records() == UNCHANGED


async def test_the_text_of_a_record_keeps_its_key_also_against_the_column(site: Site) -> None:
    await site.settle()
    old, new = site.rotate()
    async with site.database.write() as connection:
        await connection.execute(update(passwords).values(key_id=new))

    with pytest.raises(Conflict, match=f"{old}: 60"):
        await retire(site.database, site.directory, old, act=ACT)
    assert site.directory.has(old)


@dataclass(frozen=True)
class Two:
    """One database, and the folders of two machines, in the midst of a rotation on both."""

    here: Site
    there: Site
    old: str
    new: str


@pytest.fixture(params=["sqlite", "postgresql"])
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Two]:
    here, there = KeyDirectory(tmp_path / "here"), KeyDirectory(tmp_path / "there")
    old = here.add()
    new = here.add()
    shutil.copytree(here.path, there.path)
    async with opened(fresh(request.param, request, tmp_path)) as at:
        yield Two(
            Site(database=at.database, directory=here, vault=KeyVault(here)),
            Site(database=at.database, directory=there, vault=KeyVault(there)),
            old,
            new,
        )


async def test_nothing_is_stored_under_a_key_that_another_machine_has_retired(
    two: Two, caplog: pytest.LogCaptureFixture
) -> None:
    await two.here.settle()
    alice = a_user(PEOPLE[0]).id
    two.here.directory.promote(two.new)
    await two.here.rewrap().run(lambda _: None)
    await retire(two.here.database, two.here.directory, two.old, act=ACT)
    record = await record_of(two.there, PEOPLE[0])

    refused = f"the key {two.old} is retired"
    with pytest.raises(NoAnswer, match=refused):
        await two.there.users.set_password(alice, PasswordRecord("$new$"), changed_at=NOW, act=ACT)
    users = two.there.users
    for _ in range(2):
        with pytest.raises(NoAnswer, match=refused):
            await users.replace_record(alice, old=record, new=PasswordRecord("$new$"))
    # A login goes on without it and says nothing.
    assert [each.levelname for each in caplog.records if refused in each.message] == ["ERROR"]
    with pytest.raises(NoAnswer, match=refused):
        await two.there.users.add(a_user("zoe"), PasswordRecord("$zoe$"), reuse_name=False, act=ACT)
    with pytest.raises(NoAnswer, match=refused):
        await two.there.rewrap().run(lambda _: None)
    # All can log in there, and what was refused has left nothing.
    assert await two.there.records() == await two.here.records() == UNCHANGED
    assert await two.there.users.find(ByLocalpart("zoe")) is None

    two.there.directory.promote(two.new)
    assert await two.there.users.replace_record(alice, old=record, new=PasswordRecord("$new$"))
    await retire(two.there.database, two.there.directory, two.old, act=ACT)
    assert (await two.here.records())[PEOPLE[0]] == "$new$"
    assert await retired_keys(two.here.database) == {two.old}


@pytest.mark.parametrize("beside", [False, True])
async def test_a_record_that_another_machine_is_storing_keeps_its_key(
    two: Two, *, beside: bool
) -> None:
    """Also one that is renewed at a login, which is written beside others."""
    await two.here.settle()
    two.here.directory.promote(two.new)
    await two.here.rewrap().run(lambda _: None)
    alice = a_user(PEOPLE[0]).id
    async with two.there.database.write(beside=beside) as connection:
        sealed, key_id = two.there.vault.seal("$new$", user_id=alice)
        await refuse_retired(connection, key_id)
        retiring = asyncio.create_task(
            retire(two.here.database, two.here.directory, two.old, act=ACT)
        )
        await asyncio.sleep(0.2)
        await connection.execute(
            update(passwords).where(passwords.c.user_id == alice).values(phc=sealed, key_id=key_id)
        )
    with pytest.raises(Conflict, match=f"{two.old}: 1"):
        await retiring

    assert two.here.directory.has(two.old)
    assert await retired_keys(two.here.database) == set()
    assert (await two.here.records())[PEOPLE[0]] == "$new$"


async def record_of(site: Site, name: str) -> PasswordRecord:
    credentials = await site.users.credentials(ByLocalpart(name))
    assert credentials is not None
    assert credentials.record is not None
    return credentials.record


async def test_a_record_that_is_being_stored_keeps_its_key(site: Site) -> None:
    """A key is retired while a change is under way that has chosen it: one waits for the other."""
    await site.settle()
    old = site.directory.load().active
    chosen, go = asyncio.Event(), asyncio.Event()

    async def store() -> None:
        async with site.database.write() as connection:
            sealed, key_id = site.vault.seal("$new$", user_id=a_user(PEOPLE[0]).id)
            assert key_id == old
            chosen.set()
            await go.wait()
            await connection.execute(
                update(passwords)
                .where(passwords.c.user_id == a_user(PEOPLE[0]).id)
                .values(phc=sealed, key_id=key_id)
            )

    async def rotate() -> None:
        await chosen.wait()
        site.rotate()
        retiring = asyncio.create_task(retire(site.database, site.directory, old, act=ACT))
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(Conflict):
            await retiring

    await asyncio.gather(store(), rotate())

    assert (await site.records())[PEOPLE[0]] == "$new$"


async def test_nobody_waits_along_with_who_waits_for_the_folder(site: Site) -> None:
    """Neither those who store a password nor the loop."""
    await site.settle()
    old, new = site.rotate()
    await site.rewrap().run(lambda _: None)
    with site.directory.retiring(old):
        retiring = asyncio.create_task(retire(site.database, site.directory, old, act=ACT))
        changed = await site.users.set_password(
            a_user(PEOPLE[0]).id, PasswordRecord("$new$"), changed_at=NOW, act=ACT
        )
        assert changed
        assert not retiring.done()
    await retiring

    assert site.directory.load().ids == {new}


async def test_who_gives_up_waiting_leaves_the_folder_to_others(site: Site) -> None:
    await site.settle()
    old, new = site.rotate()
    with site.directory.retiring(old):
        retiring = asyncio.create_task(retire(site.database, site.directory, old, act=ACT))
        await asyncio.sleep(0.05)
        retiring.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await retiring

    site.directory.promote(new)


async def test_a_key_and_its_entry_go_and_come_together(site: Site) -> None:
    await site.settle()
    old, _ = site.rotate()
    act = BY.act(Event.KEY_RETIRED, at=NOW, details={"key_id": old})
    with pytest.raises(Conflict):
        await retire(site.database, site.directory, old, act=act)
    assert await site.events() == ["user_added"] * len(PEOPLE)
    await site.rewrap().run(lambda _: None)

    await retire(site.database, site.directory, old, act=act)

    after = ["keys_rewrap_begun", "key_retired"]
    assert await site.events() == ["user_added"] * len(PEOPLE) + after
