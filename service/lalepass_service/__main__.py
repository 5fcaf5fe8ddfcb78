"""`lalepass`, and `python -m lalepass_service`."""

import io
import os
import sys
from pathlib import Path

from lalepass_service.cli import console


def main() -> None:
    """Run the command line and end the process."""
    # Whatever is made here, be it the database, the configuration or a token, is for its owner.
    os.umask(0o077)
    sys.exit(_run() if _can_talk() else console.ExitCode.OUTSIDE)


def _can_talk() -> bool:
    """Make the standard streams usable, whoever closed them and whatever they can encode."""
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - for the life of the process
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as above
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:
        # What is printed may be a token that is shown only once.
        sys.stderr.write("lalepass: standard output is closed\n")
    return sys.stdout is not None


def _run() -> int:
    try:
        # Not above: where only the module is installed, as in Synapse's environment, it fails.
        from lalepass_service.cli.main import run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        return console.report(error, debug=False)
    return run(sys.argv[1:])


if __name__ == "__main__":
    main()
