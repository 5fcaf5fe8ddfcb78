"""A first login, in a process that is killed somewhere in it, or whose database takes no note."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from synapse.module_api.errors import SynapseError
from twisted.internet import defer

from lalepass_provider.accounts import AccountRefused, MatrixAccounts
from lalepass_provider.policy import Keep, LinkExisting
from lalepass_provider.profile import ProfileSync
from lalepass_provider.tables import Tables
from lalepass_wire import AcceptedUser
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.profiles import ADDRESSES, MXID, ON_CREATE, SAID, Parts


class Killed(BaseException):
    """The process ends here."""


class FirstLogin(Parts):
    """Alice has no account yet; the process can be killed before each step of her first login."""

    def __post_init__(self) -> None:
        self.policy = ON_CREATE
        super().__post_init__()
        for table, column in (
            ("users", "name"),
            ("profiles", "full_user_id"),
            ("user_external_ids", "user_id"),
        ):
            self.homeserver.database.execute(f"DELETE FROM {table} WHERE {column} = ?", (MXID,))  # noqa: S608 - our own names
        self.steps: list[str] = []
        self.kill_at: int | None = None
        for name in ("register_user", "record_user_external_id", "set_displayname"):
            setattr(self.homeserver, name, self._step(name, getattr(self.homeserver, name)))
        self.homeserver.before_reading = self._before

    def _step(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def step(*args: Any, **kwargs: Any) -> Any:
            await self._before(name)
            return await method(*args, **kwargs)

        return step

    async def _before(self, name: str) -> None:
        if self.kill_at == len(self.steps):
            raise Killed
        self.steps.append(name)

    async def log_in(self) -> None:
        """In a process that knows nothing."""
        tables = Tables(self.homeserver)
        sync = ProfileSync(
            homeserver=self.homeserver,
            tables=tables,
            policy=self.policy,
            local_users=self.local_users,
            clock=self.clock,
        )
        accounts = MatrixAccounts(
            homeserver=self.homeserver,
            tables=tables,
            link_existing=LinkExisting.IF_NO_PASSWORD,
            local_users=self.local_users,
            display_name=Keep.ON_CREATE,
            with_profile=True,
            owing=sync,
        )
        user = AcceptedUser(id="1", localpart="alice", **SAID)
        account = await accounts.ensure(user)
        await sync.after_login(account.mxid, user, created=account.created, now=account.profile)


async def steps_of_a_first_login() -> list[str]:
    it = FirstLogin()
    await it.log_in()
    return it.steps


@on_reactor
async def test_a_process_that_is_killed_anywhere_leaves_nothing_out_of_a_new_account() -> None:
    steps = await steps_of_a_first_login()
    assert {"register_user", "record_user_external_id", "lalepass_profile"} <= set(steps)
    for number, name in enumerate(steps):
        it = FirstLogin()
        it.kill_at = number
        killed = defer.ensureDeferred(it.log_in())
        killed.addErrback(lambda failure: failure.trap(Killed))
        it.kill_at = None

        await it.log_in()

        assert it.name == "Alice", name
        assert it.homeserver.addresses == ADDRESSES, name
        assert it.homeserver.admin(MXID), name
        assert it.homeserver.rows("SELECT * FROM lalepass_profile WHERE field = 'owed'") == []


@on_reactor
async def test_an_account_that_is_not_made_is_owed_nothing() -> None:
    it = FirstLogin()
    it.homeserver.refuse = SynapseError(403, "full", "M_RESOURCE_LIMIT_EXCEEDED")
    with pytest.raises(AccountRefused):
        await it.log_in()

    assert it.homeserver.rows("SELECT * FROM lalepass_profile") == []


@on_reactor
async def test_what_is_owed_that_can_not_be_noted_fails_no_login() -> None:
    it = FirstLogin()
    steps = await steps_of_a_first_login()
    away = True

    async def before(name: str) -> None:
        if away and name in {"lalepass_make_table", "lalepass_keep"}:
            raise sqlite3.OperationalError("the disk is full")

    it.homeserver.before_reading = before
    assert "lalepass_keep" in steps
    await it.log_in()
    assert it.homeserver.links == {"1": MXID}

    away = False
    await it.log_in()
