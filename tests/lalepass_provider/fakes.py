"""A homeserver as the provider sees it: Synapse's `ModuleApi`, without Synapse."""

from collections.abc import Awaitable, Callable
from typing import Any

from synapse.module_api import UserID, UserInfo
from synapse.module_api.errors import SynapseError
from twisted.internet import defer


class FakeHomeserver:
    """Keeps accounts by MXID and answers as Synapse 1.163 does."""

    server_name = "hs.example"

    def __init__(self, *existing: str) -> None:
        self.accounts: dict[str, str | None] = dict.fromkeys(existing)
        self.registered: list[str] = []
        self.guests: set[str] = set()
        self.puppets: set[str] = set()
        self.refuse: SynapseError | None = None
        self.callbacks: dict[str, Any] = {}
        self.background: dict[str, tuple[Callable[..., Any], tuple[object, ...]]] = {}
        self.before_registering: Callable[[], None] = lambda: None

    def check_user_exists(self, user_id: str) -> Awaitable[str | None]:
        """As `handlers/auth.py`, _find_user_id_and_pwd_hash."""
        matches = [mxid for mxid in self.accounts if mxid.lower() == user_id.lower()]
        if user_id in matches:
            return defer.succeed(user_id)
        return defer.succeed(matches[0] if len(matches) == 1 else None)

    def get_userinfo_by_id(self, user_id: str) -> Awaitable[UserInfo | None]:
        """As `storage/databases/main/registration.py`."""
        return defer.succeed(
            UserInfo(
                user_id=UserID.from_string(user_id),
                appservice_id="bridge" if user_id in self.puppets else None,  # type: ignore[arg-type]  # annotated as a number, and text in truth
                consent_server_notice_sent=None,
                consent_version=None,
                consent_ts=None,
                user_type=None,
                creation_ts=0,
                is_admin=False,
                is_deactivated=False,
                is_guest=user_id in self.guests,
                is_shadow_banned=False,
                approved=True,
                locked=False,
                suspended=False,
            )
            if user_id in self.accounts
            else None
        )

    def register_user(self, localpart: str, displayname: str | None = None) -> Awaitable[str]:
        """As `handlers/register.py`: names that differ in capitals only are one."""
        self.before_registering()
        mxid = f"@{localpart}:{self.server_name}"
        if self.refuse is not None:
            return defer.fail(self.refuse)
        if any(taken.lower() == mxid for taken in self.accounts):
            return defer.fail(SynapseError(400, "User ID already taken.", "M_USER_IN_USE"))
        self.accounts[mxid] = displayname
        self.registered.append(mxid)
        return defer.succeed(mxid)

    def register_password_auth_provider_callbacks(self, **callbacks: Any) -> None:
        self.callbacks = callbacks

    def delayed_background_call(
        self, _msec: float, f: Callable[..., Any], *args: object, desc: str
    ) -> None:
        """Keep it for the test that wants it."""
        self.background[desc] = (f, args)
