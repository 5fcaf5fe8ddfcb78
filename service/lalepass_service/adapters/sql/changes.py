"""The parts of a change of an account, each of them inside a transaction of `users`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Column, delete, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

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
from lalepass_service.core.model import A_MOMENT, User, UserId

_TAKEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "UNIQUE constraint failed: users.id": "id",
        "UNIQUE constraint failed: users.localpart": "user name",
        "UNIQUE constraint failed: user_emails.address": "e-mail address",
        "UNIQUE constraint failed: user_phones.number": "phone number",
        "pk_users": "id",
        "uq_users_localpart": "user name",
        "uq_user_emails_address": "e-mail address",
        "uq_user_phones_number": "phone number",
    }
)
"""By what SQLite says, and by the constraint that PostgreSQL names."""


async def claim_name(connection: AsyncConnection, localpart: str, *, reuse: bool) -> bool:
    """Take the name off the list of the retired, or find out that one may not.

    In the transaction of the account itself, which holds the write lock. Returns whether the name
    was retired.
    """
    name = retired_names.c.localpart == localpart
    if reuse:
        return (await connection.execute(delete(retired_names).where(name))).rowcount > 0
    if (await connection.execute(select(retired_names).where(name))).first():
        raise NameRetired(localpart)
    return False


async def insert_account(connection: AsyncConnection, user: User) -> None:
    """Store an account with its addresses and numbers."""
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
    await _insert_list(connection, user.id, user_emails.c.address, user.emails)
    await _insert_list(connection, user.id, user_phones.c.number, user.phones)


async def update_account(connection: AsyncConnection, before: User, after: User) -> None:
    """Store what has changed of a person: names, addresses, numbers, the administrator's flag."""
    values = {"display_name": after.display_name, "admin": after.admin}
    await connection.execute(update(users).where(users.c.id == before.id).values(values))
    for column, old, new in (
        (user_emails.c.address, before.emails, after.emails),
        (user_phones.c.number, before.phones, after.phones),
    ):
        if old != new:
            owner = column.table.c.user_id == before.id
            await connection.execute(delete(column.table).where(owner))
            await _insert_list(connection, before.id, column, new)


async def _insert_list(
    connection: AsyncConnection, user_id: UserId, column: Column[Any], values: Sequence[str]
) -> None:
    if values:
        rows = [
            {"user_id": user_id, "position": position, column.name: value}
            for position, value in enumerate(values)
        ]
        await connection.execute(insert(column.table), rows)


async def insert_password(
    connection: AsyncConnection, user: User, sealed: Mapping[str, str | None]
) -> None:
    """Store the password of a new account."""
    await connection.execute(
        insert(passwords).values(
            user_id=user.id,
            changed_at=user.password_changed_at or user.created_at,
            must_change=user.password_must_change,
            expires_at=user.password_expires_at,
            **sealed,
        )
    )


async def later_than_before(connection: AsyncConnection, user_id: UserId, at: datetime) -> datetime:
    """Return when the password is changed: after the last time, though another clock was ahead."""
    last = select(passwords.c.changed_at).where(passwords.c.user_id == user_id)
    before: datetime | None = await connection.scalar(last)
    return at if before is None else max(at, before + A_MOMENT)


async def put_password(
    connection: AsyncConnection, user_id: UserId, values: Mapping[str, datetime | bool | str | None]
) -> bool:
    """Replace a password, or set the first one. Returns False if there is no such account."""
    # literal() with the column's type, or times and flags would be bound as they are
    owner = select(
        users.c.id, *(literal(value, passwords.c[name].type) for name, value in values.items())
    ).where(users.c.id == user_id)
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    new = dialect.insert(passwords).from_select(["user_id", *values], owner)
    upsert = new.on_conflict_do_update(
        index_elements=[passwords.c.user_id],
        set_={name: new.excluded[name] for name in values},
    )
    written = await connection.execute(upsert.returning(passwords.c.user_id))
    return written.first() is not None


async def forget_guesses(connection: AsyncConnection, user_id: UserId) -> None:
    """Forget what was wrong, and who was known by what was right: that may have been a thief."""
    await connection.execute(delete(lanes).where(lanes.c.account == user_id))
    await connection.execute(delete(known_sources).where(known_sources.c.user_id == user_id))


@contextmanager
def taken() -> Iterator[None]:
    """Say which value another account has.

    A database checks while it writes, so there is no moment between a look and a change. What it
    says is looked at for which it is, and not passed on: PostgreSQL repeats the value.
    """
    try:
        yield
    except IntegrityError as exc:
        said = getattr(getattr(exc.orig, "diag", None), "constraint_name", None) or str(exc.orig)
        for how, what in _TAKEN.items():
            if said.endswith(how):
                # None of it is kept: see above.
                raise AlreadyTaken(what) from None
        raise StoreUnavailable from exc
