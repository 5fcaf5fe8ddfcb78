"""`lalepass config ...`."""

import typer

from lalepass_service.cli import console, operate
from lalepass_service.cli.session import session

app = typer.Typer(help="Check the configuration.")


@app.callback()
def group() -> None:
    """Keep `check` a command of a group, though it is the only one."""


@app.command()
def check(context: typer.Context) -> None:
    """Check the configuration, and that keys, blocklists and certificates are there.

    Also says what computes the hashes on this machine.
    """
    # The settings need pydantic, the parts need the hasher, the server a web framework.
    from lalepass_service import app as server  # noqa: PLC0415
    from lalepass_service import config, parts  # noqa: PLC0415
    from lalepass_service.adapters.sql.migrate import SchemaState  # noqa: PLC0415

    chosen = session(context)
    settings = chosen.load()
    parts.check_hashing(settings)
    binding = parts.choose_binding(settings)
    parts.check_passwords(settings)
    parts.check_copy(settings)
    parts.check_valkey(settings)
    standbys = parts.check_replicas(settings)
    server.tls_of(settings.server)
    where = operate.check_keys(settings)
    file = config.find(chosen.config_path)
    console.say(f"{file or 'the environment'}: all options are right")
    store = parts.store_of(settings)
    console.say(f"the database is {store}")
    if parts.hides_rank(store):
        console.say(
            "it does not tell its timeline: an old primary that goes on can't be told from a newer "
            "one (docs/postgresql.md)"
        )
    # No fault: before the first `db migrate` it is so.
    if parts.schema_of(store) is SchemaState.EMPTY:
        console.explain(f"lalepass: warning: {parts.no_tables(store)}")
    if server.is_open(settings.server):
        console.explain(f"lalepass: warning: server.host: {server.IN_THE_OPEN}")
    if standbys is not None:
        console.say(f"checks may be read from {standbys}")
    console.say(f"the keys are {where}")
    console.say(f"hashes are made by {binding.name}")
