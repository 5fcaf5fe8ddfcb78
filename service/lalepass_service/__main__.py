"""`lalepass`, and `python -m lalepass_service`."""

import os
import sys

from lalepass_service.cli import console


def main() -> None:
    """Run the command line and end the process."""
    # Whatever is made here, be it the database, the configuration or a token, is for its owner.
    os.umask(0o077)
    sys.exit(_run())


def _run() -> int:
    try:
        # Not above: where only the module is installed, as in Synapse's environment, it fails.
        from lalepass_service.cli.main import run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        return console.report(error, debug=False)
    return run(sys.argv[1:])


if __name__ == "__main__":
    main()
