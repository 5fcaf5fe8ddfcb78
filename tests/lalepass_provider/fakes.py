"""A homeserver as the provider sees it: Synapse's `ModuleApi`, without Synapse.

The database is a real one, with the tables that the provider looks at as Synapse 1.163 has them, so
that the provider's own SQL is what the tests run.
"""

import re
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from synapse.module_api import UserID
from synapse.module_api.errors import SynapseError
from twisted.internet import defer

# From `storage/schema/main/full_schemas/72/full.sql.sqlite` and the deltas after it.
_SCHEMA = """
CREATE TABLE users (
    name TEXT UNIQUE, password_hash TEXT, creation_ts BIGINT, admin SMALLINT DEFAULT 0 NOT NULL,
    is_guest SMALLINT DEFAULT 0 NOT NULL, appservice_id TEXT,
    deactivated SMALLINT DEFAULT 0 NOT NULL
);
CREATE TABLE profiles (
    user_id TEXT NOT NULL UNIQUE, displayname TEXT, avatar_url TEXT, full_user_id TEXT
);
CREATE TABLE user_threepids (
    user_id TEXT NOT NULL, medium TEXT NOT NULL, address TEXT NOT NULL,
    validated_at BIGINT NOT NULL, added_at BIGINT NOT NULL,
    CONSTRAINT medium_address UNIQUE (medium, address)
);
CREATE TABLE user_external_ids (
    auth_provider TEXT NOT NULL, external_id TEXT NOT NULL, user_id TEXT NOT NULL,
    UNIQUE (auth_provider, external_id)
);
"""


