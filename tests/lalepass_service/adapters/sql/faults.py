"""What can go wrong with a database, on demand."""

import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from lalepass_service.adapters.sql.engine import Database


@asynccontextmanager
async def impatient(path: Path) -> AsyncIterator[Database]:
    """A database that waits for nobody."""
    database = Database.open(path, busy_timeout=0.1)
    yield database
    await database.close()


@contextmanager
def no_file_grows(*, room: int = 0) -> Iterator[None]:
    """Let this process write nothing, as on a disk that is full, beyond so many bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
