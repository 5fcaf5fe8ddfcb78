"""Accounts in the database."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import (
    Column,
    Row,
    ScalarSelect,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lalepass_service.adapters.keys import NullVault, Vault
from lalepass_service.adapters.sql.compiled import Compiled
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.hot import HotPath
from lalepass_service.adapters.sql.tables import (
    known_sources,
    lanes,
    passwords,
    retired_names,
    user_emails,
    user_phones,
    users,
)
from lalepass_service.core.errors import AlreadyTaken, NameRetired, StoreUnavailable
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import (
    Credentials,
    NormalForm,
    PasswordRecord,
    User,
    UserId,
    UserState,
)

_TAKEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "users.id": "id",
        "users.localpart": "user name",
        "user_emails.address": "e-mail address",
        "user_phones.number": "phone number",
    }
)
"""By the column that SQLite names in "UNIQUE constraint failed: ..."."""


def _listed(table: Table, value: Column[Any]) -> ScalarSelect[str]:
    """Gather one account's addresses into a JSON array of [position, value].

    One statement then reads the whole account. The order inside the array is SQLite's choice, so
    the position comes along.
    """
    pairs = func.json_group_array(func.json_array(table.c.position, value))
    return select(pairs).where(table.c.user_id == users.c.id).scalar_subquery()


_ACCOUNTS: Final = select(
    users,
    passwords.c.phc,
    passwords.c.changed_at,
    passwords.c.normal_form,
    passwords.c.scheme,
    passwords.c.must_change,
    passwords.c.expires_at,
    _listed(user_emails, user_emails.c.address).label("emails"),
    _listed(user_phones, user_phones.c.number).label("phones"),
).select_from(users.outerjoin(passwords))


def _owning(table: Table, value: Column[Any]) -> Select[Any]:
    owner = select(table.c.user_id).where(value == bindparam("value")).scalar_subquery()
    return _ACCOUNTS.where(users.c.id == owner)


# Built once: to put a statement together takes as long as to run it, and every check runs one.
_BY_LOCALPART: Final = _ACCOUNTS.where(users.c.localpart == bindparam("value"))
_BY_EMAIL: Final = _owning(user_emails, user_emails.c.address)
_BY_PHONE: Final = _owning(user_phones, user_phones.c.number)
_HOT: Final = {each: Compiled(each) for each in (_BY_LOCALPART, _BY_EMAIL, _BY_PHONE)}


class SqlUsers:
    """Implements `core.ports.Users`."""

    def __init__(
        self, database: Database, vault: Vault | None = None, hot: HotPath | None = None
    ) -> None:
        self._database = database
        self._vault = vault or NullVault()
        self._hot = hot

    async def add(self, user: User, record: PasswordRecord | None, *, reuse_name: bool) -> None:
        """Store a new account.

        Raises:
            AlreadyTaken: another account has its localpart, an e-mail address or a phone number.
            NameRetired: the localpart belonged to a deleted account, and not `reuse_name`.
        """
        with _taken():
            async with self._database.write() as connection:
                await _claim_name(connection, user.localpart, reuse=reuse_name)
                await _insert_account(connection, user)
                if record is not None:
                    await _insert_password(connection, user, self._sealed(user.id, record))

    async def find(self, identifier: Identifier) -> User | None:
        """Return the account, if there is one. Also when its record can't be read."""
        row = await self._row(identifier)
        return None if row is None else _user(row)

    async def credentials(self, identifier: Identifier) -> Credentials | None:
        """Return what a check needs, if there is such an account. One statement.

        Raises:
            UnreadableRecord: the record can't be unwrapped.
        """
        row = await self._row(identifier)
        return None if row is None else Credentials(user=_user(row), record=self._record(row))

    async def page(
        self, *, after: str | None, limit: int, state: UserState | None
    ) -> tuple[User, ...]:
        """Return up to `limit` accounts behind `after`, in the order of their localparts."""
        # SQLite compares the bytes of UTF-8, which is the order of code points.
        query = _ACCOUNTS.order_by(users.c.localpart).limit(limit)
        if after is not None:
            query = query.where(users.c.localpart > after)
        if state is not None:
            query = query.where(users.c.state == state.value)
        async with self._database.read() as connection:
            return tuple(map(_user, await connection.execute(query)))

    async def set_password(
        self,
        user_id: UserId,
        record: PasswordRecord,
        *,
        changed_at: datetime,
        must_change: bool = False,
        expires_at: datetime | None = None,
    ) -> bool:
        """Replace the password, and on what terms it is given.

        With it goes what was remembered of wrong ones, and who was known by the old one: that may
        have been a thief.

        Returns False if there is no such account (any more).
        """
        async with self._database.write() as connection:
            values = {
                "changed_at": changed_at,
                "must_change": must_change,
                "expires_at": expires_at,
                **self._sealed(user_id, record),
            }
            # literal() with the column's type, or times and flags would be bound as they are
            owner = select(
                users.c.id,
                *(literal(value, passwords.c[name].type) for name, value in values.items()),
            ).where(users.c.id == user_id)
            new = sqlite.insert(passwords).from_select(["user_id", *values], owner)
            upsert = new.on_conflict_do_update(
                index_elements=[passwords.c.user_id],
                set_={name: new.excluded[name] for name in values},
            )
            await connection.execute(delete(lanes).where(lanes.c.account == user_id))
            await connection.execute(
                delete(known_sources).where(known_sources.c.user_id == user_id)
            )
            return (await connection.execute(upsert)).rowcount > 0

    async def replace_record(
        self, user_id: UserId, *, old: PasswordRecord, new: PasswordRecord
    ) -> bool:
        """Put a fresh record of the same password in the place of `old`, if that is still there."""
        unchanged = (passwords.c.user_id == user_id) & (passwords.c.phc == old.stored)
        change = update(passwords).where(unchanged)
        async with self._database.write() as connection:
            # Sealed inside the transaction, so that no key is retired meanwhile: see `vault`.
            fresh = change.values(self._sealed(user_id, new))
            return (await connection.execute(fresh)).rowcount > 0

    async def schemes(self) -> dict[str, int]:
        """Return how many records there are of each scheme. Reads the whole table."""
        counting = select(passwords.c.scheme, func.count()).group_by(passwords.c.scheme)
        async with self._database.read() as connection:
            return dict((await connection.execute(counting)).all())

    async def set_state(self, user_id: UserId, state: UserState) -> bool:
        """Enable or disable. Returns False if there is no such account (any more)."""
        change = update(users).where(users.c.id == user_id).values(state=state.value)
        async with self._database.write() as connection:
            return (await connection.execute(change)).rowcount > 0

    async def delete(self, user_id: UserId, *, deleted_at: datetime) -> bool:
        """Remove the account and all that refers to it; keep its localpart as retired."""
        removal = delete(users).where(users.c.id == user_id).returning(users.c.localpart)
        async with self._database.write() as connection:
            localpart = (await connection.execute(removal)).scalar_one_or_none()
            if localpart is None:
                return False
            await connection.execute(
                insert(retired_names).values(localpart=localpart, retired_at=deleted_at)
            )
        return True

    async def _row(self, identifier: Identifier) -> Row[Any] | None:
        """Look the account up: on the hot path where there is one, since every check does it."""
        statement, value = _matching(identifier)
        row: Row[Any] | None
        if self._hot is not None:
            row = await self._hot.read(partial(_HOT[statement].one_or_none, value=value))
            return row
        async with self._database.read() as connection:
            row = (await connection.execute(statement, {"value": value})).one_or_none()
        return row

    def _record(self, row: Row[Any]) -> PasswordRecord | None:
        if row.phc is None:
            return None
        text = self._vault.open(row.phc, user_id=UserId(row.id))
        form = NormalForm(row.normal_form)
        return PasswordRecord(text, form=form, stored=row.phc, scheme=row.scheme)

    def _sealed(self, user_id: UserId, record: PasswordRecord) -> dict[str, str | None]:
        """Return the columns that hold the record. Inside the transaction: see `Vault.seal`."""
        stored, key_id = self._vault.seal(record.phc, user_id=user_id)
        return {
            "phc": stored,
            "key_id": key_id,
            "normal_form": record.form.value,
            "scheme": record.scheme,
        }


