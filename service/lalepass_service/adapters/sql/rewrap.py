"""Moves stored records from one key to another, beside the service, and says who needs which key.

Nothing is kept about the progress: what is still to be done is what is not wrapped with the active
key. So it can be interrupted anywhere and begun again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from sqlalchemy import Row, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lalepass_service.adapters.keys import KeyDirectory, KeyVault
from lalepass_service.adapters.keys.ring import head_of
from lalepass_service.adapters.sql.acts import Copy, no_copy, note
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.retired import mark_retired, refuse_retired
from lalepass_service.adapters.sql.tables import passwords
from lalepass_service.core.audit import Entry
from lalepass_service.core.errors import Conflict, UnreadableRecord
from lalepass_service.core.model import UserId

_Lent = TypeVar("_Lent")

_BATCH: Final = 200
_PAUSE_SECONDS: Final = 0.02
"""A batch holds the write lock for about as long as this. Half of the time is left to logins, and
a million records take some minutes."""

_SWAP: Final = (
    update(passwords)
    .where(passwords.c.user_id == bindparam("owner"), passwords.c.phc == bindparam("old"))
    .values(phc=bindparam("new"), key_id=bindparam("key"))
)
"""Compare-and-swap: a password that was changed meanwhile is left as it is."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run has done so far."""

    moved: int = 0
    """Records that are wrapped with the active key now."""
    changed: int = 0
    """Records that somebody replaced meanwhile, and so wrapped by themselves."""
    unreadable: int = 0
    """Records that no key opens. They stay as they are."""

    @property
    def seen(self) -> int:
        """All of them."""
        return self.moved + self.changed + self.unreadable


async def key_usage(database: Database) -> Mapping[str | None, int]:
    """Return how many records need each key; None stands for those that are not wrapped.

    Raises:
        StoreUnavailable: the database did not answer, or not in time.
    """
    query = select(passwords.c.key_id, func.count()).group_by(passwords.c.key_id)
    async with database.read() as connection:
        return dict(map(tuple, await connection.execute(query)))


async def needed_keys(database: Database) -> list[str]:
    """Return the keys that records need, by one look into the index for each.

    What a service asks when it starts: to count the records of each key reads all of them.

    Raises:
        StoreUnavailable: the database did not answer, or not in time.
    """
    found: list[str] = []
    next_one = select(func.min(passwords.c.key_id))
    async with database.read() as connection:
        key_id = (await connection.execute(next_one)).scalar()
        while key_id is not None:
            found.append(key_id)
            later = next_one.where(passwords.c.key_id > key_id)
            key_id = (await connection.execute(later)).scalar()
    return found


async def records_of(database: Database, key_id: str) -> int:
    """Count the records that need a key.

    Raises:
        StoreUnavailable: the database did not answer, or not in time.
    """
    counting = select(func.count()).where(passwords.c.key_id == key_id)
    async with database.read() as connection:
        return int((await connection.execute(counting)).scalar_one())


async def pending(database: Database, *, active: str) -> int:
    """Count the records that are not wrapped with the active key.

    Raises:
        StoreUnavailable: the database did not answer, or not in time.
    """
    usage = await key_usage(database)
    return sum(count for key_id, count in usage.items() if key_id != active)


async def retire(database: Database, directory: KeyDirectory, key_id: str, *, act: Entry) -> None:
    """Remove a key that no record needs, and write the act into the trail.

    In a transaction, which holds the write lock: whoever stores a record chooses the key inside
    one, too, and looks at the files then. So either the record is counted here, or it finds that
    the key is gone, or, with a folder of its own, that it is retired (see `retired`). One's turn in
    the folder is waited for before that, so that nobody who stores a password waits along.

    If the commit fails the key comes back.

    Raises:
        NotFound: there is no such key.
        Conflict: it is the active one, or a record needs it.
        BrokenKeys: the folder is not as it has to be.
        OutsideFault: somebody else is changing the folder for too long.
        StoreUnavailable: the database did not answer, or not in time.
    """
    # The text decides, and not only the column beside it: a key that is gone does not come back.
    named = passwords.c.phc.startswith(head_of(key_id), autoescape=True)
    query = select(func.count()).where(or_(passwords.c.key_id == key_id, named))
    async with (
        _in_a_thread(directory.retiring(key_id)) as remove,
        database.write() as connection,
    ):
        count = (await connection.execute(query)).scalar_one()
        if count:
            raise Conflict(
                f"records that need the key {key_id}: {count}; "
                "run `lalepass keys rewrap` first, with another key active"
            )
        await mark_retired(connection, key_id, at=act.at)
        await note(connection, act)
        await asyncio.to_thread(remove)