class FakeHomeserver:
    """Keeps accounts by MXID and answers as Synapse 1.163 does."""

    server_name = "hs.example"
    now_msec = 1_800_000_000_000
    worker_app: str | None = None
    worker_name: str | None = None

    def __init__(self, *existing: str) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.executescript(_SCHEMA)
        for mxid in existing:
            self.add(mxid)
        self.registered: list[str] = []
        self.written: list[tuple[str, str, object]] = []
        """What was done to profiles: MXID, what, value."""
        self.refuse: SynapseError | None = None
        self.callbacks: dict[str, Any] = {}
        self.background: dict[str, tuple[Callable[..., Any], tuple[object, ...]]] = {}
        self.before_registering: Callable[[], None] = lambda: None
        self.before_reading: Callable[[str], Awaitable[None]] | None = None
        """Called with the description of each transaction."""
        self.slept: list[float] = []
        self.while_sleeping: Callable[[], None] = lambda: None
        self._auth_handler = self

    def add(self, mxid: str, *, displayname: str | None = None, **columns: object) -> None:
        """Put an account there."""
        columns = {"name": mxid, "creation_ts": 0, **columns}
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        values = tuple(columns.values())
        self.database.execute(f"INSERT INTO users ({names}) VALUES ({marks})", values)  # noqa: S608 - our own names
        self.database.execute(
            "INSERT INTO profiles (user_id, full_user_id, displayname) VALUES (?, ?, ?)",
            (mxid, mxid, displayname),
        )

    def change(self, mxid: str, **columns: object) -> None:
        """Change an account's row."""
        for name, value in columns.items():
            self.database.execute(f"UPDATE users SET {name} = ? WHERE name = ?", (value, mxid))  # noqa: S608 - our own names

    def add_address(self, mxid: str, medium: str, address: str) -> None:
        """Give an account an address, as a person does."""
        row = (mxid, medium, address, 0, 0)
        self.database.execute("INSERT INTO user_threepids VALUES (?, ?, ?, ?, ?)", row)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return sorted(self.database.execute(sql).fetchall())

    @property
    def accounts(self) -> dict[str, str | None]:
        """Display names by MXID."""
        return dict(self.rows("SELECT full_user_id, displayname FROM profiles"))

    @property
    def links(self) -> dict[str, str]:
        """MXIDs by the id of Lalepass's user."""
        return dict(
            self.rows(
                "SELECT external_id, user_id FROM user_external_ids"
                " WHERE auth_provider = 'lalepass'"
            )
        )

    @property
    def addresses(self) -> list[tuple[str, str, str]]:
        """MXID, medium, address."""
        return self.rows("SELECT user_id, medium, address FROM user_threepids")

    def admin(self, mxid: str) -> bool:
        return (mxid, 1) in self.rows("SELECT name, admin FROM users")

    def check_user_exists(self, user_id: str) -> Awaitable[str | None]:
        """As `handlers/auth.py`, _find_user_id_and_pwd_hash."""
        matches = [mxid for mxid in self.accounts if mxid.lower() == user_id.lower()]
        if user_id in matches:
            return defer.succeed(user_id)
        return defer.succeed(matches[0] if len(matches) == 1 else None)

    def register_user(self, localpart: str, displayname: str | None = None) -> Awaitable[str]:
        """As `handlers/register.py`: names that differ in capitals only are one."""
        self.before_registering()
        mxid = f"@{localpart}:{self.server_name}"
        if self.refuse is not None:
            return defer.fail(self.refuse)
        if any(taken.lower() == mxid for taken in self.accounts):
            return defer.fail(SynapseError(400, "User ID already taken.", "M_USER_IN_USE"))
        name = localpart if displayname is None else displayname
        self.add(mxid, displayname=name, creation_ts=self.now_msec // 1000)
        self.registered.append(mxid)
        return defer.succeed(mxid)

    def record_user_external_id(
        self, auth_provider_id: str, remote_user_id: str, registered_user_id: str
    ) -> Awaitable[None]:
        """As `storage/databases/main/registration.py`, without the second look after a conflict."""
        row = (auth_provider_id, remote_user_id, registered_user_id)
        if row not in self.rows("SELECT * FROM user_external_ids"):
            self.database.execute("INSERT INTO user_external_ids VALUES (?, ?, ?)", row)
        return defer.succeed(None)

    async def set_displayname(self, user_id: UserID, new_displayname: str) -> None:
        self.written.append((str(user_id), "display name", new_displayname))
        self.database.execute(
            "UPDATE profiles SET displayname = ? WHERE full_user_id = ?",
            (new_displayname.strip() or None, user_id.to_string()),
        )

    async def set_user_admin(self, user_id: str, admin: bool) -> None:  # noqa: FBT001 - Synapse's own signature
        self.written.append((user_id, "admin", admin))
        self.change(user_id, admin=int(admin))

    async def delete_local_threepid(self, user_id: str, medium: str, address: str) -> None:
        """Of Synapse's auth handler, which a module finds as `_auth_handler`."""
        self.written.append((user_id, f"no {medium}", address))
        self.database.execute(
            "DELETE FROM user_threepids WHERE user_id = ? AND medium = ? AND address = ?",
            (user_id, medium, address),
        )

    async def run_db_interaction(self, desc: str, func: Callable[..., Any], *args: Any) -> Any:
        """A transaction; what writes is noted."""
        if self.before_reading is not None:
            await self.before_reading(desc)
        cursor = self.database.cursor()
        before = self.database.total_changes
        result = func(cursor, *args)
        if self.database.total_changes != before:
            self.written.append((str(args[0]), desc, args[1:]))
        return result

    def run_as_background_process(
        self, desc: str, func: Callable[..., Coroutine[Any, Any, Any]]
    ) -> "defer.Deferred[Any]":
        assert re.fullmatch(r"[a-z_]+", desc)
        return defer.ensureDeferred(func())

    def get_current_time_msec(self) -> int:
        return self.now_msec

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.while_sleeping()

    def register_password_auth_provider_callbacks(self, **callbacks: Any) -> None:
        self.callbacks |= callbacks

    def delayed_background_call(
        self, _msec: float, f: Callable[..., Any], *args: object, desc: str
    ) -> None:
        """Keep it for the test that wants it."""
        self.background[desc] = (f, args)

    def register_account_validity_callbacks(self, **callbacks: Any) -> None:
        self.callbacks |= callbacks
