"""`lalepass user edit` and `lalepass user sign-out`: what homeservers then follow."""

from typing import Annotated

import typer

from lalepass_service.cli import console, operate
from lalepass_service.cli.listing import Name
from lalepass_service.cli.names import localpart
from lalepass_service.cli.session import session
from lalepass_service.core.editing import Edit

_DisplayName = Annotated[str | None, typer.Option(metavar="NAME", help="The name that others see.")]
_NoDisplayName = Annotated[bool, typer.Option("--no-display-name", help="Remove it.")]
_AddEmail = Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Can be repeated.")]
_RemoveEmail = Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Likewise.")]
_AddPhone = Annotated[
    list[str] | None,
    typer.Option(metavar="NUMBER", help="With its country code. Can be repeated."),
]
_RemovePhone = Annotated[list[str] | None, typer.Option(metavar="NUMBER", help="Likewise.")]
_Admin = Annotated[
    bool | None, typer.Option("--admin/--no-admin", help="Whether the user is an administrator.")
]


def edit(  # noqa: PLR0913 - the options of the command line
    context: typer.Context,
    name: Name,
    *,
    display_name: _DisplayName = None,
    no_display_name: _NoDisplayName = False,
    add_email: _AddEmail = None,
    remove_email: _RemoveEmail = None,
    add_phone: _AddPhone = None,
    remove_phone: _RemovePhone = None,
    admin: _Admin = None,
) -> None:
    """Change a user's profile. Homeservers that follow the feed update theirs."""
    if no_display_name and display_name is not None:
        raise console.WrongUsage("--display-name and --no-display-name exclude each other")
    if display_name is not None and not display_name.strip():
        raise console.WrongUsage("--display-name is empty: use --no-display-name")
    wanted = Edit(
        display_name="" if no_display_name else display_name,
        add_emails=tuple(add_email or ()),
        remove_emails=tuple(remove_email or ()),
        add_phones=tuple(add_phone or ()),
        remove_phones=tuple(remove_phone or ()),
        admin=admin,
    )
    if not wanted.asked():
        raise console.WrongUsage("say what to change: see `lalepass user edit --help`")
    config = session(context).load()
    checked = localpart(name)
    changed = operate.on_directory(config, lambda directory: directory.edit(checked, wanted))
    console.say(f"user {checked} is changed" if changed else f"user {checked} was so already")


def sign_out(context: typer.Context, name: Name) -> None:
    """End all sessions of an account, on every homeserver that follows the feed."""
    config = session(context).load()
    checked = localpart(name)
    operate.on_directory(config, lambda directory: directory.sign_out(checked))
    console.say(
        f"the sessions of user {checked} end as soon as the homeservers hear of it: "
        "at once where they are connected"
    )
