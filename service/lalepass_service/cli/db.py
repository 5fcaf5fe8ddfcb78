"""`lalepass db ...`."""

import asyncio
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lalepass_service.cli import console, operate
from lalepass_service.cli.session import session
from lalepass_service.core.audit import Event
from lalepass_service.faults import OutsideFault

if TYPE_CHECKING:
    from lalepass_service.adapters.sql.move import Progress
    from lalepass_service.config import Config

app = typer.Typer(help="Manage the database.")

_STREAM: Final = Path("-")
_REPORT_SECONDS: Final = 2.0
_MIGRATED: Final = {
    "current": "was up to date already",
    "compatible": "is of a newer lalepass, which this one can work with",
}


@app.command()
def migrate(context: typer.Context) -> None:
    """Create the tables, or upgrade them to this version of lalepass."""
    # SQLAlchemy takes half a second to import.
    from lalepass_service import parts  # noqa: PLC0415
    from lalepass_service.adapters.sql.migrate import SchemaState  # noqa: PLC0415

    config = session(context).load()
    store = parts.store_of(config)
    state = parts.schema_of(store)
    if state in {SchemaState.EMPTY, SchemaState.OUTDATED}:
        parts.migrate(store)
    parts.require_current_schema(config, store)
    console.say(f"{store} {_MIGRATED.get(state.value, 'is up to date now')}")


@app.command()
def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Say where the database is and whether its tables fit this version of lalepass."""
    from lalepass_service import parts  # noqa: PLC0415 - see above

    store = parts.store_of(session(context).load())
    state = parts.schema_of(store).value
    if as_json:
        where = "path" if isinstance(store, Path) else "url"
        console.say_json({where: str(store), "state": state})
    else:
        console.say(f"{store}: {state}")


@app.command()
def restored(context: typer.Context) -> None:
    """Tell Lalepass that the database was restored by other means: a snapshot, pg_restore.

    Or that a server took over that lacked the last changes. Homeservers then read again who is
    locked, instead of continuing where they were, and the counts in Valkey start again. The
    service has to be stopped, or its replicas have to be restarted one by one afterwards.
    """
    from lalepass_service import parts  # noqa: PLC0415 - see above

    config = session(context).load()
    parts.check_valkey(config)
    _begin_anew(config)
    counted = ", and Valkey counts anew" if config.valkey.url else ""
    console.say(f"homeservers will read {parts.store_of(config)} again from the start{counted}")


@app.command()
def backup(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A new file, or - for standard output.")
    ],
) -> None:
    """Write a copy of the database, while the service runs.

    It does not include the keys that encrypt the password records: copy their folder as well,
    to another place.
    """
    from lalepass_service import parts  # noqa: PLC0415 - see above

    config = session(context).load()
    path = parts.file_of(config)
    parts.require_current_schema(config)
    if file == _STREAM:
        if sys.stdout.isatty():
            raise console.WrongUsage("a terminal can't take a copy: name a file, or use a pipe")
        with TemporaryDirectory(dir=path.parent, prefix=".backup-") as folder:
            parts.back_up(path, Path(folder) / path.name)
            with (Path(folder) / path.name).open("rb") as copied:
                shutil.copyfileobj(copied, sys.stdout.buffer)
        return
    parts.back_up(path, file)
    console.say(f"{file} is a copy of {path}, {file.stat().st_size} bytes")


@app.command()
def restore(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Made by `db backup`, or - for standard input.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Replace the database with a copy. The service has to be stopped.

    What has happened since the copy was made is gone: accounts, passwords, counters, the trail.
    """
    from lalepass_service import parts  # noqa: PLC0415 - see above

    config = session(context).load()
    path = parts.file_of(config)
    parts.check_valkey(config)
    if not yes:
        if not sys.stdin.isatty():
            raise console.WrongUsage("there is no terminal to ask on: use --yes")
        typer.confirm(f"Replace all that is in {path} by {file}?", abort=True)
    if file == _STREAM:
        with TemporaryDirectory(dir=path.parent, prefix=".restore-") as folder:
            copied = Path(folder) / path.name
            with copied.open("wb") as target:
                shutil.copyfileobj(sys.stdin.buffer, target)
            _bring_back(config, copied)
    else:
        _bring_back(config, file)
    console.say(f"{path} is restored; start the service again")


@app.command()
def copy(
    source: Annotated[
        str, typer.Option("--from", metavar="ADDRESS", help="Where the data is now.")
    ],
    target: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="An empty database.")],
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the server's password.")
    ] = None,
) -> None:
    """Move an installation from a file (sqlite:PATH) to a server (postgresql://...), or back.

    The service has to be stopped. After an interruption, give the same command again: it
    continues. At the end both sides are compared. The configuration is yours to change.
    """
    from lalepass_service import parts  # noqa: PLC0415 - see above

    password_path = str(password_file or "")
    begun = time.monotonic()
    rows = parts.move(
        parts.store_at(source, password_path=password_path),
        to := parts.store_at(target, password_path=password_path),
        say=_Report(),
    )
    seconds = max(time.monotonic() - begun, 0.01)
    console.say(f"{to} has all of it: {rows} rows, {rows / seconds:.0f} a second")


class _Report:
    """Says how far it is, with each table and every few seconds."""

    def __init__(self) -> None:
        self._said = 0.0

    def __call__(self, progress: "Progress") -> None:
        now = time.monotonic()
        if progress.done >= progress.of or now - self._said > _REPORT_SECONDS:
            self._said = now
            console.explain(f"{progress.table}: {progress.doing} {progress.done} of {progress.of}")


def _bring_back(config: "Config", copied: Path) -> None:
    from lalepass_service import parts  # noqa: PLC0415 - see above

    aside = parts.restore(copied, parts.file_of(config))
    if aside is not None:
        console.explain(f"What was there is damaged, and is {aside} now.")
    # It may be of an older version.
    parts.migrate(parts.file_of(config))
    _begin_anew(config)


def _begin_anew(config: "Config") -> None:
    from lalepass_service import parts  # noqa: PLC0415 - see above
    from lalepass_service.adapters.sql.followers import begin_anew  # noqa: PLC0415

    act = operate.act_now(Event.DATABASE_RESTORED, {})
    with parts.copy_of_acts(config, uncopied=operate.warn_of_no_copy) as copy:
        operate.on_database(config, partial(begin_anew, act=act))
        copy(act)
    _count_anew(config)


def _count_anew(config: "Config") -> None:
    """Have wrong passwords counted anew: what Valkey has is of passwords of a later state.

    Raises:
        OutsideFault: Valkey did not answer, and it has to be done again.
    """
    from lalepass_service import parts  # noqa: PLC0415 - see above

    try:
        asyncio.run(parts.count_anew(config))
    except OutsideFault as error:
        raise OutsideFault(
            f"{parts.store_of(config)} is ready, but Valkey counts for a later state of it, and "
            f"{error}: when it answers, say `lalepass db restored`"
        ) from error
