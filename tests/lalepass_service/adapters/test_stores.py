"""What every store does: the one in memory and the one in SQLite, by the same tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from lalepass_service.adapters.memory import MemoryCallers, MemoryUsers
from lalepass_service.adapters.sql.callers import SqlCallers
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.hot import HotPath
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import AlreadyTaken, NameRetired, TooManyTokens
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import (
    Caller,
    NormalForm,
    PasswordRecord,
    Scope,
    User,
    UserId,
    UserState,
)
from lalepass_service.core.ports import Callers, Users
from tests.lalepass_service.accounts import NOW, a_user

pytestmark = pytest.mark.anyio

RECORD, NEWER_RECORD = PasswordRecord("$first$"), PasswordRecord("$second$")
LATER = NOW + timedelta(days=1)
NOBODY = UserId("id-nobody")
DIGEST = bytes(range(32))
AWKWARD = ["%", "_", "a%", "a_b", "'", '"', "'; DROP TABLE users; --", "\\", "?", ":x", "a b", "ü"]


@dataclass(frozen=True)
class Stores:
    users: Users
    callers: Callers


@asynccontextmanager
async def _in_sqlite(path: Path, *, hot: bool) -> AsyncIterator[Stores]:
    upgrade(path)
    database = Database.open(path)
    fast = HotPath.open(path) if hot else None
    yield Stores(users=SqlUsers(database, hot=fast), callers=SqlCallers(database, fast))
    if fast is not None:
        await fast.close()
    await database.close()


@pytest.fixture(params=["memory", "sqlite", "sqlite, hot path"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    if request.param == "memory":
        yield Stores(users=MemoryUsers(), callers=MemoryCallers())
        return
    hot = request.param != "sqlite"
    async with _in_sqlite(tmp_path / "lalepass.db", hot=hot) as stores:
        yield stores


@pytest.fixture
def users(stores: Stores) -> Users:
    return stores.users


@pytest.fixture
def callers(stores: Stores) -> Callers:
    return stores.callers


ALICE = User(
    id=UserId("id-alice"),
    localpart="alice",
    display_name="Alice \U0001f600",
    emails=("z@example.org", "a@example.org", "m@example.org"),
    phones=("491701234567", "12025550123"),
    state=UserState.ACTIVE,
    admin=True,
    created_at=NOW,
    password_changed_at=LATER,
)


async def test_what_was_stored_comes_back_as_it_was(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False)

    found = await users.credentials(ByLocalpart("alice"))

    assert found is not None
    assert found.user == ALICE
    assert found.record == RECORD


@pytest.mark.parametrize(
    "identifier",
    [
        ByLocalpart("alice"),
        ByEmail("z@example.org"),
        ByEmail("m@example.org"),
        ByPhone("12025550123"),
    ],
)
async def test_an_account_is_found_by_each_of_its_names(
    users: Users, identifier: Identifier
) -> None:
    await users.add(a_user("bob", emails=("bob@example.org",)), None, reuse_name=False)
    await users.add(ALICE, RECORD, reuse_name=False)

    assert await users.find(identifier) == ALICE


@pytest.mark.parametrize(
    "identifier",
    [
        ByLocalpart("nobody"),
        ByLocalpart("Alice"),
        ByLocalpart("alic"),
        ByLocalpart("a%"),
        ByLocalpart("_lice"),
        ByLocalpart("a@example.org"),
        ByEmail("alice"),
        ByEmail("%@example.org"),
        ByPhone("1"),
    ],
)
async def test_an_account_is_not_found_by_anything_else(
    users: Users, identifier: Identifier
) -> None:
    await users.add(ALICE, RECORD, reuse_name=False)

    assert await users.find(identifier) is None
    assert await users.credentials(identifier) is None


async def test_an_account_without_a_password_has_no_record(users: Users) -> None:
    await users.add(replace(ALICE, password_changed_at=None), None, reuse_name=False)

    found = await users.credentials(ByLocalpart("alice"))

    assert found is not None
    assert found.record is None
    assert found.user.password_changed_at is None


@pytest.mark.parametrize("odd", AWKWARD)
async def test_signs_that_mean_something_to_sql_mean_nothing_in_a_name(
    users: Users, odd: str
) -> None:
    mine = replace(a_user(odd), display_name=odd, emails=(f"{odd}@x",), phones=(odd,))
    await users.add(mine, PasswordRecord(odd), reuse_name=False)
    await users.add(a_user("aXb"), None, reuse_name=False)

    for identifier in (ByLocalpart(odd), ByEmail(f"{odd}@x"), ByPhone(odd)):
        found = await users.credentials(identifier)
        assert found is not None
        assert found.user.display_name == odd
        assert found.record == PasswordRecord(odd)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (a_user("alice", emails=("b@example.org",)), "user name"),
        (a_user("bob", emails=("new@example.org", "m@example.org")), "e-mail address"),
        (a_user("bob", phones=("12025550123",)), "phone number"),
        (replace(ALICE, id=UserId("id-2")), "user name"),
    ],
    ids=["user name", "e-mail address", "phone number", "all of them"],
)
async def test_what_one_account_has_another_can_not_have(
    users: Users, other: User, what: str
) -> None:
    await users.add(ALICE, RECORD, reuse_name=False)
    other = replace(other, id=UserId("id-other"))

    with pytest.raises(AlreadyTaken) as caught:
        await users.add(other, NEWER_RECORD, reuse_name=False)

    assert caught.value.what == what
    assert await users.page(after=None, limit=9, state=None) == (ALICE,)


async def test_of_several_things_that_are_taken_the_name_is_said(users: Users) -> None:
    await users.add(a_user("alice", emails=("a@example.org",)), None, reuse_name=False)
    await users.add(a_user("bob", phones=("491701234567",)), None, reuse_name=False)
    both = replace(
        a_user("bob", emails=("a@example.org",), phones=("491701234567",)), id=UserId("id-other")
    )

    with pytest.raises(AlreadyTaken) as of_name:
        await users.add(both, None, reuse_name=False)
    with pytest.raises(AlreadyTaken) as of_address:
        await users.add(replace(both, localpart="carol"), None, reuse_name=False)

    assert of_name.value.what == "user name"
    assert of_address.value.what == "e-mail address"


async def test_a_failed_attempt_leaves_nothing_behind(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False)
    with pytest.raises(AlreadyTaken):
        await users.add(
            a_user("bob", emails=("bob@example.org", "a@example.org")), RECORD, reuse_name=False
        )

    await users.add(a_user("carol", emails=("bob@example.org",)), None, reuse_name=False)

    assert await users.find(ByLocalpart("bob")) is None


@pytest.mark.parametrize("before", [None, RECORD], ids=["none before", "one before"])
async def test_a_password_is_replaced(users: Users, before: PasswordRecord | None) -> None:
    await users.add(ALICE, before, reuse_name=False)

    assert await users.set_password(ALICE.id, NEWER_RECORD, changed_at=LATER)

    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.record == NEWER_RECORD
    assert found.user == replace(ALICE, password_changed_at=LATER)


async def test_the_terms_of_a_password_come_back_and_end_with_it(users: Users) -> None:
    on_terms = replace(ALICE, password_must_change=True, password_expires_at=LATER)
    await users.add(on_terms, RECORD, reuse_name=False)
    assert await users.find(ByLocalpart("alice")) == on_terms

    await users.set_password(ALICE.id, NEWER_RECORD, changed_at=LATER)
    assert await users.find(ByLocalpart("alice")) == ALICE

    await users.set_password(ALICE.id, RECORD, changed_at=LATER, must_change=True, expires_at=LATER)
    assert await users.find(ByLocalpart("alice")) == on_terms
    assert await users.page(after=None, limit=9, state=None) == (on_terms,)


async def test_where_there_is_no_password_there_are_no_terms(users: Users) -> None:
    on_terms = replace(ALICE, password_must_change=True, password_expires_at=LATER)
    await users.add(on_terms, None, reuse_name=False)

    assert await users.find(ByLocalpart("alice")) == replace(ALICE, password_changed_at=None)


async def test_the_terms_of_a_password_outlast_its_record(users: Users) -> None:
    on_terms = replace(ALICE, password_must_change=True, password_expires_at=LATER)
    await users.add(on_terms, RECORD, reuse_name=False)
    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.record is not None

    assert await users.replace_record(ALICE.id, old=found.record, new=NEWER_RECORD)

    assert await users.find(ByLocalpart("alice")) == on_terms


async def test_a_record_comes_back_with_its_form_and_scheme_and_as_it_is_stored(
    users: Users,
) -> None:
    record = PasswordRecord("$first$", form=NormalForm.NFKC, scheme="bcrypt,cost=12")
    await users.add(ALICE, record, reuse_name=False)
    found = await users.credentials(ByLocalpart("alice"))

    assert found is not None
    assert found.record == record
    assert found.record.scheme == "bcrypt,cost=12"
    assert found.record.stored is not None
    assert found.user.password_scheme == "bcrypt,cost=12"

    await users.set_password(ALICE.id, NEWER_RECORD, changed_at=LATER)
    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.record == NEWER_RECORD
    assert found.user.password_scheme == "argon2id"


async def test_a_record_is_replaced_and_the_password_is_as_old_as_before(users: Users) -> None:
    await users.add(ALICE, replace(RECORD, form=NormalForm.NFKC), reuse_name=False)
    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.record is not None

    assert await users.replace_record(ALICE.id, old=found.record, new=NEWER_RECORD)

    after = await users.credentials(ByLocalpart("alice"))
    assert after is not None
    assert after.record == NEWER_RECORD
    assert after.user == ALICE


async def test_a_record_that_is_another_by_now_is_not_replaced(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False)
    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.record is not None
    await users.set_password(ALICE.id, NEWER_RECORD, changed_at=LATER)

    assert not await users.replace_record(ALICE.id, old=found.record, new=PasswordRecord("$third$"))
    assert not await users.replace_record(NOBODY, old=found.record, new=RECORD)

    after = await users.credentials(ByLocalpart("alice"))
    assert after is not None
    assert after.record == NEWER_RECORD


async def test_records_are_counted_by_their_schemes(users: Users) -> None:
    assert await users.schemes() == {}
    for number, scheme in enumerate(["a", "b", "a"]):
        record = PasswordRecord("$", scheme=scheme)
        await users.add(a_user(f"user-{number}"), record, reuse_name=False)
    await users.add(a_user("nobody"), None, reuse_name=False)

    assert await users.schemes() == {"a": 2, "b": 1}


async def test_the_state_is_changed_and_nothing_else(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False)

    assert await users.set_state(ALICE.id, UserState.DISABLED)

    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert found.user == replace(ALICE, state=UserState.DISABLED)
    assert found.record == RECORD


async def test_a_change_touches_one_account_only(users: Users) -> None:
    bob = a_user("bob", password_changed_at=NOW)
    await users.add(ALICE, RECORD, reuse_name=False)
    await users.add(bob, RECORD, reuse_name=False)

    await users.set_password(ALICE.id, NEWER_RECORD, changed_at=LATER)
    await users.set_state(ALICE.id, UserState.DISABLED)
    await users.delete(ALICE.id, deleted_at=LATER)

    found = await users.credentials(ByLocalpart("bob"))
    assert found is not None
    assert (found.user, found.record) == (bob, RECORD)


async def test_nobody_is_changed_by_no_change(users: Users) -> None:
    assert not await users.set_password(NOBODY, RECORD, changed_at=NOW)
    assert not await users.set_state(NOBODY, UserState.DISABLED)
    assert not await users.delete(NOBODY, deleted_at=NOW)


async def test_a_deleted_account_is_gone_under_all_its_names(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False)

    assert await users.delete(ALICE.id, deleted_at=LATER)

    for identifier in (ByLocalpart("alice"), ByEmail("a@example.org"), ByPhone("12025550123")):
        assert await users.credentials(identifier) is None
    assert not await users.delete(ALICE.id, deleted_at=LATER)
    assert not await users.set_password(ALICE.id, RECORD, changed_at=LATER)


async def test_what_a_deleted_account_had_is_free_but_for_its_name(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False)
    await users.delete(ALICE.id, deleted_at=LATER)

    await users.add(a_user("bob", emails=ALICE.emails), None, reuse_name=False)
    with pytest.raises(NameRetired):
        await users.add(a_user("alice"), None, reuse_name=False)


async def test_a_retired_name_is_given_out_on_demand_and_retires_again(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False)
    for _ in range(2):
        await users.delete(ALICE.id, deleted_at=LATER)
        with pytest.raises(NameRetired):
            await users.add(ALICE, RECORD, reuse_name=False)
        await users.add(ALICE, RECORD, reuse_name=True)

    assert await users.find(ByLocalpart("alice")) == ALICE


async def test_a_retired_name_stays_retired_when_its_reuse_fails(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False)
    await users.delete(ALICE.id, deleted_at=LATER)
    await users.add(a_user("bob", emails=("a@example.org",)), None, reuse_name=False)

    with pytest.raises(AlreadyTaken):
        await users.add(ALICE, RECORD, reuse_name=True)
    with pytest.raises(NameRetired):
        await users.add(a_user("alice"), None, reuse_name=False)


async def test_pages_come_in_the_order_of_code_points(users: Users) -> None:
    names = ["a", "a-", "a.", "a/", "a0", "a=", "a_", "aa", "b", "+", "-", "_", "0", "z"]
    for name in reversed(names):
        await users.add(a_user(name), None, reuse_name=False)

    everyone = await users.page(after=None, limit=100, state=None)

    assert [user.localpart for user in everyone] == sorted(names)


async def test_pages_follow_one_another_without_gap_or_overlap(users: Users) -> None:
    names = [f"user-{number}" for number in range(7)]
    for name in names:
        await users.add(a_user(name), RECORD, reuse_name=False)

    seen: list[str] = []
    while page := await users.page(after=seen[-1] if seen else None, limit=3, state=None):
        assert len(page) <= 3
        seen.extend(user.localpart for user in page)

    assert seen == names


async def test_a_page_can_be_of_one_state(users: Users) -> None:
    for number in range(6):
        state = UserState.DISABLED if number % 2 else UserState.ACTIVE
        await users.add(a_user(f"user-{number}", state=state), None, reuse_name=False)

    disabled = await users.page(after="user-1", limit=9, state=UserState.DISABLED)

    assert [user.localpart for user in disabled] == ["user-3", "user-5"]


async def test_a_page_behind_the_last_is_empty(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False)

    assert await users.page(after="zzz", limit=9, state=None) == ()
    assert await users.page(after="'; --", limit=0, state=None) == ()


async def test_a_moment_is_the_same_in_every_zone(users: Users) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-11)))
    await users.add(replace(ALICE, created_at=elsewhere), RECORD, reuse_name=False)

    found = await users.find(ByLocalpart("alice"))

    assert found is not None
    assert found.created_at == NOW


def a_caller(number: int = 1, *, name: str = "synapse", hours: int = 0) -> Caller:
    return Caller(
        token_id=f"{number:012x}",
        name=name,
        scopes=frozenset({Scope.CHECK, Scope.FEED}),
        created_at=NOW + timedelta(hours=hours),
    )


async def test_a_token_comes_back_with_its_digest(callers: Callers) -> None:
    await callers.add(a_caller(), DIGEST, limit=2)

    assert await callers.find(a_caller().token_id) == (a_caller(), DIGEST)


async def test_an_unknown_token_is_not_found(callers: Callers) -> None:
    await callers.add(a_caller(), DIGEST, limit=2)

    for token_id in ("", "%", "00000000000_", "000000000002"):
        assert await callers.find(token_id) is None


async def test_tokens_are_listed_with_the_oldest_first(callers: Callers) -> None:
    third, first, second = a_caller(1, hours=2), a_caller(2, hours=0), a_caller(3, hours=1)
    for caller in (third, first, second):
        await callers.add(caller, DIGEST, limit=9)

    assert await callers.all() == (first, second, third)


async def test_a_name_has_no_more_live_tokens_than_the_limit(callers: Callers) -> None:
    await callers.add(a_caller(1), DIGEST, limit=2)
    await callers.add(a_caller(2), DIGEST, limit=2)

    with pytest.raises(TooManyTokens):
        await callers.add(a_caller(3), DIGEST, limit=2)

    assert await callers.find(a_caller(3).token_id) is None
    await callers.add(a_caller(4, name="Synapse"), DIGEST, limit=2)


async def test_revoked_tokens_leave_room_and_stay_known(callers: Callers) -> None:
    await callers.add(a_caller(1), DIGEST, limit=1)

    assert await callers.revoke(a_caller(1).token_id, at=LATER)

    await callers.add(a_caller(2), DIGEST, limit=1)
    revoked = replace(a_caller(1), revoked_at=LATER)
    assert await callers.find(revoked.token_id) == (revoked, DIGEST)


async def test_revoking_again_changes_nothing(callers: Callers) -> None:
    await callers.add(a_caller(), DIGEST, limit=2)

    assert await callers.revoke(a_caller().token_id, at=NOW)
    assert await callers.revoke(a_caller().token_id, at=LATER)

    assert await callers.all() == (replace(a_caller(), revoked_at=NOW),)


async def test_what_does_not_exist_is_not_revoked(callers: Callers) -> None:
    assert not await callers.revoke("000000000001", at=NOW)
