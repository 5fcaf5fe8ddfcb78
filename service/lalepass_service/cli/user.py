"""`lalepass user ...`."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from lalepass_service.cli import console, durations, edit, hashes, listing, operate, passwords
from lalepass_service.cli.listing import Name
from lalepass_service.cli.names import localpart
from lalepass_service.cli.session import session
from lalepass_service.core.editing import NewUser
from lalepass_service.core.model import NormalForm, Password, PasswordRecord, UserState

app = typer.Typer(help="Manage accounts.")

_DisplayName = Annotated[str | None, typer.Option(metavar="NAME", help="The name that others see.")]
_Emails = Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Can be repeated.")]
_Phones = Annotated[
    list[str] | None,
    typer.Option(metavar="NUMBER", help="With its country code. Can be repeated."),
]
_NoPassword = Annotated[
    bool, typer.Option("--no-password", help="Set none: nobody can log in yet.")
]
_Hash = Annotated[
    bool,
    typer.Option(
        "--hash-stdin", help="Read a hash that another program made, one line of standard input."
    ),
]
_Form = Annotated[
    NormalForm,
    typer.Option(
        metavar="|".join(NormalForm),
        help="The Unicode normalization that program applied before it hashed.",
    ),
]
_Synapse = Annotated[
    bool, typer.Option("--synapse", help="The hash is Synapse's: use nfkc, and its pepper.")
]
_ReuseName = Annotated[
    bool,
    typer.Option(
        "--reuse-name",
        help="Allow the name of a deleted account. Its rooms and history go to the new one.",
    ),
]
_MustChange = Annotated[
    bool, typer.Option("--must-change", help="It only lets the user choose a new one.")
]
_Temporary = Annotated[
    bool, typer.Option("--temporary", help="Like --must-change, and it expires: see --valid-for.")
]
_USUAL_TIME: Final = "3d"
_ValidFor = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="For --temporary: 90m, 12h or the like. Default: 3d."),
]
_KeepSessions = Annotated[
    bool,
    typer.Option("--keep-sessions", help="End no session: the old password is in no wrong hands."),
]


@app.command()
def add(  # noqa: PLR0913 - the options of the command line
    context: typer.Context,
    name: Name,
    *,
    display_name: _DisplayName = None,
    email: _Emails = None,
    phone: _Phones = None,
    admin: Annotated[bool, typer.Option("--admin", help="Make the user an administrator.")] = False,
    password_stdin: passwords.Stdin = False,
    no_password: _NoPassword = False,
    hash_stdin: _Hash = False,
    normal_form: _Form = NormalForm.NONE,
    synapse: _Synapse = False,
    reuse_name: _ReuseName = False,
) -> None:
    """Create an account."""
    _require_one_source(password=password_stdin, none=no_password, record=hash_stdin)
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
    read = partial(_read, password=password_stdin, record=hash_stdin)
    password = None if no_password else read(form=normal_form, synapse=synapse)
    operate.on_directory(
        config, lambda directory: directory.add(new, password, reuse_name=reuse_name)
    )
    console.say(f"user {name} is added" + (", without a password" if no_password else ""))


app.command("show")(listing.show)
app.command("list")(listing.show_page)
app.command("edit")(edit.edit)
app.command("sign-out")(edit.sign_out)


@app.command("set-password")
def set_password(  # noqa: PLR0913 - the options of the command line
    context: typer.Context,
    name: Name,
    *,
    password_stdin: passwords.Stdin = False,
    hash_stdin: _Hash = False,
    normal_form: _Form = NormalForm.NONE,
    synapse: _Synapse = False,
    must_change: _MustChange = False,
    temporary: _Temporary = False,
    valid_for: _ValidFor = None,
    keep_sessions: _KeepSessions = False,
) -> None:
    """Replace the password of an account, and end its sessions on the homeservers."""
    _require_one_source(password=password_stdin, none=False, record=hash_stdin)
    if valid_for is not None and not temporary:
        raise console.WrongUsage("--valid-for is the time of a password that is --temporary")
    time = durations.read(valid_for or _USUAL_TIME) if temporary else None
    config = session(context).load()
    checked = localpart(name)
    # Asked before the password: nobody should think of one for a name that is misspelt.
    operate.on_directory(config, lambda directory: directory.get(checked))
    password = _read(password=password_stdin, record=hash_stdin, form=normal_form, synapse=synapse)
    operate.on_directory(
        config,
        lambda directory: directory.set_password(
            checked,
            password,
            must_change=must_change,
            valid_for=time,
            keep_sessions=keep_sessions,
        ),
    )
    terms = f", which has to be changed within {valid_for or _USUAL_TIME}" if temporary else ""
    if must_change and not temporary:
        terms = ", which has to be changed"
    console.say(f"user {checked} has a new password{terms}")


@app.command("import")
def import_users(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="One JSON object a line.", metavar="FILE")],
) -> None:
    """Import accounts with their hashes. After an interruption, run it again.

    A line has localpart, and may have hash, normal_form (nfc, nfkc or none), kind (synapse),
    display_name, emails, phones, admin and state (active or disabled). Lines that can't be
    imported are reported with the reason, and the exit code is 1; all others are imported.
    """
    # pydantic is slow to import.
    from lalepass_service.cli.importing import Result, import_file  # noqa: PLC0415

    config = session(context).load()
    results = operate.on_directory(config, lambda directory: import_file(directory, file))
    console.say(", ".join(f"{results[each]} {each}" for each in Result))
    if results[Result.REFUSED]:
        raise typer.Exit(console.ExitCode.REFUSED)


@app.command()
def disable(context: typer.Context, name: Name) -> None:
    """Disable an account: it can't log in any more. Its password is kept."""
    _set_state(context, name, UserState.DISABLED)


@app.command()
def enable(context: typer.Context, name: Name) -> None:
    """Enable a disabled account again."""
    _set_state(context, name, UserState.ACTIVE)


@app.command()
def unlock(context: typer.Context, name: Name) -> None:
    """Forget the wrong passwords that make an account wait."""
    config = session(context).load()
    checked = localpart(name)
    unlocked = operate.on_directory(config, lambda directory: directory.unlock(checked))
    console.say(f"user {checked} is unlocked" if unlocked else f"user {checked} was not locked")


@app.command()
def delete(
    context: typer.Context,
    name: Name,
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


def _require_one_source(*, password: bool, none: bool, record: bool) -> None:
    given = {"--password-stdin": password, "--no-password": none, "--hash-stdin": record}
    chosen = [option for option, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise console.WrongUsage(f"{' and '.join(chosen)} exclude each other")


def _read(
    *, password: bool, record: bool, form: NormalForm, synapse: bool
) -> Password | PasswordRecord:
    if record:
        return hashes.read(form=form, synapse=synapse)
    if synapse or form is not NormalForm.NONE:
        raise console.WrongUsage("--synapse and --normal-form are about the hash of --hash-stdin")
    return passwords.read(stdin=password)


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
