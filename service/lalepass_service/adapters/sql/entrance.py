"""The first half of a check in one transaction: find the account and pay for the guess.

A name that nobody has must take the time of one that somebody has. So its look-up reads an account,
too, which a keyed digest of the name chooses: the same tables, the same pages that may or may not
be in memory. And every look-up reads a second record, chosen by the same digits from behind: it
must not be that of the account that is read instead, whose pages are in memory by then. It is
unwrapped where there is no first one: for a name that nobody has, or an account without a password.
Then that is forgotten. The price is one more row for everybody.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, ScalarSelect, Select, bindparam, func, select

from lalepass_service.adapters.sql.accounts import ACCOUNTS
from lalepass_service.adapters.sql.compiled import Compiled
from lalepass_service.adapters.sql.hot import Hot, Reads
from lalepass_service.adapters.sql.session import Session
from lalepass_service.adapters.sql.softlocks import pay
from lalepass_service.adapters.sql.tables import passwords, user_emails, user_phones, users
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import Throttled
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import Credentials
from lalepass_service.core.softlock import Bid, Ticket, Wait

_someone = users.alias("someone")
_VALUE: Final[BindParameter[str]] = bindparam("value")
_NEAR: Final = (
    select(_someone.c.id)
    .where(_someone.c.id >= bindparam("near"))
    .order_by(_someone.c.id)
    .limit(1)
    .scalar_subquery()
)
_FIRST: Final = select(func.min(_someone.c.id)).scalar_subquery()

_spare = passwords.alias("spare")
_kept = passwords.alias("kept")
_SPARE: Final = func.coalesce(
    select(_kept.c.user_id)
    .where(_kept.c.user_id >= bindparam("elsewhere"))
    .order_by(_kept.c.user_id)
    .limit(1)
    .scalar_subquery(),
    select(func.min(_kept.c.user_id)).scalar_subquery(),
)


def _or_another(owner: ScalarSelect[Any]) -> Select[Any]:
    """Read the owner's account, or another one; the column `owner` says which it is.

    Beside it a record, of whomever, in the columns `spare_phc` and `spare_owner`.
    """
    chosen = func.coalesce(owner, _NEAR, _FIRST)
    return (
        ACCOUNTS.outerjoin(_spare, _spare.c.user_id == _SPARE)
        .add_columns(
            owner.label("owner"),
            _spare.c.phc.label("spare_phc"),
            _spare.c.user_id.label("spare_owner"),
        )
        .where(users.c.id == chosen)
    )


def _by(owner: Any, value: Any) -> Compiled:  # noqa: ANN401 - columns
    return Compiled(_or_another(select(owner).where(value == _VALUE).scalar_subquery()))


_BY_LOCALPART: Final = _by(_someone.c.id, _someone.c.localpart)
_BY_EMAIL: Final = _by(user_emails.c.user_id, user_emails.c.address)
_BY_PHONE: Final = _by(user_phones.c.user_id, user_phones.c.number)


class SqlEntrance:
    """Implements `core.ports.Entrance`."""

    def __init__(self, hot: Hot, users: SqlUsers) -> None:
        self._hot = hot
        self._users = users

    async def enter(
        self,
        identifier: Identifier,
        *,
        bid: Callable[[Credentials | None], Bid | None],
        near: str,
        now: datetime,
    ) -> Ticket | None:
        """Look the account up, and pay for the guess that `bid` makes of it.

        Raises:
            Throttled: the lane has to wait, or is closed.
            StoreUnavailable: it could not be paid for.
        """

        def work(session: Session) -> Ticket | Wait | None:
            wanted = bid(_read(session, identifier, near, self._users))
            return None if wanted is None else pay(session, wanted, now)

        paid = await self._hot.write(work)
        if isinstance(paid, Wait):
            raise Throttled(retry_after=paid.seconds)
        return paid


class SqlLookup:
    """Implements `adapters.entrance.Lookup`: the same look-up, where another store is paid."""

    def __init__(self, reads: Reads, users: SqlUsers) -> None:
        self._reads = reads
        self._users = users

    async def look_up(self, identifier: Identifier, *, near: str) -> Credentials | None:
        """Return what a check needs, if there is such an account.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        return await self._reads.read(lambda session: _read(session, identifier, near, self._users))


def _read(
    session: Session, identifier: Identifier, near: str, users: SqlUsers
) -> Credentials | None:
    """Read the account, or another one in its place, which is opened as well and forgotten."""
    statement, value = _matching(identifier)
    row = statement.one_or_none(session, value=value, near=near, elsewhere=near[::-1])
    if row is None:
        return None
    read = users.credentials_in(row)
    if row.phc is None and row.spare_phc is not None:
        users.open_for_nothing(row.spare_phc, owner=row.spare_owner)
    return read if row.owner is not None else None


def _matching(identifier: Identifier) -> tuple[Compiled, str]:
    match identifier:
        case ByLocalpart(localpart):
            return _BY_LOCALPART, localpart
        case ByEmail(address):
            return _BY_EMAIL, address
        case ByPhone(number):
            return _BY_PHONE, number
