#!/usr/local/bin/python
"""Starts Synapse as the official image's entry point is documented to.

`run` (the default) or `generate`, and the environment: `SYNAPSE_CONFIG_PATH`, otherwise
`SYNAPSE_CONFIG_DIR` (`/data`) with `homeserver.yaml`; `SYNAPSE_WORKER`; `UID` and `GID`, to which
root drops. Arguments behind `run` go to Synapse.
"""

import os
import subprocess
import sys
from pathlib import Path

MAIN = "synapse.app.homeserver"


def as_user() -> list[str]:
    """Return what to put in front of a command so that it does not run as root."""
    if os.getuid() != 0:
        return []
    return ["gosu", f"{os.environ.get('UID', '991')}:{os.environ.get('GID', '991')}"]


def generate(config: Path) -> None:
    """Write a first configuration, for a person to go on with."""
    name = os.environ.get("SYNAPSE_SERVER_NAME")
    report = os.environ.get("SYNAPSE_REPORT_STATS")
    if not name or report not in {"yes", "no"}:
        sys.exit("generate needs SYNAPSE_SERVER_NAME, and SYNAPSE_REPORT_STATS as yes or no")
    config.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", MAIN, "--generate-config"),
        *("--server-name", name, "--report-stats", report),
        *("--config-path", str(config), "--config-directory", str(config.parent)),
        *("--data-directory", os.environ.get("SYNAPSE_DATA_DIR", "/data")),
    ]
    prefix = as_user()
    if prefix:
        subprocess.run(["chown", "-R", prefix[1], str(config.parent)], check=True)
    sys.exit(subprocess.run([*prefix, *command], check=False).returncode)


def run(config: Path, arguments: list[str]) -> None:
    """Become Synapse, or one of its workers."""
    worker = os.environ.get("SYNAPSE_WORKER", MAIN)
    if "-m" in arguments:
        at = arguments.index("-m")
        worker = arguments[at + 1]
        arguments = arguments[:at] + arguments[at + 2 :]
    if not {"-c", "--config-path"} & set(arguments):
        if not config.exists():
            sys.exit(f"{config} is not there: run this image with `generate` to make one")
        arguments = ["--config-path", str(config), *arguments]
    command = [*as_user(), sys.executable, "-m", worker, *arguments]
    os.execvp(command[0], command)


def main(arguments: list[str]) -> None:
    """Do what the first argument says."""
    folder = Path(os.environ.get("SYNAPSE_CONFIG_DIR", "/data"))
    config = Path(os.environ.get("SYNAPSE_CONFIG_PATH", folder / "homeserver.yaml"))
    mode = arguments[0] if arguments and not arguments[0].startswith("-") else "run"
    rest = arguments[1:] if arguments and arguments[0] == mode else arguments
    if mode == "generate":
        generate(config)
    elif mode == "run":
        run(config, rest)
    else:
        sys.exit(f"no such mode: {mode}")


if __name__ == "__main__":
    main(sys.argv[1:])
