"""What Synapse's module API can't do, so that `sessions.py` goes further inside."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from synapse.module_api import ModuleApi
from synapse.types import create_requester
from twisted.internet import defer

from lalepass_provider.sessions import SessionsEnded, SynapseSessions
from tests.lalepass_provider.fakes import FakeHomeserver
from tests.lalepass_provider.on_reactor import on_reactor

TOKEN = "syt_of_bob"
BOB = "@bob:hs.example"
ORDERED = 1_800_000_000_000
"""When an order was given, in milliseconds since 1970."""
OLD, NEW = ORDERED - 1, ORDERED


class Auth:
    """Knows one token, as `synapse.api.auth` does."""

    def get_user_by_access_token(self, token: str) -> Awaitable[Any]:
        assert token == TOKEN
        return defer.succeed(create_requester("@bob:hs.example", device_id="PHONE"))


class Devices:
    """Synapse's device handler, which is where a session ends."""

    def __init__(self) -> None:
        self.deleted: list[tuple[str, list[str]]] = []

    def delete_devices(self, user_id: str, device_ids: list[str]) -> Awaitable[None]:
        self.deleted.append((user_id, device_ids))
        return defer.succeed(None)


@on_reactor
async def test_s18_the_module_api_ends_no_session() -> None:
    """S18: it takes a Requester for a dictionary. Should this fail, Synapse has mended it.

    Then `sessions.py` could use it in place of Synapse's device handler.
    """
    api, devices = ModuleApi.__new__(ModuleApi), Devices()
    vars(api).update(_auth=Auth(), _device_handler=devices)
    invalidate = cast("Callable[[str], Awaitable[None]]", api.invalidate_access_token)

    with pytest.raises(AttributeError, match="no attribute 'get'"):
        await invalidate(TOKEN)

    assert devices.deleted == []


# From `storage/schema/main/full_schemas/72/full.sql.sqlite`.
_SCHEMA = """
CREATE TABLE access_tokens (
    user_id TEXT, device_id TEXT, token TEXT, last_validated BIGINT, refresh_token_id BIGINT
);
CREATE TABLE refresh_tokens (user_id TEXT, device_id TEXT);
"""


class Inside:
    """A homeserver with sessions, and what is behind its interface for modules."""

    def __init__(self, *accounts: str) -> None:
        self.homeserver = FakeHomeserver(*(accounts or (BOB,)))
        self.homeserver.database.executescript(_SCHEMA)
        self.devices = Devices()
        self.deleted: list[str] = []
        self.not_ours: set[str] = set()
        store = SimpleNamespace(get_users_by_id_case_insensitive=self._spellings)
        vars(self.homeserver)["_hs"] = SimpleNamespace(
            get_datastores=lambda: SimpleNamespace(main=store),
            get_device_handler=lambda: self.devices,
            get_auth_handler=lambda: SimpleNamespace(delete_access_token=self._delete),
        )

    def add(
        self,
        device: str | None,
        token: str,
        *,
        at: int | None,
        refreshed: int | None = None,
        mxid: str = BOB,
    ) -> None:
        row = (mxid, device, token, at, refreshed)
        self.homeserver.database.execute("INSERT INTO access_tokens VALUES (?, ?, ?, ?, ?)", row)
        if refreshed is not None:
            self.add_refresh_token(device, mxid=mxid)

    def add_refresh_token(self, device: str | None, *, mxid: str = BOB) -> None:
        self.homeserver.database.execute("INSERT INTO refresh_tokens VALUES (?, ?)", (mxid, device))

    async def end(self) -> list[SessionsEnded]:
        sessions = SynapseSessions(cast("Any", self.homeserver), is_ours=self._is_ours)
        return list(await sessions.end_older("bob", than_ms=ORDERED))

    async def _is_ours(self, mxid: str) -> bool:
        return mxid not in self.not_ours

    async def _spellings(self, mxid: str) -> dict[str, str | None]:
        return {each: None for each in self.homeserver.accounts if each.lower() == mxid}

    async def _delete(self, token: str) -> None:
        self.deleted.append(token)


@on_reactor
async def test_what_is_older_than_the_order_ends_and_what_is_newer_does_not() -> None:
    it = Inside()
    it.add("LAPTOP", "a", at=OLD)
    it.add("PHONE", "b", at=NEW)
    it.add("AGELESS", "c", at=None)

    assert await it.end() == [SessionsEnded(mxid=BOB, ended=2, kept=1)]
    assert it.devices.deleted == [(BOB, ["AGELESS", "LAPTOP"])]
    assert it.deleted == []


@pytest.mark.parametrize("linked", [True, False], ids=["by its token", "by its device"])
@on_reactor
async def test_a_session_that_is_refreshed_has_no_age_and_ends(*, linked: bool) -> None:
    it = Inside()
    it.add("PHONE", "a", at=NEW + 1, refreshed=7 if linked else None)
    it.add_refresh_token("PHONE")
    it.add_refresh_token("SLEEPING")  # its access token is over

    assert await it.end() == [SessionsEnded(mxid=BOB, ended=2, kept=0)]
    assert it.devices.deleted == [(BOB, ["PHONE", "SLEEPING"])]


@on_reactor
async def test_what_is_left_on_a_device_that_a_new_session_has_taken_over_ends() -> None:
    it = Inside()
    it.add("PHONE", "old", at=OLD)
    it.add("PHONE", "new", at=NEW)

    assert await it.end() == [SessionsEnded(mxid=BOB, ended=0, kept=1)]
    assert (it.devices.deleted, it.deleted) == ([], ["old"])


@on_reactor
async def test_tokens_without_a_device_end_by_themselves() -> None:
    it = Inside()
    it.add(None, "old", at=OLD)
    it.add(None, "new", at=NEW)
    it.add(None, "refreshed", at=NEW, refreshed=7)

    assert await it.end() == [SessionsEnded(mxid=BOB, ended=2, kept=1)]
    assert (it.devices.deleted, it.deleted) == ([], ["old", "refreshed"])


@on_reactor
async def test_sessions_of_somebody_else_of_the_name_are_let_be() -> None:
    """Also those of one spelling of a name, while another spelling is Lalepass's."""
    it = Inside(BOB, "@Bob:hs.example", "@bobby:hs.example")
    it.not_ours = {BOB}
    for mxid in it.homeserver.accounts:
        it.add("PHONE", f"of {mxid}", at=OLD, mxid=mxid)

    assert await it.end() == [SessionsEnded(mxid="@Bob:hs.example", ended=1, kept=0)]
    assert it.devices.deleted == [("@Bob:hs.example", ["PHONE"])]


@on_reactor
async def test_nobody_of_the_name_has_no_sessions() -> None:
    assert await Inside("@alice:hs.example").end() == []
