"""Tokens in the database."""

from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Row, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from lalepass_service.adapters.sql.acts import Copy, no_copy, note
from lalepass_service.adapters.sql.compiled import Compiled
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.hot import Reads
from lalepass_service.adapters.sql.tables import tokens
from lalepass_service.core.audit import Entry
from lalepass_service.core.errors import StoreUnavailable, TooManyTokens
from lalepass_service.core.model import Caller, Scope

_BY_ID: Final = select(tokens).where(tokens.c.id == bindparam("value"))
_HOT_BY_ID: Final = Compiled(_BY_ID)


class SqlCallers:
    """Implements `core.ports.Callers`."""

    def __init__(
        self, database: Database, reads: Reads | None = None, *, copy: Copy = no_copy
    ) -> None:
        self._database = database
        self._reads = reads
        self._copy = copy

    async def add(self, caller: Caller, digest: bytes, *, limit: int, act: Entry) -> None:
        """Store a new token.

        Raises:
            TooManyTokens: the name has `limit` live ones already.
        """
        live = select(func.count()).where(
            tokens.c.name == caller.name, tokens.c.revoked_at.is_(None)
        )
        new = insert(tokens).values(
            id=caller.token_id,
            name=caller.name,
            scopes=" ".join(sorted(caller.scopes)),
            digest=digest,
            created_at=caller.created_at,
            revoked_at=caller.revoked_at,
        )
        try:
            async with self._database.write() as connection:
                # The transaction holds the write lock, so nobody adds one after the count.
                if (await connection.execute(live)).scalar_one() >= limit:
                    raise TooManyTokens(name=caller.name, limit=limit)
                await connection.execute(new)
                await note(connection, act)
        except IntegrityError as exc:
            # Two ids out of 2^48 are the same, which is not worth an error of its own.
            raise StoreUnavailable from exc
        self._copy(act)

    async def find(self, token_id: str) -> tuple[Caller, bytes] | None:
        """Return a token and its digest, also when it is revoked."""
        if self._reads is not None:
            row = await self._reads.read(partial(_HOT_BY_ID.one_or_none, value=token_id))
        else:
            async with self._database.read() as connection:
                row = (await connection.execute(_BY_ID, {"value": token_id})).one_or_none()
        return None if row is None else (_caller(row), row.digest)

    async def all(self) -> tuple[Caller, ...]:
        """Return every token, the oldest first."""
        query = select(tokens).order_by(tokens.c.created_at, tokens.c.id)
        async with self._database.read() as connection:
            return tuple(map(_caller, await connection.execute(query)))

    async def revoke(self, token_id: str, *, at: datetime, act: Entry) -> bool:
        """Revoke a token; doing it again changes nothing. Returns False if there is none."""
        token = tokens.c.id == token_id
        change = update(tokens).where(token, tokens.c.revoked_at.is_(None)).values(revoked_at=at)
        async with self._database.write() as connection:
            if (await connection.execute(change)).rowcount == 0:
                found = await connection.execute(select(tokens.c.id).where(token))
                return found.first() is not None
            await note(connection, act)
        self._copy(act)
        return True


def _caller(row: Row[Any]) -> Caller:
    granted = row.scopes.split()
    return Caller(
        token_id=row.id,
        name=row.name,
        # A scope that this version does not know grants nothing here.
        scopes=frozenset(scope for scope in Scope if scope in granted),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
