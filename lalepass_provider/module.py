"""What Synapse loads. The only place where an answer of ours becomes one of Synapse's."""

import logging
import math
import re
from collections.abc import Awaitable, Callable
from typing import Final

from pydantic import SecretStr
from synapse.logging.context import current_context, make_deferred_yieldable
from synapse.module_api import JsonDict, LoginResponse, ModuleApi
from synapse.module_api.errors import Codes
from twisted.internet import defer, reactor

from lalepass_provider import config as configuration
from lalepass_provider import metrics, selftest, wiring
from lalepass_provider.accounts import AccountRefused, MatrixAccounts, hush_synapse
from lalepass_provider.asked import AskedBefore
from lalepass_provider.config import ProviderConfig
from lalepass_provider.errors import CallerRejected, ContractBroken, NoAnswer, Throttled
from lalepass_provider.honest import HonestError
from lalepass_provider.identity import (
    can_be_password,
    is_storable,
    threepid_identifier,
    user_identifier,
)
from lalepass_provider.lifecycle import Lifecycle
from lalepass_provider.policy import LocalUsers, Unavailable
from lalepass_provider.profile import ProfileSync
from lalepass_provider.tables import Tables
from lalepass_wire import (
    Accepted,
    CheckRequest,
    Identifier,
    RefusalReason,
    Source,
    limits,
)

logger = logging.getLogger(__name__)

Login = tuple[str, Callable[[LoginResponse], Awaitable[None]] | None] | None
"""What Synapse wants of an auth checker: an MXID and what to do after the login, or no."""

_DEFAULT_RETRY_AFTER: Final = 5.0


class LalepassProvider:
    """Checks every password with a Lalepass service.

    Loads from `modules:`, and from `password_providers:` as well. It has none of the method names
    by which Synapse finds the callbacks of a legacy provider (`handlers/auth.py`,
    load_single_legacy_password_auth_provider), so in both cases it registers them itself.
    """

    @staticmethod
    def parse_config(config: object) -> ProviderConfig:
        """Check the module's options. Raises ConfigError: see `config.parse`."""
        return configuration.parse(config)

    def __init__(
        self,
        config: ProviderConfig,
        api: ModuleApi | None = None,
        account_handler: ModuleApi | None = None,
    ) -> None:
        homeserver = api or account_handler  # the second is what `password_providers:` calls it
        if homeserver is None:
            raise TypeError("Synapse hands its module API over as api or account_handler")
        self._server_name = homeserver.server_name
        self._local_users = LocalUsers(config.local_users)
        self._unavailable = config.unavailable
        self._tables = Tables(homeserver)
        self._profile = ProfileSync(
            homeserver=homeserver,
            tables=self._tables,
            policy=config.profile.policy(),
            local_users=self._local_users,
            clock=reactor,
            failed=metrics.shared().profile_failed,
        )
        self._accounts = MatrixAccounts(
            homeserver=homeserver,
            tables=self._tables,
            link_existing=config.link_existing,
            local_users=self._local_users,
            display_name=config.profile.display_name,
            with_profile=config.profile.policy().needs_profile,
            owing=self._profile,
        )
        self._asked = AskedBefore()
        hush_synapse()
        self._account_page = config.account_page
        self._client = wiring.client(config, reactor=reactor, yieldable=make_deferred_yieldable)
        self._lifecycle = (
            Lifecycle(
                homeserver=homeserver,
                service=self._client,
                is_ours=self._accounts.is_ours,
                apply_profile=self._profile.apply,
                state_path=config.lifecycle.state_path,
                is_local_user=self._local_users.match,
                metrics=metrics.shared(),
            )
            if config.lifecycle.enabled
            else None
        )
        telling = selftest.telling()
        homeserver.register_password_auth_provider_callbacks(
            auth_checkers={("m.login.password", ("password",)): telling(self._by_name)},
            check_3pid_auth=telling(self._by_threepid),
        )
        # In the background: a homeserver starts whether or not the service is there.
        homeserver.delayed_background_call(
            0,
            selftest.say_what_it_is_connected_to,
            self._client,
            " or ".join(config.addresses),
            desc="lalepass_start",
        )

    async def aclose(self) -> None:
        """Stop what runs in the background, and close the connections that are not in use."""
        await self._client.aclose()

    async def _by_name(self, username: str, _login_type: str, login_dict: JsonDict) -> Login:
        """Synapse's auth checker: `username` is what was typed, a name or an MXID."""
        password = login_dict.get("password")
        _refuse_what_breaks_synapse(username, password)
        return await self._honestly(self._login_by_name(username, password))

    async def _by_threepid(self, medium: object, address: object, password: object) -> Login:
        """Synapse's `check_3pid_auth`. The first two may be any JSON that a client has sent."""
        if not isinstance(medium, str) or not isinstance(address, str):
            raise _plain_refusal()  # PostgreSQL compares no text with a number
        _refuse_what_breaks_synapse(address, password)
        return await self._honestly(self._login_by_threepid(medium, address, password))

    async def _login_by_name(self, username: str, password: object) -> Login:
        identifier = user_identifier(username, server_name=self._server_name)
        if identifier is None or not isinstance(password, str) or not can_be_password(password):
            return None
        if self._local_users.match(identifier.localpart) or self._asked.about(username):
            return None
        return await self._decide(identifier, password)

    async def _login_by_threepid(self, medium: str, address: str, password: object) -> Login:
        identifier = threepid_identifier(medium, address)
        if identifier is None or not isinstance(password, str) or not can_be_password(password):
            return None
        if self._local_users:
            owner = await self._tables.owner_of(medium, address)
            if owner is not None and self._local_users.match_mxid(owner):
                return None  # Synapse asks for the owner by MXID, which is not sent out either
        login = await self._decide(identifier, password)
        if login is None:
            await self._note_refusal(medium, address)
        return login

    async def _note_refusal(self, medium: str, address: str) -> None:
        try:
            keeper = await self._tables.keeper_of(medium, address)
        except Exception:
            logger.exception("Lalepass may be asked twice about an address")
            return
        if keeper is not None:
            self._asked.note(keeper)

    async def _honestly(self, login: Awaitable[Login]) -> Login:
        """Turn what comes instead of an answer into what the person has to know."""
        try:
            return await login
        except NoAnswer as exc:
            told = _no_answer(exc)
            if self._unavailable is Unavailable.ERROR or isinstance(exc, Throttled):
                raise told from exc
            self._asked.note()
            return None  # the local database is asked
        except AccountRefused as exc:
            raise HonestError(
                exc.status, exc.message, exc.errcode, additional_fields=dict(exc.fields)
            ) from exc
        except defer.CancelledError:
            raise  # a HonestError as well
        except Exception as exc:
            # A fault of ours or of the homeserver's database. Synapse would say that the password
            # was wrong.
            logger.exception("A login failed for no fault of the person's")
            raise _unavailable() from exc

    async def _decide(self, identifier: Identifier, password: str) -> Login:
        source, request_id = _request_facts()
        check = CheckRequest(identifier=identifier, password=SecretStr(password), source=source)
        answer = await self._client.check(check, request_id=request_id)
        if isinstance(answer, Accepted):
            account = await self._accounts.ensure(answer.user)
            await self._profile.after_login(
                account.mxid, answer.user, created=account.created, now=account.profile
            )
            report = self._lifecycle.report_login(source) if self._lifecycle else None
            return account.mxid, report
        if answer.reason is RefusalReason.DISABLED:
            raise HonestError(403, "This account has been disabled.", Codes.USER_DEACTIVATED)
        if answer.reason is RefusalReason.PASSWORD_CHANGE_REQUIRED:
            raise _has_to_change_it(self._account_page)
        return None


