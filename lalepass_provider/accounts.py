"""After an accepted check: the Matrix account of the person exists."""

import logging
from collections.abc import Awaitable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from synapse.module_api import UserInfo
from synapse.module_api.errors import Codes, SynapseError

from lalepass_wire import AcceptedUser

logger = logging.getLogger(__name__)


_MAX_DISPLAY_NAME: Final = 256
"""Synapse's (`handlers/profile.py`), which it does not check when an account is registered."""


class Homeserver(Protocol):
    """What is needed of Synapse's `ModuleApi`."""

    @property
    def server_name(self) -> str:
        """The domain of this server's MXIDs."""
        ...

    def check_user_exists(self, user_id: str) -> Awaitable[str | None]:
        """Return the MXID in its stored spelling; None for no match or several inexact ones."""
        ...

    def get_userinfo_by_id(self, user_id: str) -> Awaitable[UserInfo | None]:
        """Return what is known of an account."""
        ...

    def register_user(self, localpart: str, displayname: str | None = None) -> Awaitable[str]:
        """Make an account without a device, or raise SynapseError."""
        ...


class AccountRefused(Exception):
    """The homeserver has no account for this person and does not make one.

    The password was right; so the person is told what the homeserver said.
    """

    def __init__(
        self,
        *,
        status: int,
        errcode: str,
        message: str,
        fields: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        super().__init__(f"{status} {errcode}: {message}")
        self.status = status
        self.errcode = errcode
        self.message = message
        self.fields = fields
        """What the homeserver's error says beside these, such as whom to ask."""


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
            return await self._a_persons(existing)
        name = user.display_name
        try:
            created = await self._homeserver.register_user(
                user.localpart, name if name and _acceptable(name) else None
            )
        except SynapseError as exc:
            if exc.errcode != Codes.USER_IN_USE:
                raise _refused(exc) from exc
            return await self._made_by_another(mxid)
        logger.info("Created the Matrix account %s at its first login", created)
        return created

    async def _a_persons(self, mxid: str) -> str:
        """Return the MXID if the account is a person's: not a guest's, and not a bridge's puppet.

        Synapse refuses to register such names, but asks nothing about one that exists already.
        """
        info = await self._homeserver.get_userinfo_by_id(mxid)
        if info is not None and not info.is_guest and info.appservice_id is None:
            return mxid
        logger.error("%s belongs to a guest or to an application service: not logged in", mxid)
        raise AccountRefused(
            status=403,
            errcode=Codes.FORBIDDEN.value,
            message="The account of this name on this server is not a person's. "
            "Please ask your administrator.",
        )

    async def _made_by_another(self, mxid: str) -> str:
        """Somebody has the name: a login at the same moment, or several historic accounts."""
        existing = await self._homeserver.check_user_exists(mxid)
        if existing is not None:
            return await self._a_persons(existing)
        logger.error(
            "%s could be any of several accounts that differ in capitals only: not logged in", mxid
        )
        raise AccountRefused(
            status=403,
            errcode=Codes.FORBIDDEN.value,
            message="More than one account of this server has this name. "
            "Please ask your administrator.",
        )


def _refused(exc: SynapseError) -> AccountRefused:
    said = dict(exc.error_dict(None))
    return AccountRefused(
        status=exc.code,
        errcode=said.pop("errcode"),
        message=said.pop("error"),
        fields=said,
    )


def _acceptable(display_name: str) -> bool:
    """Whether a homeserver can keep this name; PostgreSQL, for one, takes no NUL."""
    return len(display_name) <= _MAX_DISPLAY_NAME and "\0" not in display_name