async def _claim_name(connection: AsyncConnection, localpart: str, *, reuse: bool) -> None:
    """Take the name off the list of the retired, or find out that one may not.

    In the transaction of the account itself, which holds the write lock.
    """
    name = retired_names.c.localpart == localpart
    if reuse:
        await connection.execute(delete(retired_names).where(name))
    elif (await connection.execute(select(retired_names).where(name))).first():
        raise NameRetired(localpart)


async def _insert_account(connection: AsyncConnection, user: User) -> None:
    await connection.execute(
        insert(users).values(
            id=user.id,
            localpart=user.localpart,
            display_name=user.display_name,
            state=user.state.value,
            admin=user.admin,
            created_at=user.created_at,
        )
    )
    for table, column, values in (
        (user_emails, "address", user.emails),
        (user_phones, "number", user.phones),
    ):
        if values:
            await connection.execute(
                insert(table),
                [
                    {"user_id": user.id, "position": position, column: value}
                    for position, value in enumerate(values)
                ],
            )


async def _insert_password(
    connection: AsyncConnection, user: User, sealed: Mapping[str, str | None]
) -> None:
    await connection.execute(
        insert(passwords).values(
            user_id=user.id,
            changed_at=user.password_changed_at or user.created_at,
            must_change=user.password_must_change,
            expires_at=user.password_expires_at,
            **sealed,
        )
    )


def _matching(identifier: Identifier) -> tuple[Select[Any], str]:
    match identifier:
        case ByLocalpart(localpart):
            return _BY_LOCALPART, localpart
        case ByEmail(address):
            return _BY_EMAIL, address
        case ByPhone(number):
            return _BY_PHONE, number


def _user(row: Row[Any]) -> User:
    return User(
        id=UserId(row.id),
        localpart=row.localpart,
        display_name=row.display_name,
        emails=_in_order(row.emails),
        phones=_in_order(row.phones),
        state=UserState(row.state),
        admin=row.admin,
        created_at=row.created_at,
        password_changed_at=row.changed_at,
        password_must_change=bool(row.must_change),  # NULL without a password
        password_expires_at=row.expires_at,
        password_scheme=row.scheme,
    )


def _in_order(listed: str) -> tuple[str, ...]:
    return tuple(value for _, value in sorted(json.loads(listed)))


@contextmanager
def _taken() -> Iterator[None]:
    """Say which value another account has.

    SQLite checks while it writes, so there is no moment between a look and a change; and it names
    the column but never the value.
    """
    try:
        yield
    except IntegrityError as exc:
        for column, what in _TAKEN.items():
            if str(exc.orig).endswith(f"UNIQUE constraint failed: {column}"):
                raise AlreadyTaken(what) from exc
        raise StoreUnavailable from exc
