"""`lalepass token ...`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lalepass_service.cli import console, operate
from lalepass_service.cli.acting import operator
from lalepass_service.cli.files import new_private_file
from lalepass_service.cli.session import session
from lalepass_service.core.errors import TokenNotFound
from lalepass_service.core.model import Caller, Scope

if TYPE_CHECKING:
    from lalepass_service.config import Config

app = typer.Typer(help="Manage the tokens of callers, such as homeservers.")


@app.command()
def create(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Who will use it, such as the homeserver's name.")
    ],
    scope: Annotated[
        list[Scope],
        typer.Option(
            metavar="|".join(Scope),
            help="What it allows: password checks; the feed of changes, orders and "
            "reports. A homeserver needs both. Can be repeated.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it to a new file that only you can read."),
    ] = None,
) -> None:
    """Create a token and show it, this once."""
    config = session(context).load()
    if output is None:
        caller = _create_and_show(config, name, scope)
    else:
        caller = _create_in_file(config, name, scope, output)
    where = f"It is in {output}." if output else "It will not be shown again."
    console.explain(
        f"This is token {caller.token_id} of {caller.name}, good for "
        f"{', '.join(sorted(caller.scopes))}. {where}"
    )


@app.command("list")
def show_all(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """List the tokens, without their secret parts."""
    callers = operate.on_registry(session(context).load(), lambda registry: registry.all())
    if as_json:
        console.say_json({"tokens": [_document(caller) for caller in callers]})
        return
    console.say_table(
        ("ID", "NAME", "SCOPES", "CREATED", "REVOKED"),
        (
            (
                caller.token_id,
                caller.name,
                ", ".join(sorted(caller.scopes)),
                console.iso(caller.created_at) or "",
                console.iso(caller.revoked_at) or "",
            )
            for caller in callers
        ),
        whole=("ID", "CREATED", "REVOKED"),
    )


@app.command()
def revoke(
    context: typer.Context,
    token_id: Annotated[
        str, typer.Argument(metavar="ID", help="As `lalepass token list` shows it.")
    ],
) -> None:
    """Revoke a token."""
    config = session(context).load()
    if not token_id.isascii():
        # Bytes that are no text can't even be looked up.
        raise TokenNotFound(token_id)
    operate.on_registry(config, lambda registry: registry.revoke(token_id, by=operator()))
    console.say(f"token {token_id} is revoked")


def _document(caller: Caller) -> dict[str, object]:
    return {
        "id": caller.token_id,
        "name": caller.name,
        "scopes": sorted(caller.scopes),
        "created_at": console.iso(caller.created_at),
        "revoked_at": console.iso(caller.revoked_at),
    }


def _create(config: "Config", name: str, scopes: list[Scope]) -> tuple[Caller, str]:
    return operate.on_registry(
        config, lambda registry: registry.create(name, scopes, by=operator())
    )


def _create_and_show(config: "Config", name: str, scopes: list[Scope]) -> Caller:
    caller, text = _create(config, name, scopes)
    with _revoked_unless_delivered(config, caller):
        console.say(text)
        sys.stdout.flush()
    return caller


def _create_in_file(config: "Config", name: str, scopes: list[Scope], file: Path) -> Caller:
    with new_private_file(file) as opened:
        caller, text = _create(config, name, scopes)
        with _revoked_unless_delivered(config, caller):
            opened.write(f"{text}\n")
            opened.flush()
            os.fsync(opened.fileno())
    return caller


@contextmanager
def _revoked_unless_delivered(config: "Config", caller: Caller) -> Iterator[None]:
    """Take a token back that nobody has seen: it would live on, and use up one of the two."""
    try:
        yield
    except BaseException:
        operate.on_registry(
            config, lambda registry: registry.revoke(caller.token_id, by=operator())
        )
        raise
