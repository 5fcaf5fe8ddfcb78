"""A database with keys and many people in it."""

from dataclasses import dataclass

from sqlalchemy import select

from lalepass_service.adapters.keys import KeyDirectory, KeyVault, Vault, key_of
from lalepass_service.adapters.sql.acts import Copy, no_copy
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.rewrap import Rewrap
from lalepass_service.adapters.sql.tables import audit, passwords
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.audit import Event
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import PasswordRecord
from tests.lalepass_service.accounts import ACT, BY, NOW, a_user

PEOPLE = [f"user-{number:03}" for number in range(60)]

BEGUN = BY.act(Event.KEYS_REWRAP_BEGUN, at=NOW)

UNCHANGED = {name: f"${name}$" for name in PEOPLE}


@dataclass(frozen=True)
class Site:
    """A database and its keys."""

    database: Database
    directory: KeyDirectory
    vault: KeyVault

    @property
    def users(self) -> SqlUsers:
        return SqlUsers(self.database, self.vault)

    async def settle(self, vault: Vault | None = None) -> None:
        """Give everybody a password."""
        users = SqlUsers(self.database, vault or self.vault)
        for name in PEOPLE:
            record = PasswordRecord(f"${name}$")
            await users.add(
                a_user(name, password_changed_at=NOW), record, reuse_name=False, act=ACT
            )

    def rotate(self) -> tuple[str, str]:
        """Promote a new key, and return the old one and the new one."""
        old, new = self.directory.load().active, self.directory.add()
        self.directory.promote(new)
        return old, new

    def rewrap(self, *, batch: int = 7, copy: Copy = no_copy) -> Rewrap:
        return Rewrap(
            database=self.database, vault=self.vault, act=BEGUN, copy=copy, batch=batch, pause=0
        )

    async def records(self) -> dict[str, str]:
        """Read everybody's record as a check does."""
        found = {}
        for name in PEOPLE:
            credentials = await self.users.credentials(ByLocalpart(name))
            assert credentials is not None
            assert credentials.record is not None
            found[name] = credentials.record.phc
        return found

    async def opened(self) -> dict[str, str]:
        """Open everybody's record, all of them at once."""
        async with self.database.read() as connection:
            rows = (await connection.execute(select(passwords))).all()
        found = {row.user_id: self.vault.open(row.phc, user_id=row.user_id) for row in rows}
        return {name: found[a_user(name).id] for name in PEOPLE}

    async def keys_in_use(self) -> set[str | None]:
        """Say which keys there are, after comparing the text with the column beside it."""
        async with self.database.read() as connection:
            rows = (await connection.execute(select(passwords))).all()
        assert all(key_of(row.phc) == row.key_id for row in rows)
        return {row.key_id for row in rows}

    async def events(self) -> list[str]:
        """Say what is in the trail, in the order in which it was written."""
        async with self.database.read() as connection:
            query = select(audit.c.event).order_by(audit.c.id)
            return list((await connection.execute(query)).scalars())

    async def begun(self) -> int:
        """Say how many runs have begun to move records."""
        return (await self.events()).count(Event.KEYS_REWRAP_BEGUN)
