"""`lalepass doctor`: looks at a homeserver, in the Python that the homeserver runs in."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from lalepass_service.cli import console
from lalepass_service.faults import OutsideFault

_MODULE: Final = "lalepass_provider.check"
_NEEDED: Final = ("lalepass_provider", "synapse")
_PACKAGED: Final = Path("/opt/venvs/matrix-synapse/bin/python")
"""Where the packages of Debian and of matrix.org have it."""
_MISSING: Final = re.compile(r"No module named '?([A-Za-z0-9_.]+)")
"""As Python says it, quoted or not, the last time in the end."""
_SECONDS: Final = 300.0

_Homeserver = Annotated[
    list[Path],
    typer.Option(
        "--homeserver",
        metavar="PATH",
        help="homeserver.yaml, or a folder of such files. Again for each one that Synapse is"
        " started with, in the same order.",
    ),
]
_Python = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="The Python that Synapse runs in. Default: searched for."),
]
_User = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The user that Synapse runs as, to check what it can read."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if there are warnings.")]
_Offline = Annotated[bool, typer.Option("--offline", help="Do not ask the service.")]


def doctor(
    *,
    homeserver: _Homeserver,
    python: _Python = None,
    user: _User = None,
    as_json: _Json = False,
    strict: _Strict = False,
    offline: _Offline = False,
) -> None:
    """Check a homeserver's configuration; say what is wrong and how to fix it.

    Run it on the machine of the homeserver. Exit codes: 0 nothing is wrong, 1 warnings and
    --strict, 2 errors, 3 it could not be looked.
    """
    flags = {"--json": as_json, "--strict": strict, "--offline": offline}
    arguments = [name for name, given in flags.items() if given]
    if user is not None:
        arguments.append(f"--user={user}")
    done = _run(python or _python_of_synapse(), [*arguments, "--", *map(str, homeserver)])
    # Already made fit for a terminal over there.
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    raise typer.Exit(done.returncode)


def _run(python: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the check, a program of its own: the service knows neither Synapse nor the module."""
    # -P: not from the folder that somebody happens to be in.
    command = [str(python), "-P", "-m", _MODULE, *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - the operator names the program
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            # Its pipe is no terminal, so it is told how wide ours is.
            env=os.environ | {"COLUMNS": str(console.width())},
        )
    except subprocess.TimeoutExpired:
        raise OutsideFault(f"the check did not end within {_SECONDS:.0f} seconds") from None
    except OSError as error:
        raise OutsideFault(f"{python}: {error.strerror}") from error
    missing = _MISSING.findall(done.stderr)
    if missing and not done.stdout:
        raise OutsideFault(_without(missing[-1].partition(".")[0], python))
    return done


def _without(module: str, python: Path) -> str:
    # There is no Synapse without yaml, which the check needs first, and we bring none along.
    if module in {"synapse", "yaml"}:
        return f"{python} has no Synapse: name the Python that Synapse runs in with --python"
    what = "Lalepass" if module == "lalepass_provider" else module
    return f"{python} has no {what}: install the extra [provider] where Synapse is"


def _python_of_synapse() -> Path:
    for python in _candidates():
        return python
    raise OutsideFault(
        "there is no Synapse with Lalepass's module on this machine, or not where it is looked"
        " for: name its Python with --python"
    )


def _candidates() -> Iterator[Path]:
    if all(find_spec(name) for name in _NEEDED):
        yield Path(sys.executable)
    if os.access(_PACKAGED, os.X_OK):
        yield _PACKAGED
