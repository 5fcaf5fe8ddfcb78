"""`lalepass db ...`."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lalepass_service.cli import console, operate
from lalepass_service.cli.session import session
from lalepass_service.core.audit import Event

if TYPE_CHECKING:
    from lalepass_service.config import Config

app = typer.Typer(help="The database.")


@app.command()
def migrate(context: typer.Context) -> None:
    """Make the tables, or bring them up to this version of lalepass."""
    # SQLAlchemy takes half a second to import.
    from lalepass_service import parts  # noqa: PLC0415
    from lalepass_service.adapters.sql.migrate import SchemaState  # noqa: PLC0415

    config = session(context).load()
    path = config.database.path
    state = parts.schema_of(path)
    if state in {SchemaState.EMPTY, SchemaState.OUTDATED}:
        parts.migrate(path)
    parts.require_current_schema(config)
    changed = "was up to date already" if state is SchemaState.CURRENT else "is up to date now"
    console.say(f"{path} {changed}")


@app.command()
def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Say where the database is and whether its tables fit this version of lalepass."""
    from lalepass_service import parts  # noqa: PLC0415 - see above

    path = session(context).load().database.path
    state = parts.schema_of(path).value
    if as_json:
        console.say_json({"path": str(path), "state": state})
    else:
        console.say(f"{path}: {state}")


@app.command()
def restored(context: typer.Context) -> None:
    """Say that the file was brought back by other means than `restore`, such as a snapshot.

    Homeservers then read anew who is locked, instead of going on from where they were. The service
    has to be stopped.
    """
    config = session(context).load()
    _begin_anew(config)
    console.say(f"homeservers begin anew with {config.database.path}")


@app.command()
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to: a new file.")],
) -> None:
    """Write a copy of the database, while the service goes on.

    The keys that wrap the password records are not in it: copy their folder as well, to another
    place.
    """
    from lalepass_service import parts  # noqa: PLC0415 - see above

    config = session(context).load()
    parts.require_current_schema(config)
    parts.back_up(config.database.path, file)
    console.say(f"{file} is a copy of {config.database.path}, {file.stat().st_size} bytes")


@app.command()
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `db backup` made.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Put a copy in the place of the database. The service has to be stopped.

    What has happened since the copy was made is gone: accounts, passwords, counters, the trail.
    """
    from lalepass_service import parts  # noqa: PLC0415 - see above

    config = session(context).load()
    path = config.database.path
    if not yes:
        if not sys.stdin.isatty():
            raise console.WrongUsage("there is no terminal to ask on: use --yes")
        typer.confirm(f"Replace all that is in {path} by {file}?", abort=True)
    parts.restore(file, path)
    # It may be of an older version.
    parts.migrate(path)
    _begin_anew(config)
    console.say(f"{path} is what {file} was; start the service again")


def _begin_anew(config: "Config") -> None:
    from lalepass_service import parts  # noqa: PLC0415 - see above
    from lalepass_service.adapters.sql.followers import begin_anew  # noqa: PLC0415

    act = operate.act_now(Event.DATABASE_RESTORED, {})
    with parts.copy_of_acts(config, uncopied=operate.warn_of_no_copy) as copy:
        operate.on_database(config, partial(begin_anew, act=act))
        copy(act)
