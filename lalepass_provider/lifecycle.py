"""Keeps a homeserver in step with what becomes of the accounts in Lalepass.

In every process: who is locked there can do nothing here, within seconds. In the main process: who
is to be signed out everywhere, is. And what happens here is reported.
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from synapse.api.errors import UserLockedError
from synapse.logging.context import current_context
from synapse.module_api import LoginResponse, ModuleApi

from lalepass_provider.background import Background, SynapseBackground
from lalepass_provider.errors import NoAnswer
from lalepass_provider.follower import Feed, Follower
from lalepass_provider.identity import user_identifier
from lalepass_provider.keeping import StateKeeper
from lalepass_provider.locks import Knowledge
from lalepass_provider.metrics import Metrics
from lalepass_provider.orders import Acknowledger, SignOuts
from lalepass_provider.owned import Owned
from lalepass_provider.pushing import ProfilePusher
from lalepass_provider.reports import Recorder, ReportQueue
from lalepass_provider.sessions import SynapseSessions
from lalepass_wire import Source
from lalepass_wire.feed import Account, ReportKind

logger = logging.getLogger(__name__)

_END: Final = 2.0
"""Seconds for which the end of a process may be held up."""


class Service(Feed, Acknowledger, Recorder, Protocol):
    """What is asked of the service and told to it."""


class Lifecycle:
    """The part of the module that acts without being asked by a login."""

    def __init__(
        self,
        *,
        homeserver: ModuleApi,
        service: Service,
        is_ours: Callable[[str], Awaitable[bool]],
        apply_profile: Callable[[Account], Awaitable[None]],
        state_path: str | None = None,
        is_local_user: Callable[[str], bool] = lambda _: False,
        background: Background | None = None,
        metrics: Metrics,
    ) -> None:
        """Register with Synapse, read the file, and begin to follow.

        Args:
            homeserver: Synapse's module API.
            service: Lalepass.
            is_ours: whether an account of this homeserver is that of its name at Lalepass.
            apply_profile: brings the profile of an account in step that has changed.
            state_path: a file that this process may write; each worker has one of its own, whose
                name ends with the name of the worker.
            is_local_user: whether a localpart is the homeserver's own affair.
            background: how work is started.
            metrics: counts.
        """
        self._server_name = homeserver.server_name
        self._is_local_user = is_local_user
        self._is_ours = is_ours
        self._owned = Owned(is_ours)
        self.knowledge = Knowledge()
        background = background or SynapseBackground(homeserver)
        self._state = _keeper(homeserver, state_path, self.knowledge, background)
        remembered = self._state.load() if self._state else ()
        self.sign_outs = (
            SignOuts(
                sessions=SynapseSessions(homeserver, is_ours=self._is_to_obey),
                service=service,
                background=background,
                remembered=remembered,
                remember=self._remember,
                metrics=metrics,
            )
            if homeserver.worker_app is None
            else None
        )
        if self._state and self.sign_outs:
            sign_outs = self.sign_outs
            self._state.remember(lambda: sign_outs.done)
        self.reports = ReportQueue(service=service, background=background, metrics=metrics)
        self.follower = Follower(
            feed=service,
            knowledge=self.knowledge,
            background=background,
            changed=self._changed,
            orders=self.sign_outs,
        )
        metrics.follows(age=self.follower.age, locked=lambda: len(self.knowledge.locked))
        homeserver.register_account_validity_callbacks(is_user_expired=self.is_user_expired)
        homeserver.register_password_auth_provider_callbacks(on_logged_out=self.on_logged_out)
        background.repeat("follow", self.follower.step)
        if self.sign_outs is not None:
            pusher = ProfilePusher(
                feed=service,
                knowledge=self.knowledge,
                background=background,
                apply=apply_profile,
                changed=self._changed,
            )
            background.repeat("profiles", pusher.step)
        background.at_end("end", self._end, seconds=_END)

    async def is_user_expired(self, user_id: str) -> bool | None:
        """Synapse's question about each request of a person, and each push to one.

        Raises:
            UserLockedError: the request is refused as one of a user whom Synapse itself has locked
                (401, with `soft_logout`): the client keeps its session for better times. Raised
                only while a request is being authenticated. Elsewhere, as in the pusher pool's
                loop over all members of a room, it would cost others their pushes.
        """
        if not self.is_locked(user_id) or not await self._owned(user_id):
            return None
        request = getattr(current_context(), "request", None)
        if request is not None and request.requester is None:
            raise UserLockedError
        return True

    def is_locked(self, user_id: str) -> bool:
        """Say whether Lalepass has locked this name, whatever capitals the MXID has."""
        if not self.knowledge.locked or not user_id.isascii():
            return False
        localpart = user_id[1 : user_id.find(":")].lower()
        return localpart in self.knowledge.locked and not self._is_local_user(localpart)

    async def on_logged_out(self, user_id: str, device_id: str | None, _access_token: str) -> None:
        """Report it. Synapse calls this for each token that is deleted."""
        localpart = self._reportable(user_id)
        if localpart is not None:
            self.reports.add(ReportKind.SIGNED_OUT, localpart, device_id=device_id)

    def report_login(self, source: Source | None) -> Callable[[LoginResponse], Awaitable[None]]:
        """Return what Synapse is to call when the login that was accepted has its session."""

        async def report(login: LoginResponse) -> None:
            localpart = self._reportable(login["user_id"])
            if localpart is not None:
                device_id = login.get("device_id")
                self.reports.add(
                    ReportKind.SIGNED_IN, localpart, device_id=device_id, source=source
                )

        return report

    async def _is_to_obey(self, mxid: str) -> bool:
        localpart = mxid[1 : mxid.find(":")].lower()
        return not self._is_local_user(localpart) and await self._is_ours(mxid)

    def _reportable(self, user_id: str) -> str | None:
        identifier = user_identifier(user_id, server_name=self._server_name)
        if identifier is None or self._is_local_user(identifier.localpart):
            return None
        return identifier.localpart

    def _changed(self) -> None:
        if self._state:
            self._state.changed()

    async def _remember(self) -> None:
        if self._state:
            await self._state.save()

    async def _end(self) -> None:
        if self._state:
            await self._state.end()
        try:
            await self.reports.flush()
        except NoAnswer as exc:
            logger.warning("%d logins and logouts will not be reported: %s", len(self.reports), exc)


def _keeper(
    homeserver: ModuleApi, state_path: str | None, knowledge: Knowledge, background: Background
) -> StateKeeper | None:
    if state_path is None:
        return None
    path = Path(state_path)
    if homeserver.worker_app is not None:
        path = path.with_name(f"{path.name}.{homeserver.worker_name}")
    return StateKeeper(
        path=path,
        server_name=homeserver.server_name,
        knowledge=knowledge,
        background=background,
    )
