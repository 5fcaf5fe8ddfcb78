"""`lalepass`, and `python -m lalepass_service`."""

import os
import sys

from lalepass_service.cli.main import run


def main() -> None:
    """Run the command line and end the process."""
    # Whatever is made here, be it the database, the configuration or a token, is for its owner.
    os.umask(0o077)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
