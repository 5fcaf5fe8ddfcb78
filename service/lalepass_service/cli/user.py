"""`lalepass user ...`."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lalepass_service.cli import console, operate, passwords
from lalepass_service.cli.names import localpart
from lalepass_service.cli.session import session
from lalepass_service.core.directory import NewUser
from lalepass_service.core.model import User, UserState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lalepass_service.core.directory import Directory

app = typer.Typer(help="The accounts.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="The user name, such as alice.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
]
_Phones = Annotated[list[str] | None, typer.Option(help="With its country code. Can be repeated.")]
_NoPassword = Annotated[
    bool, typer.Option("--no-password", help="Nobody can log in until one is set.")
]
_ReuseName = Annotated[
    bool,
    typer.Option(
        "--reuse-name",
        help="Even if a deleted account had the name: the new one gets its rooms and history.",
    ),
]


@app.command()
def add(  # noqa: PLR0913 - the options of the command line
    context: typer.Context,
    name: _Name,
    *,
    display_name: Annotated[str | None, typer.Option(help="As others see them.")] = None,
    email: Annotated[list[str] | None, typer.Option(help="Can be repeated.")] = None,
    phone: _Phones = None,
    admin: Annotated[bool, typer.Option("--admin", help="An administrator.")] = False,
    password_stdin: _Stdin = False,
    no_password: _NoPassword = False,
    reuse_name: _ReuseName = False,
) -> None:
    """Make an account."""
    if password_stdin and no_password:
        raise console.WrongUsage("--password-stdin and --no-password exclude each other")
    new = NewUser(
        localpart=localpart(name),
        display_name=display_name,
        emails=email or (),
        phones=phone or (),
        admin=admin,
    )
    config = session(context).load()
    # Before the password: nobody should type one that then can't be stored.
    operate.require_database(config)
    password = None if no_password else passwords.read(stdin=password_stdin)
    operate.on_directory(
        config, lambda directory: directory.add(new, password, reuse_name=reuse_name)
    )
    console.say(f"user {name} is added" + (", without a password" if no_password else ""))


@app.command()
def show(context: typer.Context, name: _Name, *, as_json: _Json = False) -> None:
    """Show an account."""
    config = session(context).load()
    document = operate.on_directory(config, lambda directory: _with_failures(directory, name))
    if as_json:
        console.say_json(document)
        return
    console.say_table((), ((key, _cell(value)) for key, value in document.items()))


@app.command("list")
def show_page(
    context: typer.Context,
    *,
    state: Annotated[UserState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    after: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those behind this name.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """List accounts, in the order of their names."""
    config = session(context).load()
    behind = None if after is None else localpart(after)
    # One more than asked for, to know whether there are more.
    found = operate.on_directory(
        config, lambda directory: directory.page(after=behind, limit=limit + 1, state=state)
    )
    users = found[:limit]
    more = users[-1].localpart if len(found) > limit else None
    if as_json:
        console.say_json({"users": [_document(user) for user in users], "next": more})
        return
    _say_users(users)
    if more is not None:
        console.explain(f"There are more: go on with --after {more}")


@app.command("set-password")
def set_password(context: typer.Context, name: _Name, *, password_stdin: _Stdin = False) -> None:
    """Replace the password of an account."""
    config = session(context).load()
    checked = localpart(name)
    # Asked before the password: nobody should think of one for a name that is misspelt.
    operate.on_directory(config, lambda directory: directory.get(checked))
    password = passwords.read(stdin=password_stdin)
    operate.on_directory(config, lambda directory: directory.set_password(checked, password))
    console.say(f"user {checked} has a new password")


@app.command()
def disable(context: typer.Context, name: _Name) -> None:
    """Refuse an account from now on. Its password is kept."""
    _set_state(context, name, UserState.DISABLED)


@app.command()
def enable(context: typer.Context, name: _Name) -> None:
    """Let a disabled account in again."""
    _set_state(context, name, UserState.ACTIVE)


@app.command()
def unlock(context: typer.Context, name: _Name) -> None:
    """Forget the wrong passwords that hold an account up."""
    config = session(context).load()
    checked = localpart(name)
    unlocked = operate.on_directory(config, lambda directory: directory.unlock(checked))
    console.say(f"user {checked} is unlocked" if unlocked else f"user {checked} was not locked")


@app.command()
def delete(
    context: typer.Context,
    name: _Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Remove an account for good. The name stays retired: see `user add --reuse-name`."""
    config = session(context).load()
    checked = localpart(name)
    operate.on_directory(config, lambda directory: directory.get(checked))
    if not yes:
        _confirm(checked)
    operate.on_directory(config, lambda directory: directory.delete(checked))
    console.say(f"user {checked} is deleted")


async def _with_failures(directory: "Directory", name: str) -> dict[str, object]:
    checked = localpart(name)
    user = await directory.get(checked)
    return _document(user) | {"wrong_passwords": await directory.failures(checked)}


def _confirm(name: str) -> None:
    if not sys.stdin.isatty():
        raise console.WrongUsage("there is no terminal to ask on: use --yes")
    if typer.prompt(f"Type {name} to delete it for good", default="", show_default=False) != name:
        raise console.WrongUsage("that is another name: nothing is deleted")


def _set_state(context: typer.Context, name: str, state: UserState) -> None:
    config = session(context).load()
    checked = localpart(name)
    operate.on_directory(config, lambda directory: directory.set_state(checked, state))
    console.say(f"user {checked} is {state}")


def _say_users(users: "Sequence[User]") -> None:
    console.say_table(
        ("NAME", "STATE", "PASSWORD", "ADMIN", "DISPLAY NAME"),
        (
            (
                user.localpart,
                user.state,
                "yes" if user.password_changed_at else "no",
                "yes" if user.admin else "no",
                user.display_name or "",
            )
            for user in users
        ),
    )


def _document(user: User) -> dict[str, object]:
    return asdict(user) | {
        "emails": list(user.emails),
        "phones": list(user.phones),
        "created_at": console.iso(user.created_at),
        "password_changed_at": console.iso(user.password_changed_at),
    }


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return "" if value is None else str(value)
