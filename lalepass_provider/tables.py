"""What the provider reads and writes in Synapse's database beside its documented interface.

All of it is here. `run_db_interaction` is documented, and modules may have tables of their own; the
shape of Synapse's tables is not promised. These columns are in 1.140 as they are in 1.163. Should
one of them go, every method raises what the database says: a login that depends on it is answered
with 503 and an ERROR in the log, and nobody is let in by mistake.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from lalepass_provider.homeserver import Cursor, Homeserver

logger = logging.getLogger(__name__)

LINK: Final = "lalepass"
"""Who vouches for an account in `user_external_ids`, as Synapse's admin API shows it, too."""

_OWED: Final = "owed"
"""In the place of a field: the values are parts of a new account that are still to be written."""

# Everything that Lalepass has put into a profile, and so may take away again.
_MAKE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS lalepass_profile (
    user_id TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (user_id, field, value)
)
"""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How an account's profile is."""

    display_name: str | None = None
    admin: bool = False
    addresses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By medium, whoever has put them there."""
    kept: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By field, what Lalepass has put there."""

    @property
    def owed(self) -> frozenset[str]:
        """Return the parts that were to be written when the account was made, and are not yet."""
        return self.kept.get(_OWED, frozenset())


@dataclass(frozen=True, kw_only=True)
class Account:
    """What decides whether a person may have an account that is there."""

    mxid: str
    exists: bool = True
    """False for a link that leads nowhere."""
    special: bool = False
    """A guest's, or one of an application service."""
    deactivated: bool = False
    has_password: bool = False
    """The homeserver has a password hash for it."""
    created_at: int = 0
    """Seconds since 1970."""
    links: frozenset[str] = frozenset()
    """The ids of the users of Lalepass that it is linked to: one, or none."""
    vouched_by: frozenset[str] = frozenset()
    """Others than Lalepass, such as single sign-on providers, that let somebody log in to it."""
    profile: Profile | None = None
    """How its profile was in the same moment, if it was asked for and could be read."""


class Tables:
    """Questions to the homeserver's database, each of them one transaction."""

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver
        self._ready = False

    async def linked(self, account_id: str) -> Account | None:
        """Return the account that is this user's, whatever their name is now."""
        return await self._homeserver.run_db_interaction("lalepass_linked", _linked, account_id)

    async def linked_with_profile(self, account_id: str) -> Account | None:
        """Return the same together with its profile, at the price of one question.

        Without the profile if that can't be read now: it decides nothing about a login.
        """
        if self._ready:
            try:
                return await self._homeserver.run_db_interaction(
                    "lalepass_linked", _linked_with_profile, account_id
                )
            except Exception:
                logger.warning("A profile could not be read with its account", exc_info=True)
        return await self.linked(account_id)

    async def account(self, mxid: str) -> Account | None:
        """Return what is known of an account, by its exact MXID."""
        return await self._homeserver.run_db_interaction("lalepass_account", _account, mxid)

    async def owner_of(self, medium: str, address: str) -> str | None:
        """Return who has the address at this homeserver. It has to be in its canonical form."""
        return await self._homeserver.run_db_interaction(
            "lalepass_owner", _owner_of, medium, address
        )

    async def keeper_of(self, medium: str, address: str) -> str | None:
        """Return who has the address at this homeserver because Lalepass says so."""
        await self._make_ready()
        return await self._homeserver.run_db_interaction(
            "lalepass_keeper", _keeper_of, medium, address
        )

    async def profile(self, mxid: str, *, owes: Iterable[str] = ()) -> Profile:
        """Note that these parts are still to be written, and return how the profile is."""
        await self._make_ready()
        return await self._homeserver.run_db_interaction(
            "lalepass_profile", _profile, mxid, sorted(owes)
        )

    async def owe(self, mxid: str, parts: Iterable[str]) -> None:
        """Remember that these parts are still to be written, and no other."""
        await self.keep(mxid, _OWED, parts)

    async def keep(self, mxid: str, kind: str, values: Iterable[str]) -> None:
        """Remember that these are what Lalepass has put there, and nothing else of this kind."""
        await self._make_ready()
        await self._homeserver.run_db_interaction(
            "lalepass_keep", _keep, mxid, kind, sorted(values)
        )

    async def add_addresses(
        self, mxid: str, medium: str, addresses: Iterable[str]
    ) -> Mapping[str, str]:
        """Give the account those addresses that nobody has, and remember which are Lalepass's.

        Returns:
            by address, who has it already: those are left alone.
        """
        await self._make_ready()
        now = self._homeserver.get_current_time_msec()
        return await self._homeserver.run_db_interaction(
            "lalepass_add_addresses", _add_addresses, mxid, medium, sorted(addresses), now
        )

    async def remove_address(self, mxid: str, medium: str, address: str) -> None:
        """Take an address away, with the mails that are sent to it about new messages.

        Synapse's own handler does that, and tells other modules. It is not part of the documented
        interface; a test on a real Synapse holds it.

        Raises:
            NotImplementedError: this Synapse has no such handler.
        """
        handler = getattr(self._homeserver, "_auth_handler", None)
        remove = getattr(handler, "delete_local_threepid", None)
        if remove is None:
            raise NotImplementedError(
                "this release of Synapse can't remove an address for a module"
            )
        await remove(mxid, medium, address)

    async def _make_ready(self) -> None:
        if self._ready:
            return
        try:
            await self._homeserver.run_db_interaction("lalepass_make_table", _make_table)
        except Exception:  # noqa: BLE001 - a fault that lasts is raised by the second try
            # PostgreSQL fails when two processes do this at the same time. Then it is there.
            await self._homeserver.run_db_interaction("lalepass_make_table", _make_table)
        self._ready = True


