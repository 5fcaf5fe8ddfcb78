"""Records are wrapped in the database, and nowhere else."""

import pytest
from sqlalchemy import select, update

from lalepass_service.adapters.sql.rewrap import key_usage, needed_keys, records_of
from lalepass_service.adapters.sql.tables import passwords
from lalepass_service.core.errors import NoAnswer, UnreadableRecord
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import PasswordRecord
from tests.lalepass_service.accounts import ACT, NOW, a_user
from tests.lalepass_service.adapters.sql.site import PEOPLE, UNCHANGED, Site

pytestmark = pytest.mark.anyio


async def test_a_record_is_stored_wrapped_and_read_unwrapped(site: Site) -> None:
    await site.settle()

    assert await site.keys_in_use() == {site.directory.load().active}
    assert await site.records() == UNCHANGED


async def test_how_a_record_is_stored_comes_along(site: Site) -> None:
    """It is the old value in a compare-and-swap."""
    await site.settle()
    credentials = await site.users.credentials(ByLocalpart(PEOPLE[0]))
    async with site.database.read() as connection:
        stored = (await connection.execute(select(passwords.c.phc).limit(1))).scalar_one()

    assert credentials is not None
    assert credentials.record is not None
    assert credentials.record.stored == stored


async def test_a_changed_password_is_wrapped_with_the_key_that_is_active_now(site: Site) -> None:
    await site.settle()
    _, new = site.rotate()
    owner = a_user(PEOPLE[0]).id
    await site.users.set_password(owner, PasswordRecord("$new$"), changed_at=NOW, act=ACT)

    usage = await key_usage(site.database)
    assert usage[new] == 1
    # what a service asks at its start, which reads no records
    assert await needed_keys(site.database) == sorted(map(str, usage))
    for key_id, count in usage.items():
        assert await records_of(site.database, str(key_id)) == count
    assert (await site.records())[PEOPLE[0]] == "$new$"


async def test_a_record_that_was_copied_to_another_row_does_not_open(site: Site) -> None:
    await site.settle()
    thief, victim = a_user(PEOPLE[0]).id, a_user(PEOPLE[1]).id
    mine = select(passwords.c.phc).where(passwords.c.user_id == thief).scalar_subquery()
    async with site.database.write() as connection:
        await connection.execute(
            update(passwords).where(passwords.c.user_id == victim).values(phc=mine)
        )

    with pytest.raises(UnreadableRecord):
        await site.users.credentials(ByLocalpart(PEOPLE[1]))


async def test_an_account_whose_record_can_not_be_read_can_still_be_mended(site: Site) -> None:
    await site.settle()
    old, _ = site.rotate()
    (site.directory.path / f"{old}.key").unlink()
    assert old not in site.vault.ring.ids
    with pytest.raises(UnreadableRecord, match=old):
        await site.users.credentials(ByLocalpart(PEOPLE[0]))

    user = await site.users.find(ByLocalpart(PEOPLE[0]))
    assert user is not None
    await site.users.set_password(user.id, PasswordRecord("$new$"), changed_at=NOW, act=ACT)
    found = await site.users.credentials(ByLocalpart(PEOPLE[0]))
    assert found is not None
    assert found.record == PasswordRecord("$new$")


async def test_without_its_file_the_active_key_wraps_nothing(site: Site) -> None:
    await site.settle()
    _, new = site.rotate()
    assert site.vault.ring.active == new
    (site.directory.path / f"{new}.key").unlink()
    with pytest.raises(NoAnswer, match=new):
        await site.users.set_password(
            a_user(PEOPLE[0]).id, PasswordRecord("$new$"), changed_at=NOW, act=ACT
        )

    assert await site.records() == UNCHANGED