@asynccontextmanager
async def _in_a_thread(manager: AbstractContextManager[_Lent]) -> AsyncIterator[_Lent]:
    """Enter what may have to wait without keeping the loop from its work."""
    with ExitStack() as stack:
        entering = asyncio.create_task(asyncio.to_thread(stack.enter_context, manager))
        try:
            lent = await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The thread goes on, for as long as its patience lasts: what it gets is given back.
            with suppress(Exception):
                await entering
            raise
        yield lent


class Rewrap:
    """Wraps every record with the active key, a batch at a time."""

    def __init__(
        self,
        *,
        database: Database,
        vault: KeyVault,
        act: Entry,
        copy: Copy = no_copy,
        batch: int = _BATCH,
        pause: float = _PAUSE_SECONDS,
    ) -> None:
        """Prepare a run.

        Args:
            database: where the records are.
            vault: wraps and unwraps them.
            act: that it has begun. Written in the transaction in which the first record moves: so
                nothing is ever moved without an entry, also if the run is killed.
            copy: gets the act then.
            batch: how many records move in a transaction.
            pause: seconds between two of them.
        """
        self._database = database
        self._vault = vault
        self._act: Entry | None = act
        self._copy = copy
        self._batch = batch
        self._pause = pause

    async def pending(self) -> int:
        """Count the records that are not wrapped with the active key.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        return await pending(self._database, active=self._vault.ring.active)

    async def run(self, report: Callable[[Progress], None]) -> Progress:
        """Go through all records once, and report after each batch.

        Raises:
            NoAnswer: the database did not answer, or not in time, or the active key is gone or
                retired.
                What was done stays done.
        """
        progress = Progress()
        after = ""
        while rows := await self._next(after):
            progress = await self._move(rows, progress)
            report(progress)
            after = rows[-1].user_id
            await asyncio.sleep(self._pause)
        return progress

    async def _next(self, after: str) -> Sequence[Row[str, str]]:
        query = (
            select(passwords.c.user_id, passwords.c.phc)
            # IS NOT, since records without a key have NULL there
            .where(
                passwords.c.user_id > after,
                passwords.c.key_id.is_distinct_from(self._vault.ring.active),
            )
            .order_by(passwords.c.user_id)
            .limit(self._batch)
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).all()

    async def _move(self, rows: Sequence[Row[str, str]], progress: Progress) -> Progress:
        """Wrap a batch anew, in one short transaction."""
        async with self._database.write() as connection:
            swaps = [swap for row in rows if (swap := self._swap_of(row)) is not None]
            for key_id in {swap["key"] for swap in swaps}:
                await refuse_retired(connection, key_id)
            moved = await _swap(connection, swaps)
            begun = self._act if moved else None
            if begun is not None:
                await note(connection, begun)
        if begun is not None:
            self._act = None
            self._copy(begun)
        return replace(
            progress,
            moved=progress.moved + moved,
            changed=progress.changed + len(swaps) - moved,
            unreadable=progress.unreadable + len(rows) - len(swaps),
        )

    def _swap_of(self, row: Row[str, str]) -> dict[str, str] | None:
        owner = UserId(row.user_id)
        try:
            text = self._vault.open(row.phc, user_id=owner)
        except UnreadableRecord:
            # One damaged record must not keep all others from being moved. It is counted.
            return None
        sealed, key_id = self._vault.seal(text, user_id=owner)
        return {"owner": owner, "old": row.phc, "new": sealed, "key": key_id}


async def _swap(connection: AsyncConnection, swaps: list[dict[str, str]]) -> int:
    return (await connection.execute(_SWAP, swaps)).rowcount if swaps else 0
