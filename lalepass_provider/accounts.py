"""After an accepted check: the Matrix account of the person exists."""

import logging
from collections.abc import Awaitable
from typing import Protocol

from synapse.module_api.errors import Codes, SynapseError

from lalepass_wire import AcceptedUser

logger = logging.getLogger(__name__)


class Homeserver(Protocol):
    """What is needed of Synapse's `ModuleApi`."""

    @property
    def server_name(self) -> str:
        """The domain of this server's MXIDs."""
        ...

    def check_user_exists(self, user_id: str) -> Awaitable[str | None]:
        """Return the MXID in its stored spelling; None for no match or several inexact ones."""
        ...

    def register_user(self, localpart: str, displayname: str | None = None) -> Awaitable[str]:
        """Make an account without a device, or raise SynapseError."""
        ...


class AccountRefused(Exception):
    """The homeserver has no account for this person and does not make one.

    The password was right; so the person is told what the homeserver said.
    """

    def __init__(self, *, status: int, errcode: str, message: str) -> None:
        super().__init__(f"{status} {errcode}: {message}")
        self.status = status
        self.errcode = errcode
        self.message = message


class MatrixAccounts:
    """Finds or makes the account of an accepted user."""

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver

    async def ensure(self, user: AcceptedUser) -> str:
        """Return the MXID of the user's account, as the homeserver spells it.

        An account from the time when MXIDs could have capitals is found by the same name in lower
        case. E-mail addresses are not handed over here: `register_user` would take an address
        away from the account that has it (Synapse, `user_add_threepid`).

        Raises:
            AccountRefused: there is none and there will be none.
        """
        mxid = f"@{user.localpart}:{self._homeserver.server_name}"
        existing = await self._homeserver.check_user_exists(mxid)
        if existing is not None:
            return existing
        try:
            created = await self._homeserver.register_user(user.localpart, user.display_name)
        except SynapseError as exc:
            if exc.errcode != Codes.USER_IN_USE:
                raise AccountRefused(status=exc.code, errcode=exc.errcode, message=exc.msg) from exc
            return await self._made_by_another(mxid)
        logger.info("Created the Matrix account %s at its first login", created)
        return created

    async def _made_by_another(self, mxid: str) -> str:
        """Somebody has the name: a login at the same moment, or several historic accounts."""
        existing = await self._homeserver.check_user_exists(mxid)
        if existing is not None:
            return existing
        logger.error(
            "%s could be any of several accounts that differ in capitals only: not logged in", mxid
        )
        raise AccountRefused(
            status=403,
            errcode=Codes.FORBIDDEN.value,
            message="More than one account of this server has this name. "
            "Please ask your administrator.",
        )
