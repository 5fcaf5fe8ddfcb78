"""`lalepass db ...`."""

from functools import partial
from typing import Annotated

import typer

from lalepass_service.cli import console, operate
from lalepass_service.cli.session import session
from lalepass_service.core.audit import Event

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
    """Say that this is a restored backup, while the service is stopped.

    Homeservers then read anew who is locked, instead of going on from where they were.
    """
    from lalepass_service.adapters.sql.followers import begin_anew  # noqa: PLC0415 - see above

    config = session(context).load()
    act = operate.act_now(Event.DATABASE_RESTORED, {})
    operate.on_database(config, partial(begin_anew, act=act))
    console.say(f"homeservers begin anew with {config.database.path}")