def _request_facts() -> tuple[Source | None, str | None]:
    """Return who is asking, from the request that Synapse is working on."""
    request = getattr(current_context(), "request", None)
    if request is None:
        return None, None
    user_agent = (request.user_agent or "")[: limits.MAX_USER_AGENT_LENGTH] or None
    try:
        source = Source(ip=request.ip_address, user_agent=user_agent)
    except ValueError:
        source = Source(user_agent=user_agent)  # a listener on a Unix socket has no address
    # A proxy may choose it (`request_id_header`), and a header has to be able to hold it.
    fits = re.fullmatch(limits.REQUEST_ID_PATTERN, request.request_id or "")
    return source, request.request_id if fits else None


def _refuse_what_breaks_synapse(*typed: object) -> None:
    """Refuse at once what the homeserver's own look-up would answer with an internal error.

    A refusal by `None` sends it on to the local database and its hash function, which fail on
    text that can't be encoded.
    """
    if not all(is_storable(text) for text in typed if isinstance(text, str)):
        raise _plain_refusal()


def _plain_refusal() -> HonestError:
    return HonestError(403, "Invalid username or password", Codes.FORBIDDEN)


def _no_answer(exc: NoAnswer) -> HonestError:
    """Tell the operator why the password was not checked, and the person that it was not."""
    needs_operator = isinstance(exc, CallerRejected | ContractBroken)
    logger.log(
        logging.ERROR if needs_operator else logging.WARNING,
        "No answer from Lalepass, so nobody was let in or refused: %s: %s",
        type(exc).__name__,
        exc,
    )
    if not isinstance(exc, Throttled):
        return _unavailable(exc.retry_after)
    retry_after = _whole_seconds(exc.retry_after)
    return HonestError(
        429,
        "Too many attempts. Please wait before you try again.",
        Codes.LIMIT_EXCEEDED,
        additional_fields={"retry_after_ms": retry_after * 1000},
        headers={"Retry-After": str(retry_after)},
    )


def _has_to_change_it(account_page: str | None) -> HonestError:
    sentence = "Your password has to be changed before you can log in."
    where = f" You can do so at {account_page}" if account_page else ""
    return HonestError(403, sentence + where, Codes.FORBIDDEN)


def _unavailable(retry_after: float | None = None) -> HonestError:
    return HonestError(
        503,
        "Your password could not be checked because the login service is not available."
        " Please try again in a moment.",
        Codes.UNKNOWN,
        headers={"Retry-After": str(_whole_seconds(retry_after))},
    )


def _whole_seconds(retry_after: float | None) -> int:
    return max(1, math.ceil(_DEFAULT_RETRY_AFTER if retry_after is None else retry_after))
