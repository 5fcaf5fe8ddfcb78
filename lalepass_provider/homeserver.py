"""What the provider needs of Synapse's documented interface for modules."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, LiteralString, Protocol, TypeVar

from synapse.module_api import UserID
from twisted.internet.defer import Deferred

T = TypeVar("T")


class Cursor(Protocol):
    """What Synapse hands to a function in a transaction. `?` stands for a value on every engine."""

    def execute(self, sql: str, parameters: Iterable[Any] = ..., /) -> object:
        """Run a statement."""
        ...

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows that are left."""
        ...


class Homeserver(Protocol):
    """The part of `ModuleApi` that accounts and profiles need."""

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

    def record_user_external_id(
        self, auth_provider_id: str, remote_user_id: str, registered_user_id: str
    ) -> Awaitable[None]:
        """Remember which account is whose. A second time is no error."""
        ...

    async def set_displayname(self, user_id: UserID, new_displayname: str) -> None:
        """Write the name, and send it to each room that the person is in."""
        ...

    async def set_user_admin(self, user_id: str, admin: bool) -> None:  # noqa: FBT001 - Synapse's own signature
        """Make somebody an administrator of the server, or nobody special."""
        ...

    def run_db_interaction(self, desc: str, func: Callable[..., T], *args: Any) -> Awaitable[T]:  # noqa: ANN401 - whatever the function takes
        """Run a function with a cursor, in a transaction and on a database thread."""
        ...

    def run_as_background_process(
        self, desc: LiteralString, func: Callable[[], Coroutine[Any, Any, T | None]]
    ) -> Deferred[T | None]:
        """Run it in a logging context of its own, which may outlast the request."""
        ...

    def get_current_time_msec(self) -> int:
        """Return the time in milliseconds since 1970."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait without holding anything up."""
        ...
