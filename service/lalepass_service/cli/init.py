"""`lalepass init`."""

import fcntl
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from lalepass_service.cli import console
from lalepass_service.cli.files import make_private_file
from lalepass_service.core.errors import Conflict

TEMPLATE: Final = Path(__file__).with_name("lalepass.toml")
_CONFIG: Final = "lalepass.toml"
_DATABASE: Final = "lalepass.db"
_KEYS: Final = "keys"


def init(
    directory: Annotated[
        Path, typer.Option(metavar="DIR", help="Where to write it. Created if missing.")
    ] = Path(),
) -> None:
    """Write a configuration, and create the first key and the database."""
    config = directory / _CONFIG
    # Everything new is taken back if a later step fails, so that the next try begins clean.
    with ExitStack() as steps:
        steps.enter_context(folder_of_its_own(directory))
        if config.exists():
            raise Conflict(
                f"{config} is there already: edit it, or move it away, or choose another "
                "--directory"
            )
        steps.enter_context(_keys(directory / _KEYS))
        steps.enter_context(_database(directory / _DATABASE))
        # Last: who finds it finds all the rest.
        make_private_file(config, TEMPLATE.read_text(encoding="utf-8"))
    _say_what_next(directory, config)


@contextmanager
def folder_of_its_own(path: Path) -> Iterator[None]:
    """Make the folder if it is not there, and have it for this `init` alone.

    A second one at the same time would take back what the first has made. Only who holds the lock
    removes the folder: whoever comes too late has nothing in it.
    """
    missing = not path.exists()
    path.mkdir(mode=0o700, exist_ok=True)
    folder = os.open(path, os.O_RDONLY)
    try:
        _lock(folder, path)
        try:
            yield
        except BaseException:
            if missing:
                # Not ours alone any more if somebody has put something there: then it stays.
                with suppress(OSError):
                    path.rmdir()
            raise
    finally:
        os.close(folder)


def _lock(folder: int, path: Path) -> None:
    """Take the lock on an open folder. Closing it gives the lock back."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(f"another `lalepass init` is at work in {path}") from error


@contextmanager
def _keys(path: Path) -> Iterator[None]:
    # The cipher takes a tenth of a second to import.
    from lalepass_service.adapters.keys import KeyDirectory  # noqa: PLC0415

    missing = not path.exists()
    before = set() if missing else set(path.iterdir())
    try:
        KeyDirectory(path).ensure()
        yield
    except BaseException:
        if path.is_dir():
            for file in set(path.iterdir()) - before:
                file.unlink()
            if missing:
                path.rmdir()
        raise


@contextmanager
def _database(path: Path) -> Iterator[None]:
    # Alembic takes half a second to import.
    from lalepass_service import parts  # noqa: PLC0415

    missing = not path.exists()
    try:
        parts.migrate(path)
        yield
    except BaseException:
        if missing:
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
        raise


def _say_what_next(directory: Path, config: Path) -> None:
    here = directory.resolve() == Path.cwd()
    lalepass = _as_called() if here else f"{_as_called()} --config {shlex.quote(str(config))}"
    console.say(f"{config}, the database and the keys beside it are ready. Next:")
    console.say(f"  {lalepass} user add alice")
    console.say(f"  {lalepass} token create my-homeserver --scope check --scope feed")
    console.say(f"  {lalepass} serve")


def _as_called() -> str:
    """Return what to type to call this program again: its name, or a path if that is not found."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py" and called.parent.name == "lalepass_service":
        return f"{shlex.quote(sys.executable)} -m lalepass_service"
    found = shutil.which("lalepass")
    if called.name != "lalepass" or (found and called.exists() and called.samefile(found)):
        return "lalepass"
    return shlex.quote(str(called))
