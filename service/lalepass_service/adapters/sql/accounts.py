"""How accounts are read: one statement for all that is known of one, and what its rows mean."""

import json
from typing import Any, Final

from sqlalchemy import Column, Row, ScalarSelect, Select, Table, bindparam, select

from lalepass_service.adapters.sql.compiled import Compiled
from lalepass_service.adapters.sql.functions import listed_pairs
from lalepass_service.adapters.sql.tables import passwords, user_emails, user_phones, users
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import User, UserId, UserState


def _listed(table: Table, value: Column[Any]) -> ScalarSelect[str]:
    """Gather one account's addresses into a JSON array of [position, value].

    One statement then reads the whole account. The order inside the array is the database's
    choice, so the position comes along.
    """
    pairs = listed_pairs(table.c.position, value)
    return select(pairs).where(table.c.user_id == users.c.id).scalar_subquery()


ACCOUNTS: Final = select(
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
"""Everything that is known of an account, a row each: see `user_of`."""


def _owning(table: Table, value: Column[Any]) -> Select[Any]:
    owner = select(table.c.user_id).where(value == bindparam("value")).scalar_subquery()
    return ACCOUNTS.where(users.c.id == owner)


# Built once: to put a statement together takes as long as to run it, and every check runs one.
_BY_LOCALPART: Final = ACCOUNTS.where(users.c.localpart == bindparam("value"))
_BY_EMAIL: Final = _owning(user_emails, user_emails.c.address)
_BY_PHONE: Final = _owning(user_phones, user_phones.c.number)
BY_ID: Final = ACCOUNTS.where(users.c.id == bindparam("value"))
HOT: Final = {each: Compiled(each) for each in (_BY_LOCALPART, _BY_EMAIL, _BY_PHONE)}
"""The same statements, for the way that checks take."""


def matching(identifier: Identifier) -> tuple[Select[Any], str]:
    """Return the statement that finds an account, and the value to run it with."""
    match identifier:
        case ByLocalpart(localpart):
            return _BY_LOCALPART, localpart
        case ByEmail(address):
            return _BY_EMAIL, address
        case ByPhone(number):
            return _BY_PHONE, number


def user_of(row: Row[Any]) -> User:
    """Return the account in a row of `ACCOUNTS`."""
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
        unlocked_at=row.unlocked_at,
    )


def _in_order(listed: str) -> tuple[str, ...]:
    return tuple(value for _, value in sorted(json.loads(listed)))