def _make_table(cursor: Cursor) -> None:
    cursor.execute(_MAKE_TABLE)


def _linked(cursor: Cursor, account_id: str) -> Account | None:
    cursor.execute(
        "SELECT e.user_id, u.name IS NOT NULL, u.is_guest, u.appservice_id, u.deactivated"
        " FROM user_external_ids AS e LEFT JOIN users AS u ON u.name = e.user_id"
        " WHERE e.auth_provider = ? AND e.external_id = ?",
        (LINK, account_id),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    mxid, exists, is_guest, appservice, deactivated = row
    return Account(
        mxid=mxid,
        exists=bool(exists),
        special=bool(is_guest) or bool(appservice),
        deactivated=bool(deactivated),
        links=frozenset({account_id}),
    )


def _linked_with_profile(cursor: Cursor, account_id: str) -> Account | None:
    account = _linked(cursor, account_id)
    if account is None or not account.exists:
        return account
    return replace(account, profile=_profile(cursor, account.mxid))


def _account(cursor: Cursor, mxid: str) -> Account | None:
    # The hash itself stays in the database.
    cursor.execute(
        "SELECT is_guest, appservice_id, deactivated, creation_ts,"
        " COALESCE(password_hash, '') <> '' FROM users WHERE name = ?",
        (mxid,),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    is_guest, appservice, deactivated, created_at, has_password = row
    cursor.execute(
        "SELECT auth_provider, external_id FROM user_external_ids WHERE user_id = ?", (mxid,)
    )
    vouched = cursor.fetchall()
    return Account(
        mxid=mxid,
        special=bool(is_guest) or bool(appservice),
        deactivated=bool(deactivated),
        has_password=bool(has_password),
        created_at=created_at or 0,
        links=frozenset(account_id for provider, account_id in vouched if provider == LINK),
        vouched_by=frozenset(provider for provider, _ in vouched if provider != LINK),
    )


def _owner_of(cursor: Cursor, medium: str, address: str) -> str | None:
    cursor.execute(
        "SELECT user_id FROM user_threepids WHERE medium = ? AND address = ?", (medium, address)
    )
    row = cursor.fetchone()
    return None if row is None else row[0]


def _keeper_of(cursor: Cursor, medium: str, address: str) -> str | None:
    cursor.execute(
        "SELECT t.user_id FROM user_threepids AS t JOIN lalepass_profile AS p"
        " ON p.user_id = t.user_id AND p.field = t.medium AND p.value = t.address"
        " WHERE t.medium = ? AND t.address = ?",
        (medium, address),
    )
    row = cursor.fetchone()
    return None if row is None else row[0]


def _profile(cursor: Cursor, mxid: str, owes: Iterable[str] = ()) -> Profile:
    for part in owes:
        _remember(cursor, mxid, _OWED, part)
    cursor.execute(
        "SELECT u.admin, p.displayname"
        " FROM users AS u LEFT JOIN profiles AS p ON p.full_user_id = u.name WHERE u.name = ?",
        (mxid,),
    )
    admin, display_name = cursor.fetchone() or (0, None)
    cursor.execute(
        "SELECT 0, medium, address FROM user_threepids WHERE user_id = ?"
        " UNION ALL SELECT 1, field, value FROM lalepass_profile WHERE user_id = ?",
        (mxid, mxid),
    )
    rows = cursor.fetchall()
    return Profile(
        display_name=display_name,
        admin=bool(admin),
        addresses=_grouped((medium, address) for kept, medium, address in rows if not kept),
        kept=_grouped((part, value) for kept, part, value in rows if kept),
    )


def _grouped(rows: Iterable[tuple[str, str]]) -> Mapping[str, frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for key, value in rows:
        groups.setdefault(key, set()).add(value)
    return {key: frozenset(values) for key, values in groups.items()}


def _keep(cursor: Cursor, mxid: str, kind: str, values: list[str]) -> None:
    cursor.execute("DELETE FROM lalepass_profile WHERE user_id = ? AND field = ?", (mxid, kind))
    for value in values:
        _remember(cursor, mxid, kind, value)


def _remember(cursor: Cursor, mxid: str, kind: str, value: str) -> None:
    cursor.execute(
        "INSERT INTO lalepass_profile (user_id, field, value) VALUES (?, ?, ?)"
        " ON CONFLICT (user_id, field, value) DO NOTHING",
        (mxid, kind, value),
    )


def _add_addresses(
    cursor: Cursor, mxid: str, medium: str, addresses: list[str], now: int
) -> dict[str, str]:
    others: dict[str, str] = {}
    for address in addresses:
        # Synapse's own `user_add_threepid` would take the address away from whoever has it.
        cursor.execute(
            "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (medium, address) DO NOTHING",
            (mxid, medium, address, now, now),
        )
        owner = _owner_of(cursor, medium, address)
        if owner == mxid:
            _remember(cursor, mxid, medium, address)
        elif owner is not None:
            others[address] = owner
    return others
