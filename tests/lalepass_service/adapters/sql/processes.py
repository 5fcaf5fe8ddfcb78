"""Programs that the tests start, to be killed or to get in one another's way."""

import subprocess
import sys
from pathlib import Path

# Prints a line for each write, once it has been acknowledged.
WRITE: str = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.audit import Actor, Event
from lalepass_service.core.model import PasswordRecord, User, UserId

NOW = datetime(2026, 1, 2, tzinfo=UTC)

async def main(path, prefix, count):
    database = Database.open(Path(path))
    users = SqlUsers(database)
    sys.stdin.readline()
    for number in range(int(count)):
        name = f"{prefix}-{number}"
        user = User(id=UserId(name), localpart=name, emails=(f"{name}@x",), created_at=NOW)
        act = Actor(name="operator:root").act(
            Event.USER_ADDED, at=NOW, user_id=user.id, localpart=name
        )
        await users.add(user, PasswordRecord("$"), reuse_name=False, act=act)
        print(name, flush=True)
    await database.close()

asyncio.run(main(*sys.argv[1:]))
"""

# What a command does that finds no file: it fails, and that is all it has to say.
GIVE_UP: str = """
import asyncio, sys
from pathlib import Path
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.core.errors import StoreUnavailable

async def main(path):
    database = Database.open(path)
    path.unlink()
    try:
        await database.ping(1)
    except StoreUnavailable as exc:
        print(exc)

sys.stdin.readline()
asyncio.run(main(Path(sys.argv[1])))
"""

UPGRADE: str = """
import sys
from pathlib import Path
from lalepass_service.adapters.sql.migrate import schema_state, upgrade

sys.stdin.readline()
upgrade(Path(sys.argv[1]))
print(schema_state(Path(sys.argv[1])))
"""


def start(program: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a program, which waits for a line of input before it does its work."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()
