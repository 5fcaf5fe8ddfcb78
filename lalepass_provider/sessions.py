"""Synapse's sessions: the one file that uses its device handler and its tables.

The module API has `invalidate_access_token`, which is broken in 1.163.2 (it calls `.get` on a
Requester), and nothing else that ends a session. So this goes where `/logout/all` goes
(`rest/client/logout.py`): the device handler, and the auth handler for tokens without a device.
Read in 1.140.0, 1.150.0 and 1.163.2; `tests/e2e/test_lifecycle.py` holds it.

How old a session is:

* `access_tokens.last_validated` is the time at which the token was made, by the clock of the main
  process, which makes them all (`handlers/register.py`, register_device_inner). It is set anew when
  its holder proves the password in user-interactive auth (`handlers/auth.py`); who has done so
  after an order was given is let be, since it is the password of after the order.
* A token that came by a refresh token is made anew again and again, so it tells nothing; nor does
  any other column. Such a session is taken for old.
"""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from synapse.module_api import LoggingTransaction, ModuleApi
from synapse.server import HomeServer

logger = logging.getLogger(__name__)


class _Token(NamedTuple):
    token: str
    device_id: str | None
    last_validated: int | None
    refresh_token_id: int | None

    def newer(self, than_ms: int) -> bool:
        return self.refresh_token_id is None and (self.last_validated or 0) >= than_ms

    def __repr__(self) -> str:
        return "_Token()"  # it opens an account


@dataclass(frozen=True, kw_only=True)
class SessionsEnded:
    """What became of the sessions of an account."""

    mxid: str
    ended: int
    kept: int


class SynapseSessions:
    """Ends sessions. For the main process, which is where Synapse makes and ends them."""

    def __init__(self, homeserver: ModuleApi, *, is_ours: Callable[[str], Awaitable[bool]]) -> None:
        """`is_ours` says whether an account is that of its name at Lalepass."""
        self._homeserver = homeserver
        self._is_ours = is_ours

    @property
    def _inside(self) -> HomeServer:
        # It has no public name. Should it go one day, orders fail with this in the log, and the
        # locks are as good as before.
        return self._homeserver._hs  # noqa: SLF001

    async def end_older(self, localpart: str, *, than_ms: int) -> Sequence[SessionsEnded]:
        """End the sessions of this name that began before a time.

        Names with historic capitals are the same name. Sessions of accounts that are not
        Lalepass's are let be: those of guests, of the puppets of bridges, of namesakes.

        Raises:
            Exception: whatever Synapse raises. Some sessions may have been ended.
        """
        mxid = f"@{localpart}:{self._homeserver.server_name}"
        store = self._inside.get_datastores().main
        results = []
        for spelling in await store.get_users_by_id_case_insensitive(mxid):
            if await self._is_ours(spelling):
                results.append(await self._end(spelling, than_ms=than_ms))
            else:
                logger.warning("%s is not Lalepass's: its sessions are let be", spelling)
        return results

    async def _end(self, mxid: str, *, than_ms: int) -> SessionsEnded:
        tokens, refreshable = await self._homeserver.run_db_interaction(
            "lalepass_sessions", _read, mxid
        )
        by_device = defaultdict[str | None, list[_Token]](list)
        for token in tokens:
            by_device[token.device_id].append(token)
        without_device = by_device.pop(None, [])
        by_device.update({device: [] for device in refreshable if device not in by_device})
        old = _old_devices(by_device, refreshable=refreshable, than_ms=than_ms)
        if old:
            await self._inside.get_device_handler().delete_devices(mxid, sorted(old))
        # What is left of a session of before on a device that a new one has taken over.
        left = [t for d, on_it in by_device.items() if d not in old for t in on_it]
        leftover = [t for t in [*left, *without_device] if not t.newer(than_ms)]
        for token in leftover:
            await self._inside.get_auth_handler().delete_access_token(token.token)
        gone = sum(token.device_id is None for token in leftover)
        return SessionsEnded(
            mxid=mxid,
            ended=len(old) + gone,
            kept=len(by_device) - len(old) + len(without_device) - gone,
        )


def _old_devices(
    by_device: Mapping[str | None, Sequence[_Token]], *, refreshable: set[str], than_ms: int
) -> set[str]:
    return {
        device
        for device, tokens in by_device.items()
        if device is not None
        and (device in refreshable or not any(token.newer(than_ms) for token in tokens))
    }


def _read(txn: LoggingTransaction, mxid: str) -> tuple[list[_Token], set[str]]:
    """Return the tokens of an account, and its devices that have a refresh token."""
    txn.execute(
        "SELECT token, device_id, last_validated, refresh_token_id"
        " FROM access_tokens WHERE user_id = ?",
        (mxid,),
    )
    tokens = [_Token(*row) for row in txn.fetchall()]
    txn.execute("SELECT DISTINCT device_id FROM refresh_tokens WHERE user_id = ?", (mxid,))
    return tokens, {device for (device,) in txn.fetchall() if device is not None}
