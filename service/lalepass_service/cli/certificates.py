"""`lalepass certificate`."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from lalepass_service.cli import console
from lalepass_service.faults import OutsideFault

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}")
_MODE: Final = re.compile(r"0?[0-7]{3}")


def certificate(  # noqa: PLR0913 - each is an option
    name: Annotated[
        str, typer.Argument(help="Its files are NAME.crt and NAME.key.", metavar="NAME")
    ],
    *,
    directory: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Where to write it, with the CA's ca.crt. Created if missing."
        ),
    ],
    authority: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the private CA is. Created if missing.")
    ],
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="A host name or address it is valid for. Default: NAME."),
    ] = None,
    client: Annotated[
        bool, typer.Option("--client", help="For a client (the homeserver), not for a server.")
    ] = False,
    days: Annotated[int, typer.Option(min=1, max=825, help="How long it is valid.")] = 90,
    renew_before: Annotated[
        int, typer.Option(metavar="DAYS", min=0, help="Renew it this many days before it expires.")
    ] = 30,
    renew: Annotated[bool, typer.Option("--renew", help="Renew it in any case.")] = False,
    mode: Annotated[
        str, typer.Option(metavar="OCTAL", help="The mode of the files, such as 640.")
    ] = "600",
) -> None:
    """Create a certificate for TLS between homeserver and service, or renew it in time.

    The authority is a private one, made with the first certificate. Does nothing if there is a
    certificate for the same hosts that is good for a while.
    """
    from lalepass_service.adapters.certificates import (  # noqa: PLC0415 - the cipher's import
        Authority,
        Signed,
        Use,
    )
    from lalepass_service.adapters.clock import SystemClock  # noqa: PLC0415 - as above

    hosts = host or [name]
    _require(name, hosts, mode)
    now = SystemClock().now()
    use = Use.CLIENT if client else Use.SERVER
    files = Signed(directory / f"{name}.crt", directory / f"{name}.key")
    for folder in (authority, directory):
        # As `lalepass init` does. What failed without it would name a temporary file.
        folder.mkdir(mode=0o700, exist_ok=True)
    try:
        signer = Authority.open(authority, now=now)
        _trust(directory / "ca.crt", signer.pem)
    except ValueError as error:
        raise OutsideFault(f"{authority} holds no authority that this program made") from error
    until = now + timedelta(days=min(renew_before, days - 1))
    if not renew and signer.stands(files, use=use, hosts=hosts, until=until):
        console.say(f"{files.certificate} is valid for more than {renew_before} days")
        return
    signer.sign(files, use=use, hosts=hosts, now=now, days=days, mode=int(mode, 8))
    console.say(f"made {files.certificate}, for {', '.join(hosts)}, for {days} days")


def _trust(path: Path, pem: bytes) -> None:
    """Put the authority's certificate there. Who follows the file sees no change where is none."""
    from lalepass_service.adapters.certificates import write_whole  # noqa: PLC0415 - as above

    if not path.exists() or path.read_bytes() != pem:
        write_whole(path, pem, mode=0o644)


def _require(name: str, hosts: list[str], mode: str) -> None:
    if not _NAME.fullmatch(name):
        raise console.WrongUsage("NAME is made of letters, digits and . _ -, at most 64")
    if not all(map(_HOST.fullmatch, hosts)):
        raise console.WrongUsage("--host is a name of letters and digits, or an address")
    if not _MODE.fullmatch(mode):
        raise console.WrongUsage("--mode is three octal digits, such as 640")
