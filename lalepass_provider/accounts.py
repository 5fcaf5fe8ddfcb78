"""After an accepted check: the Matrix account of the person exists, and is theirs."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from synapse.module_api.errors import Codes, SynapseError

from lalepass_provider.homeserver import Homeserver
from lalepass_provider.policy import Keep, LinkExisting, LocalUsers
from lalepass_provider.tables import LINK, Account, Profile, Tables
from lalepass_provider.wanted import acceptable_name
from lalepass_provider.whose import misfit
from lalepass_wire import AcceptedUser

logger = logging.getLogger(__name__)

_MOMENTS: Final = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds to wait for another login of the same person to link the account it has just made."""
_YOUNG: Final = 60
"""Seconds in which an account may have been made by such a login."""


class _NoSingleSignOn(logging.Filter):
    """Takes our links out of what Synapse says about single sign-on providers it does not know.

    In each user-interactive auth it looks whether one of the person's links belongs to such a
    provider, and warns about the others (`handlers/sso.py`, get_identity_providers_for_user).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not (isinstance(record.args, tuple) and record.args[-1:] == (LINK,))


_NO_SINGLE_SIGN_ON: Final = _NoSingleSignOn()


def hush_synapse() -> None:
    """Keep the links of accounts out of warnings that are not about them. Once is enough."""
    logging.getLogger("synapse.handlers.sso").addFilter(_NO_SINGLE_SIGN_ON)


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


@dataclass(frozen=True, kw_only=True)
class Ensured:
    """The account that the person has."""

    mxid: str
    """As the homeserver spells it."""
    created: bool
    """It was made just now."""
    profile: Profile | None = None
    """How its profile was a moment ago, where that was read with the link."""


class Owing(Protocol):
    """Notes what a new account is owed."""

    async def expect(self, mxid: str) -> None:
        """Note it before the account is made. Does not raise."""
        ...

    async def forget(self, mxid: str) -> None:
        """Strike it off: the account is not made. Does not raise."""
        ...


class MatrixAccounts:
    """Finds or makes the account of an accepted user, and remembers whose it is.

    An account is linked to the id of its user at Lalepass, and has that user's name. Whoever gets
    the name of somebody who was deleted does not get their account.
    """

    def __init__(
        self,
        *,
        homeserver: Homeserver,
        tables: Tables,
        link_existing: LinkExisting,
        local_users: LocalUsers,
        display_name: Keep,
        with_profile: bool = False,
        owing: Owing | None = None,
    ) -> None:
        """Make one.

        Args:
            homeserver: Synapse's module API.
            tables: what is read and written beside it.
            link_existing: whose are accounts that were there before.
            local_users: whose are none of ours.
            display_name: whether a new account gets one.
            with_profile: whether a login needs to know the profile of an account.
            owing: notes what is to be written to a new account, also if this process ends before
                it is written.
        """
        self._homeserver = homeserver
        self._tables = tables
        self._link_existing = link_existing
        self._local_users = local_users
        self._owing = owing
        self._gives_name = display_name is not Keep.NEVER
        self._find = tables.linked_with_profile if with_profile else tables.linked

    async def ensure(self, user: AcceptedUser) -> Ensured:
        """Return the user's account, which is made or linked if need be.

        An account from the time when MXIDs could have capitals is found by the same name in lower
        case. E-mail addresses are not handed over when one is made: `register_user` would take an
        address away from the account that has it (Synapse, `user_add_threepid`).

        Raises:
            AccountRefused: there is none and there will be none.
        """
        account = await self._find(user.id)
        created = False
        if account is None:
            mxid = f"@{user.localpart}:{self._homeserver.server_name}"
            self._check(Account(mxid=mxid), user)
            existing = await self._homeserver.check_user_exists(mxid)
            if existing is None:
                account, created = await self._make(mxid, user)
            else:
                account = await self._link(existing, user)
        self._check(account, user)
        if account.deactivated:
            raise _deactivated()
        return Ensured(mxid=account.mxid, created=created, profile=account.profile)

    async def is_ours(self, mxid: str) -> bool:
        """Say whether an account is that of the user of this name, or would be at the next login.

        If not, what becomes of that user does not concern it: it is somebody else's who happens
        to have the name, such as an administrator of before Lalepass.

        A link to any user is enough, since nobody knows here whose id is whose: one of before, when
        the service was set up anew, must not keep a session from being ended. The price is that a
        link made by hand to a user of another name, with which nobody logs in, is one as well.
        """
        account = await self._tables.account(mxid)
        if account is None or account.special:
            return False
        return bool(account.links) or self._may_link(account)

    async def _make(self, mxid: str, user: AcceptedUser) -> tuple[Account, bool]:
        name = acceptable_name(user) if self._gives_name else None
        if self._owing:
            await self._owing.expect(mxid)
        try:
            created = await self._homeserver.register_user(user.localpart, name)
        except SynapseError as exc:
            if exc.errcode != Codes.USER_IN_USE:
                if self._owing:
                    await self._owing.forget(mxid)
                raise _passed_on(exc) from exc
            return await self._made_by_another(mxid, user), False
        await self._homeserver.record_user_external_id(LINK, user.id, created)
        logger.info("Created the Matrix account %s at its first login", created)
        return Account(mxid=created, links=frozenset({user.id})), True

    async def _made_by_another(self, mxid: str, user: AcceptedUser) -> Account:
        """Somebody has the name: a login at the same moment, or several historic accounts."""
        existing = await self._homeserver.check_user_exists(mxid)
        if existing is not None:
            return await self._link(existing, user)
        logger.error(
            "%s could be any of several accounts that differ in capitals only: not logged in", mxid
        )
        raise _refused("More than one account of this server has this name.")

    async def _link(self, mxid: str, user: AcceptedUser) -> Account:
        """Return an account that was there, if it may become this user's."""
        account = await self._tables.account(mxid)
        if account is None:
            raise RuntimeError(f"{mxid} is gone from one moment to the next")
        if account.links - {user.id}:
            logger.error(
                "%s belongs to another user of Lalepass, who had this name before: not logged in."
                " If they are the same person, remove the %s entry of the account's external_ids"
                " with Synapse's admin API",
                mxid,
                LINK,
            )
            raise _refused("The account of this name on this server belongs to somebody else.")
        if account.deactivated:
            raise _deactivated()
        self._check(account, user)
        if not account.links and not self._may_link(account):
            return await self._linked_meanwhile(account, user)
        await self._homeserver.record_user_external_id(LINK, user.id, mxid)
        if not account.links:
            logger.info("Linked the existing Matrix account %s to its user of Lalepass", mxid)
        return account

    def _may_link(self, account: Account) -> bool:
        if self._link_existing is LinkExisting.IF_NO_PASSWORD:
            return not account.has_password and not account.vouched_by
        return self._link_existing is LinkExisting.ALWAYS

    async def _linked_meanwhile(self, account: Account, user: AcceptedUser) -> Account:
        """Wait for the login that has just made the account, if there is one, to link it."""
        now = self._homeserver.get_current_time_msec() / 1000
        ours = not account.has_password and not account.vouched_by
        if ours and now - account.created_at < _YOUNG:
            for moment in _MOMENTS:
                await self._homeserver.sleep(moment)
                linked = await self._tables.linked(user.id)
                if linked is not None:
                    return linked
        logger.error(
            "%s was there before Lalepass and is not linked to a user of it: not logged in"
            " (link_existing: %s%s)",
            account.mxid,
            self._link_existing.value,
            _who_logs_in(account),
        )
        raise _refused("The account of this name on this server is not yours, as far as is known.")

    def _check(self, account: Account, user: AcceptedUser) -> None:
        wrong = misfit(
            account,
            localpart=user.localpart,
            server_name=self._homeserver.server_name,
            local_users=self._local_users,
        )
        if wrong is not None:
            logger.error("Not logged in: %s", wrong.fault)
            raise _refused(wrong.told)


def _who_logs_in(account: Account) -> str:
    """Say for the log who but Lalepass's user could log in to an account."""
    password = "; it has a password in Synapse" if account.has_password else ""
    providers = ", ".join(sorted(account.vouched_by))
    return password + (f"; somebody logs in to it by {providers}" if providers else "")


def _deactivated() -> AccountRefused:
    return AccountRefused(
        status=403,
        errcode=Codes.USER_DEACTIVATED.value,
        message="This account has been deactivated on this server.",
    )


def _refused(message: str) -> AccountRefused:
    return AccountRefused(
        status=403,
        errcode=Codes.FORBIDDEN.value,
        message=f"{message} Please ask your administrator.",
    )


def _passed_on(exc: SynapseError) -> AccountRefused:
    said = dict(exc.error_dict(None))
    return AccountRefused(
        status=exc.code,
        errcode=said.pop("errcode"),
        message=said.pop("error"),
        fields=said,
    )
