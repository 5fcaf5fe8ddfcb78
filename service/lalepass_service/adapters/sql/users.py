"""Accounts in the database. What is done inside the transactions is in `changes`."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lalepass_service.adapters.keys import NullVault, Vault
from lalepass_service.adapters.sql.accounts import ACCOUNTS, BY_ID, HOT, matching, user_of
from lalepass_service.adapters.sql.acts import Copy, no_copy, note
from lalepass_service.adapters.sql.changes import (
    claim_name,
    forget_guesses,
    insert_account,
    insert_password,
    later_than_before,
    put_password,
    taken,
    update_account,
)
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.followers import mark_changed, order_sign_out
from lalepass_service.adapters.sql.hot import Reads
from lalepass_service.adapters.sql.retired import refuse_retired
from lalepass_service.adapters.sql.tables import passwords, retired_names, users
from lalepass_service.core.audit import Entry
from lalepass_service.core.errors import NoAnswer, UnreadableRecord
from lalepass_service.core.identifiers import Identifier
from lalepass_service.core.model import (
    Credentials,
    NormalForm,
    PasswordRecord,
    User,
    UserId,
    UserState,
)

_SAMPLE: Final = 10_000
"""Accounts whose schemes stand for those of all. A scheme that one in two thousand has is missed
once in a hundred and fifty times."""


_MAX_SAID: Final = 100
"""Each names a key, and nobody rotates so often."""

_log: Final = logging.getLogger(__name__)


class SqlUsers:
    """Implements `core.ports.Users`."""

    def __init__(
        self,
        database: Database,
        vault: Vault | None = None,
        reads: Reads | None = None,
        *,
        copy: Copy = no_copy,
    ) -> None:
        """Take the parts.

        Args:
            database: where all of it is, and is written to.
            vault: wraps the records.
            reads: the way that checks take, where there is one.
            copy: takes down what was done.
        """
        self._database = database
        self._vault = vault or NullVault()
        self._reads = reads
        self._copy = copy
        self._said: set[str] = set()

    async def add(
        self, user: User, record: PasswordRecord | None, *, reuse_name: bool, act: Entry
    ) -> None:
        """Store a new account.

        Raises:
            AlreadyTaken: another account has its localpart, an e-mail address or a phone number.
            NameRetired: the localpart belonged to a deleted account, and not `reuse_name`.
        """
        with taken():
            async with self._database.write() as connection:
                known = await claim_name(connection, user.localpart, reuse=reuse_name)
                await insert_account(connection, user)
                if record is not None:
                    sealed = await self._sealed(connection, user.id, record)
                    await insert_password(connection, user, sealed)
                # Nobody follows an account that no homeserver knows yet. It knows a name that was
                # another's, and may know one that comes to us as one that nobody may use.
                if known or user.state is not UserState.ACTIVE:
                    await mark_changed(connection, user.id, user.localpart)
                await note(connection, act)
        self._copy(act)

    async def find(self, identifier: Identifier) -> User | None:
        """Return the account, if there is one. Also when its record can't be read."""
        row = await self._row(identifier)
        return None if row is None else user_of(row)

    async def credentials(self, identifier: Identifier) -> Credentials | None:
        """Return what a check needs, if there is such an account. One statement.

        Raises:
            UnreadableRecord: the record can't be unwrapped.
        """
        row = await self._row(identifier)
        if row is None:
            return None
        found = self.credentials_in(row)
        if found.fault is not None:
            raise UnreadableRecord(found.fault)
        return found

    def credentials_in(self, row: Row[Any]) -> Credentials:
        """Return what a check needs, of a row of `ACCOUNTS`. May be called on any thread."""
        try:
            return Credentials(user=user_of(row), record=self._record(row))
        except UnreadableRecord as error:
            return Credentials(user=user_of(row), record=None, fault=error.why)

    def open_for_nothing(self, stored: str, *, owner: str) -> None:
        """Unwrap a record for the time it takes. May be called on any thread."""
        with suppress(UnreadableRecord):
            self._vault.open(stored, user_id=UserId(owner))

    async def page(
        self, *, after: str | None, limit: int, state: UserState | None
    ) -> tuple[User, ...]:
        """Return up to `limit` accounts behind `after`, in the order of their localparts."""
        # SQLite compares the bytes of UTF-8, which is the order of code points.
        query = ACCOUNTS.order_by(users.c.localpart).limit(limit)
        if after is not None:
            query = query.where(users.c.localpart > after)
        if state is not None:
            query = query.where(users.c.state == state.value)
        async with self._database.read() as connection:
            return tuple(map(user_of, await connection.execute(query)))

    async def set_password(
        self,
        user_id: UserId,
        record: PasswordRecord,
        *,
        changed_at: datetime,
        must_change: bool = False,
        expires_at: datetime | None = None,
        act: Entry,
        sign_out: Callable[[], datetime] | None = None,
    ) -> bool:
        """Replace the password, and on what terms it is given; end all sessions on demand.

        With it goes what was remembered of wrong ones, and who was known by the old one: that may
        have been a thief.

        Each time later than the last, whatever the clock says: by that others tell what they have
        seen of an account from what is older.

        Returns False if there is no such account (any more).
        """
        async with self._database.write() as connection:
            values = {
                "changed_at": await later_than_before(connection, user_id, changed_at),
                "must_change": must_change,
                "expires_at": expires_at,
                **await self._sealed(connection, user_id, record),
            }
            if not await put_password(connection, user_id, values):
                return False
            await forget_guesses(connection, user_id)
            await note(connection, act)
            localpart = await _name_of(connection, user_id)
            if sign_out is not None and localpart is not None:
                await order_sign_out(connection, user_id, localpart, now=sign_out)
        self._copy(act)
        return True

    async def replace_record(
        self, user_id: UserId, *, old: PasswordRecord, new: PasswordRecord
    ) -> bool:
        """Put a fresh record of the same password in the place of `old`, if that is still there."""
        unchanged = (passwords.c.user_id == user_id) & (passwords.c.phc == old.stored)
        change = update(passwords).where(unchanged)
        async with self._database.write(beside=True) as connection:
            # Sealed inside the transaction, so that no key is retired meanwhile: see `vault`.
            try:
                fresh = change.values(await self._sealed(connection, user_id, new))
            except NoAnswer as error:
                # Whoever logs in goes on without it and says nothing, so this has to be said here.
                self._say_once(str(error))
                raise
            return (await connection.execute(fresh)).rowcount > 0

    async def schemes(self) -> dict[str, int]:
        """Return how many records there are of each scheme, among ten thousand.

        The first by their ids, which are random: as good as any others, and there at once.
        """
        some = select(passwords.c.scheme).order_by(passwords.c.user_id).limit(_SAMPLE).subquery()
        counting = select(some.c.scheme, func.count()).group_by(some.c.scheme)
        async with self._database.read() as connection:
            return dict((await connection.execute(counting)).all())

    async def set_state(self, user_id: UserId, state: UserState, *, act: Entry) -> bool:
        """Enable or disable. Returns False if there is no such account (any more)."""
        owner = users.c.id == user_id
        async with self._database.write() as connection:
            found = select(users.c.state, users.c.localpart).where(owner)
            before = (await connection.execute(found)).one_or_none()
            if before is None or before.state == state:
                # Said already: no change, and so no entry.
                return before is not None
            await connection.execute(update(users).where(owner).values(state=state.value))
            await mark_changed(connection, user_id, before.localpart)
            await note(connection, act)
        self._copy(act)
        return True

    async def edit(
        self, user_id: UserId, change: Callable[[User], User], *, act: Entry
    ) -> bool | None:
        """Change what is known of a person. Returns whether it is another now; None: no account.

        Raises:
            AlreadyTaken: another account has an e-mail address or a phone number.
        """
        with taken():
            async with self._database.write() as connection:
                row = (await connection.execute(BY_ID, {"value": user_id})).one_or_none()
                if row is None:
                    return None
                before = user_of(row)
                after = change(before)
                if after == before:
                    return False
                await update_account(connection, before, after)
                await mark_changed(connection, user_id, before.localpart)
                await note(connection, act)
        self._copy(act)
        return True

    async def sign_out(self, user_id: UserId, *, now: Callable[[], datetime], act: Entry) -> bool:
        """Order that every session ends. Returns False if there is no such account (any more)."""
        async with self._database.write() as connection:
            localpart = await _name_of(connection, user_id)
            if localpart is None:
                return False
            await note(connection, act)
            await order_sign_out(connection, user_id, localpart, now=now)
        self._copy(act)
        return True

    async def delete(self, user_id: UserId, *, now: Callable[[], datetime], act: Entry) -> bool:
        """Remove the account and all that refers to it; keep its localpart as retired."""
        removal = delete(users).where(users.c.id == user_id).returning(users.c.localpart)
        async with self._database.write() as connection:
            localpart = (await connection.execute(removal)).scalar()
            if localpart is None:
                return False
            await connection.execute(
                insert(retired_names).values(localpart=localpart, retired_at=now())
            )
            await note(connection, act)
            await order_sign_out(connection, user_id, localpart, now=now)
        self._copy(act)
        return True

    async def _row(self, identifier: Identifier) -> Row[Any] | None:
        """Look the account up: on the hot path where there is one, since every check does it."""
        statement, value = matching(identifier)
        row: Row[Any] | None
        if self._reads is not None:
            row = await self._reads.read(partial(HOT[statement].one_or_none, value=value))
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

    def _say_once(self, why: str) -> None:
        if why not in self._said and len(self._said) < _MAX_SAID:
            self._said.add(why)
            _log.error("%s", why)

    async def _sealed(
        self, connection: AsyncConnection, user_id: UserId, record: PasswordRecord
    ) -> dict[str, str | None]:
        """Return the columns that hold the record. Inside the transaction: see `Vault.seal`.

        Raises:
            NoAnswer: it can't be stored under the key that is active here.
        """
        stored, key_id = self._vault.seal(record.phc, user_id=user_id)
        await refuse_retired(connection, key_id)
        return {
            "phc": stored,
            "key_id": key_id,
            "normal_form": record.form.value,
            "scheme": record.scheme,
        }


async def _name_of(connection: AsyncConnection, user_id: UserId) -> str | None:
    named = select(users.c.localpart).where(users.c.id == user_id)
    localpart: str | None = (await connection.execute(named)).scalar()
    return localpart
