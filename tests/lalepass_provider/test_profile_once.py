"""What is written once, when an account is made, and what becomes of it if that fails."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet import defer

from lalepass_provider.policy import Keep, ProfilePolicy
from lalepass_provider.profile import ProfileSync
from lalepass_provider.tables import Tables
from lalepass_provider.wanted import Person
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.profiles import (
    ADDRESSES,
    FULL,
    MXID,
    ON_CREATE,
    Parts,
    Stuck,
    alice,
)


@on_reactor
async def test_on_create_is_when_the_account_is_made_and_never_again() -> None:
    parts = Parts(policy=ON_CREATE)
    await parts.sync.apply(FULL)
    assert (parts.name, parts.homeserver.addresses) == ("alice", [])

    await parts.sync.after_login(MXID, FULL, created=True)
    await parts.sync.after_login(MXID, alice(display_name="B"), created=False)

    assert parts.name == "Alice"
    assert parts.homeserver.addresses == ADDRESSES
    assert parts.homeserver.admin(MXID)


@on_reactor
async def test_that_an_account_was_made_is_not_forgotten_in_the_queue() -> None:
    parts = Parts(policy=ON_CREATE)
    stuck = Stuck(parts.homeserver, "lalepass_profile")
    first = defer.ensureDeferred(parts.sync.after_login(MXID, alice(), created=True))
    made = defer.ensureDeferred(parts.sync.after_login(MXID, FULL, created=True))
    later = defer.ensureDeferred(parts.sync.after_login(MXID, FULL, created=False))

    while stuck.waiting:
        stuck.let_go()

    await defer.gatherResults([first, made, later])
    assert parts.homeserver.addresses == ADDRESSES


class NewAccount(Parts):
    """An account that was made just now, in a homeserver some of whose doors can be shut."""

    def __init__(self, policy: ProfilePolicy = ON_CREATE) -> None:
        super().__init__(policy=policy)
        self.shut: set[str] = set()
        """Names of the homeserver's methods, and of kinds of transactions."""
        for name in ("set_displayname", "set_user_admin"):
            setattr(self.homeserver, name, self._door(name, getattr(self.homeserver, name)))
        self.homeserver.before_reading = self._transaction

    def _door(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def door(*args: Any, **kwargs: Any) -> Any:
            await self._transaction(name)
            return await method(*args, **kwargs)

        return door

    async def _transaction(self, name: str) -> None:
        if name in self.shut:
            raise sqlite3.OperationalError("the disk is full")

    async def log_in(self, person: Person = FULL, *, created: bool = False) -> None:
        now = await Tables(self.homeserver).profile(MXID) if not self.shut else None
        await self.sync.after_login(MXID, person, created=created, now=now)

    async def first_login_without(self, *shut: str) -> None:
        self.shut = set(shut)
        await self.log_in(created=True)
        self.shut = set()

    def restart(self) -> None:
        """Go on in a process that knows nothing."""
        self.sync = ProfileSync(
            homeserver=self.homeserver,
            tables=Tables(self.homeserver),
            policy=self.policy,
            local_users=self.local_users,
            clock=self.clock,
            failed=self.failed.append,
        )

    @property
    def is_complete(self) -> bool:
        addresses = self.homeserver.addresses
        return self.name == "Alice" and addresses == ADDRESSES and self.homeserver.admin(MXID)

    @property
    def owed(self) -> list[str]:
        return [
            value
            for (value,) in self.homeserver.rows(
                "SELECT value FROM lalepass_profile WHERE field = 'owed'"
            )
        ]


WAYS_TO_FAIL = [
    ("set_displayname",),
    ("set_user_admin",),
    ("lalepass_add_addresses",),
    ("lalepass_keep",),
    ("set_displayname", "set_user_admin", "lalepass_add_addresses"),
]


@pytest.mark.parametrize("shut", WAYS_TO_FAIL, ids=" ".join)
@on_reactor
async def test_what_failed_when_the_account_was_made_is_done_at_a_later_login(
    shut: tuple[str, ...],
) -> None:
    it = NewAccount()
    await it.first_login_without(*shut)
    assert it.failed
    it.restart()

    await it.log_in()

    assert it.is_complete
    assert it.owed == []
    it.homeserver.written.clear()
    await it.log_in()
    assert it.homeserver.written == []


@on_reactor
async def test_it_is_tried_until_it_is_done() -> None:
    it = NewAccount()
    await it.first_login_without("set_user_admin")
    for _ in range(3):
        it.shut = {"set_user_admin"}
        await it.log_in()
    assert it.owed == ["admin"]
    assert it.failed == ["admin"] * 4

    it.shut = set()
    await it.log_in()
    assert it.is_complete
    assert it.owed == []


@on_reactor
async def test_a_process_that_ends_in_the_middle_leaves_nothing_out() -> None:
    it = NewAccount()
    stuck = Stuck(it.homeserver, "lalepass_add_addresses")
    login = defer.ensureDeferred(it.log_in(created=True))
    assert len(stuck.waiting) == 1
    it.homeserver.before_reading = None
    it.restart()

    await it.log_in()

    assert it.is_complete
    assert it.owed == []
    stuck.let_go()
    await login
    assert it.is_complete


@on_reactor
async def test_what_could_not_be_noted_is_known_to_the_process() -> None:
    it = NewAccount()
    await it.first_login_without("lalepass_profile")
    assert it.homeserver.addresses == []

    await it.log_in()

    assert it.is_complete
    assert it.owed == []


@on_reactor
async def test_a_change_that_the_feed_tells_does_what_is_owed_as_well() -> None:
    it = NewAccount()
    await it.first_login_without("lalepass_add_addresses")

    await it.sync.apply(FULL)

    assert it.is_complete
    assert it.owed == []


@on_reactor
async def test_a_name_that_the_person_has_chosen_meanwhile_stays() -> None:
    it = NewAccount()
    await it.first_login_without("set_displayname")
    it.homeserver.database.execute("UPDATE profiles SET displayname = 'Ally'")

    await it.log_in()

    assert it.name == "Ally"
    assert it.owed == []


@pytest.mark.parametrize("gone", ["alice@x.org", "a@y.org"])
@on_reactor
async def test_an_address_that_the_person_has_removed_meanwhile_does_not_come_back(
    gone: str,
) -> None:
    it = NewAccount()
    # They were written, and it could not be noted that nothing more is owed.
    await it.first_login_without("lalepass_keep")
    assert "emails" in it.owed
    await it.homeserver.delete_local_threepid(MXID, "email", gone)

    await it.log_in()

    assert it.homeserver.addresses == [row for row in ADDRESSES if row[2] != gone]
    assert it.owed == []


@on_reactor
async def test_an_address_that_the_person_has_added_meanwhile_stays() -> None:
    it = NewAccount()
    await it.first_login_without("lalepass_add_addresses")
    it.homeserver.add_address(MXID, "email", "own@z.org")

    await it.log_in()

    assert it.homeserver.addresses == sorted([*ADDRESSES, (MXID, "email", "own@z.org")])


@on_reactor
async def test_an_administrator_who_was_made_meanwhile_stays_one() -> None:
    it = NewAccount()
    await it.first_login_without("set_displayname")
    it.homeserver.change(MXID, admin=1)

    await it.log_in(alice(display_name="Alice"))

    assert it.homeserver.admin(MXID)


@on_reactor
async def test_an_administrator_of_lalepasss_who_stopped_being_one_meanwhile_is_none() -> None:
    it = NewAccount()
    await it.first_login_without("set_displayname")
    it.homeserver.change(MXID, admin=0)

    await it.log_in()

    assert not it.homeserver.admin(MXID)
    assert it.owed == []


@on_reactor
async def test_what_the_policy_leaves_alone_by_now_is_not_owed_any_more() -> None:
    it = NewAccount()
    await it.first_login_without("set_user_admin", "lalepass_add_addresses")
    it.policy = replace(ON_CREATE, admin=Keep.NEVER)
    it.restart()

    await it.log_in()

    assert not it.homeserver.admin(MXID)
    assert it.homeserver.addresses == ADDRESSES
    assert it.owed == []


@on_reactor
async def test_an_account_that_is_somebodys_already_is_owed_nothing() -> None:
    it = NewAccount()

    await it.log_in()

    assert it.name == "alice"
    assert it.homeserver.written == []


@on_reactor
async def test_new_accounts_that_could_not_be_noted_are_not_collected_without_end() -> None:
    it = NewAccount()
    it.shut = {"lalepass_profile"}
    for number in range(1100):
        await it.sync.after_login(f"@n{number}:hs.example", FULL, created=True)
    for number in range(1100):
        it.homeserver.add(f"@n{number}:hs.example", displayname=f"n{number}")
    it.shut = set()
    nobody = alice(display_name="Somebody")
    for number in range(1100):
        await it.sync.after_login(f"@n{number}:hs.example", nobody, created=False)

    assert list(it.homeserver.accounts.values()).count("Somebody") == 1000
