"""What every store of accounts does: how they are changed and deleted."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lalepass_service.core.errors import AlreadyTaken, NameRetired
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone
from lalepass_service.core.model import (
    A_MOMENT,
    NormalForm,
    PasswordRecord,
    UserState,
)
from lalepass_service.core.ports import Users
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing
from tests.lalepass_service.adapters.stores import ALICE, LATER, NEWER_RECORD, NOBODY, RECORD

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("before", [None, RECORD], ids=["none before", "one before"])
async def test_a_password_is_replaced(users: Users, before: PasswordRecord | None) -> None:
    await users.add(ALICE, before, reuse_name=False, act=ACT)

    at = LATER + timedelta(hours=1)
    assert await users.set_password(ALICE.id, NEWER_RECORD, changed_at=at, act=ACT)

    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.record == NEWER_RECORD
    assert found.user == replace(ALICE, password_changed_at=at)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1)], ids=str)
async def test_a_password_is_later_than_the_one_before_whatever_the_clock_says(
    users: Users, ahead: timedelta
) -> None:
    """Or what was seen of it, in Valkey, would be of a later account than there is."""
    await users.add(
        replace(ALICE, password_changed_at=LATER + ahead), RECORD, reuse_name=False, act=ACT
    )

    for turn in (1, 2):
        await users.set_password(ALICE.id, NEWER_RECORD, changed_at=LATER, act=ACT)

        found = await users.find(ByLocalpart("alice"))
        assert found is not None
        assert found.password_changed_at == LATER + ahead + turn * A_MOMENT


async def test_the_terms_of_a_password_come_back_and_end_with_it(users: Users) -> None:
    alice = replace(ALICE, password_changed_at=NOW)
    on_terms = replace(alice, password_must_change=True, password_expires_at=LATER)
    await users.add(on_terms, RECORD, reuse_name=False, act=ACT)
    assert await users.find(ByLocalpart("alice")) == on_terms

    at = NOW + timedelta(hours=1)
    await users.set_password(alice.id, NEWER_RECORD, changed_at=at, act=ACT)
    assert await users.find(ByLocalpart("alice")) == replace(alice, password_changed_at=at)

    at += timedelta(hours=1)
    await users.set_password(
        alice.id, RECORD, changed_at=at, must_change=True, expires_at=LATER, act=ACT
    )
    on_terms = replace(on_terms, password_changed_at=at)
    assert await users.find(ByLocalpart("alice")) == on_terms
    assert await users.page(after=None, limit=9, state=None) == (on_terms,)


async def test_where_there_is_no_password_there_are_no_terms(users: Users) -> None:
    on_terms = replace(ALICE, password_must_change=True, password_expires_at=LATER)
    await users.add(on_terms, None, reuse_name=False, act=ACT)

    assert await users.find(ByLocalpart("alice")) == replace(ALICE, password_changed_at=None)


async def test_the_terms_of_a_password_outlast_its_record(users: Users) -> None:
    on_terms = replace(ALICE, password_must_change=True, password_expires_at=LATER)
    await users.add(on_terms, RECORD, reuse_name=False, act=ACT)
    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.record is not None

    assert await users.replace_record(ALICE.id, old=found.record, new=NEWER_RECORD)

    assert await users.find(ByLocalpart("alice")) == on_terms


async def test_a_record_comes_back_with_its_form_and_scheme_and_as_it_is_stored(
    users: Users,
) -> None:
    record = PasswordRecord("$first$", form=NormalForm.NFKC, scheme="bcrypt,cost=12")
    await users.add(ALICE, record, reuse_name=False, act=ACT)
    found = await users.credentials(ByLocalpart("alice"))

    assert found is not None
    assert found.record == record
    assert found.record.scheme == "bcrypt,cost=12"
    assert found.record.stored is not None
    assert found.user.password_scheme == "bcrypt,cost=12"

    await users.set_password(ALICE.id, NEWER_RECORD, changed_at=LATER, act=ACT)
    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.record == NEWER_RECORD
    assert found.user.password_scheme == "argon2id"


async def test_a_record_is_replaced_and_the_password_is_as_old_as_before(users: Users) -> None:
    await users.add(ALICE, replace(RECORD, form=NormalForm.NFKC), reuse_name=False, act=ACT)
    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.record is not None

    assert await users.replace_record(ALICE.id, old=found.record, new=NEWER_RECORD)

    after = await users.credentials(ByLocalpart("alice"))
    assert after is not None
    assert after.record == NEWER_RECORD
    assert after.user == ALICE


async def test_a_record_that_is_another_by_now_is_not_replaced(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.record is not None
    await users.set_password(ALICE.id, NEWER_RECORD, changed_at=LATER, act=ACT)

    assert not await users.replace_record(ALICE.id, old=found.record, new=PasswordRecord("$third$"))
    assert not await users.replace_record(NOBODY, old=found.record, new=RECORD)

    after = await users.credentials(ByLocalpart("alice"))
    assert after is not None
    assert after.record == NEWER_RECORD


async def test_records_are_counted_by_their_schemes(users: Users) -> None:
    assert await users.schemes() == {}
    for number, scheme in enumerate(["a", "b", "a"]):
        record = PasswordRecord("$", scheme=scheme)
        await users.add(a_user(f"user-{number}"), record, reuse_name=False, act=ACT)
    await users.add(a_user("nobody"), None, reuse_name=False, act=ACT)

    assert await users.schemes() == {"a": 2, "b": 1}


async def test_the_state_is_changed_and_nothing_else(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)

    assert await users.set_state(ALICE.id, UserState.DISABLED, act=ACT)

    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.user == replace(ALICE, state=UserState.DISABLED)
    assert found.record == RECORD


async def test_a_change_touches_one_account_only(users: Users) -> None:
    bob = a_user("bob", password_changed_at=NOW)
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await users.add(bob, RECORD, reuse_name=False, act=ACT)

    await users.set_password(ALICE.id, NEWER_RECORD, changed_at=LATER, act=ACT)
    await users.set_state(ALICE.id, UserState.DISABLED, act=ACT)
    await users.delete(ALICE.id, now=standing(LATER), act=ACT)

    found = await users.credentials(ByLocalpart("bob"))
    assert found is not None
    assert (found.user, found.record) == (bob, RECORD)


async def test_nobody_is_changed_by_no_change(users: Users) -> None:
    assert not await users.set_password(NOBODY, RECORD, changed_at=NOW, act=ACT)
    assert not await users.set_state(NOBODY, UserState.DISABLED, act=ACT)
    assert not await users.delete(NOBODY, now=standing(NOW), act=ACT)


async def test_a_deleted_account_is_gone_under_all_its_names(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)

    assert await users.delete(ALICE.id, now=standing(LATER), act=ACT)

    for identifier in (ByLocalpart("alice"), ByEmail("a@example.org"), ByPhone("12025550123")):
        assert await users.credentials(identifier) is None
    assert not await users.delete(ALICE.id, now=standing(LATER), act=ACT)
    assert not await users.set_password(ALICE.id, RECORD, changed_at=LATER, act=ACT)


async def test_what_a_deleted_account_had_is_free_but_for_its_name(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await users.delete(ALICE.id, now=standing(LATER), act=ACT)

    await users.add(a_user("bob", emails=ALICE.emails), None, reuse_name=False, act=ACT)
    with pytest.raises(NameRetired):
        await users.add(a_user("alice"), None, reuse_name=False, act=ACT)


async def test_a_retired_name_is_given_out_on_demand_and_retires_again(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    for _ in range(2):
        await users.delete(ALICE.id, now=standing(LATER), act=ACT)
        with pytest.raises(NameRetired):
            await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
        await users.add(ALICE, RECORD, reuse_name=True, act=ACT)

    assert await users.find(ByLocalpart("alice")) == ALICE


async def test_a_retired_name_stays_retired_when_its_reuse_fails(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await users.delete(ALICE.id, now=standing(LATER), act=ACT)
    await users.add(a_user("bob", emails=("a@example.org",)), None, reuse_name=False, act=ACT)

    with pytest.raises(AlreadyTaken):
        await users.add(ALICE, RECORD, reuse_name=True, act=ACT)
    with pytest.raises(NameRetired):
        await users.add(a_user("alice"), None, reuse_name=False, act=ACT)
