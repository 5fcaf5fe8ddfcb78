"""`lalepass user show` and `lalepass user list`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lalepass_service.cli import console, operate
from lalepass_service.cli.names import localpart
from lalepass_service.cli.session import session
from lalepass_service.core.errors import NoAnswer
from lalepass_service.core.model import User, UserState
from lalepass_service.core.sign_ins import KEEP_PER_ACCOUNT, SignIn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lalepass_service.core.directory import Directory

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user name, such as alice.")]
_SHOWN: Final = 10
"""Sign-ins that people see; programs see all."""

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def show(context: typer.Context, name: Name, *, as_json: _Json = False) -> None:
    """Show an account."""
    config = session(context).load()
    document, sign_ins = operate.on_directory(config, lambda directory: _all_of(directory, name))
    if as_json:
        console.say_json(document)
        return
    document["sign_ins"] = [_line(each) for each in sign_ins[:_SHOWN]]
    console.say_table((), ((key, _cell(value)) for key, value in document.items()))


def show_page(
    context: typer.Context,
    *,
    state: Annotated[
        UserState | None,
        typer.Option(metavar="|".join(UserState), help="Only those in this state."),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="At most this many.")
    ] = 100,
    after: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those after this name.")
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


async def _all_of(
    directory: "Directory", name: str
) -> tuple[dict[str, object], "Sequence[SignIn]"]:
    checked = localpart(name)
    user = await directory.get(checked)
    sign_ins = await directory.sign_ins(checked, limit=KEEP_PER_ACCOUNT)
    document = _document(user) | {
        "wrong_passwords": await _failures(directory, checked),
        "sign_ins": [_sign_in(each) for each in sign_ins],
    }
    return document, sign_ins


async def _failures(directory: "Directory", name: str) -> int | None:
    """Return how many there are; None if Valkey, which counts them, does not answer."""
    try:
        return await directory.failures(name)
    except NoAnswer as error:
        console.explain(f"Nobody can tell how many wrong passwords there were: {error}")
        return None


def _line(sign_in: SignIn) -> str:
    parts = [
        console.iso(sign_in.signed_in_at) or "?",
        sign_in.device_id or "no device",
        f"on {sign_in.caller}",
    ]
    if sign_in.ip:
        parts.append(f"from {sign_in.ip}")
    if sign_in.signed_out_at:
        parts.append(f"until {console.iso(sign_in.signed_out_at)}")
    return " ".join(parts)


def _sign_in(sign_in: SignIn) -> dict[str, object]:
    return asdict(sign_in) | {
        "signed_in_at": console.iso(sign_in.signed_in_at),
        "signed_out_at": console.iso(sign_in.signed_out_at),
    }


def _say_users(users: "Sequence[User]") -> None:
    console.say_table(
        ("NAME", "STATE", "PASSWORD", "ADMIN", "DISPLAY NAME"),
        (
            (
                user.localpart,
                user.state,
                _password(user),
                "yes" if user.admin else "no",
                user.display_name or "",
            )
            for user in users
        ),
    )


def _password(user: User) -> str:
    if user.password_changed_at is None:
        return "no"
    if user.password_expires_at is not None:
        return f"until {console.iso(user.password_expires_at)}"
    return "to be changed" if user.password_must_change else "yes"


def _document(user: User) -> dict[str, object]:
    return asdict(user) | {
        "emails": list(user.emails),
        "phones": list(user.phones),
        "created_at": console.iso(user.created_at),
        "password_changed_at": console.iso(user.password_changed_at),
        "password_expires_at": console.iso(user.password_expires_at),
        "unlocked_at": console.iso(user.unlocked_at),
    }


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return "" if value is None else str(value)
