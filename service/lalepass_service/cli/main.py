"""The command line as a whole."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from lalepass_service.cli import (
    audit,
    blocklist,
    calibrate,
    certificates,
    config,
    console,
    db,
    doctor,
    init,
    keys,
    serve,
    token,
    topology,
    usage,
    user,
)
from lalepass_service.cli.looking import Looking
from lalepass_service.cli.session import Session, session
from lalepass_service.version import installed_version


def _print_version(asked: bool) -> None:  # noqa: FBT001 - called by typer
    if asked:
        console.say(f"lalepass {installed_version()}")
        raise typer.Exit


app = typer.Typer(
    name="lalepass",
    help="Password authentication for Matrix homeservers, on a machine of its own.",
    add_completion=False,
    # Plain text: boxes and colours need a tenth of a second to import.
    rich_markup_mode=None,
    # The pretty ones show local variables.
    pretty_exceptions_enable=False,
)
app.command("init")(init.init)
app.command("serve")(serve.serve)
app.command("calibrate")(calibrate.calibrate)
app.command("doctor", cls=Looking)(doctor.doctor)
app.command("certificate")(certificates.certificate)
app.add_typer(config.app, name="config")
app.add_typer(db.app, name="db")
app.add_typer(keys.app, name="keys")
app.add_typer(user.app, name="user")
app.add_typer(token.app, name="token")
app.add_typer(blocklist.app, name="blocklist")
app.add_typer(audit.app, name="audit")
app.add_typer(topology.app, name="topology")


@app.callback()
def options(
    context: typer.Context,
    config_path: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="PATH",
            help="The configuration file. Default: $LALEPASS_CONFIG, ./lalepass.toml, "
            "/etc/lalepass/lalepass.toml.",
        ),
    ] = None,
    debug: Annotated[  # noqa: FBT002 - an option of the command line
        bool, typer.Option("--debug", help="Show where in the program an error came from.")
    ] = False,
    _version: Annotated[  # noqa: FBT002 - an option of the command line
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Take down the options that all commands share."""
    chosen = session(context)
    chosen.config_path = config_path
    chosen.debug = debug


@cache
def _program() -> Callable[..., int | None]:
    # Once, where one process runs many commands, as tests do: a quarter of most.
    return typer.main.get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit code. Nothing is raised."""
    chosen = Session()
    try:
        # Not standalone: otherwise typer would print what is wrong in its own way, and exit.
        code = _program()(
            args=list(arguments), prog_name="lalepass", obj=chosen, standalone_mode=False
        )
    except typer.TyperException as error:
        code = console.report(console.WrongUsage(usage.sentence(error)), debug=chosen.debug)
    except SystemExit as ending:
        code = _code_of(ending)
    except (KeyboardInterrupt, EOFError, typer.Abort):
        code = console.ExitCode.INTERRUPTED
    except BrokenPipeError:
        code = console.ExitCode.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last resort: one line instead of a traceback
        code = console.report(error, debug=chosen.debug)
    return _flushed(code or console.ExitCode.OK)


def _code_of(ending: SystemExit) -> int:
    # typer says 1, which is our word for a refusal.
    if isinstance(ending.__context__, BrokenPipeError):
        return console.ExitCode.BROKEN_PIPE
    return ending.code if isinstance(ending.code, int) else console.ExitCode.OK


def _flushed(code: int) -> int:
    """Write out what is still held back; whoever has stopped reading is left in peace."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return console.ExitCode.BROKEN_PIPE
    return code
