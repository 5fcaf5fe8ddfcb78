"""The command line of the doctor.

    python -m lalepass_provider.check homeserver.yaml [MORE.yaml | FOLDER ...]

Exit codes, as monitoring plugins have them: 0 nothing is wrong (there may be warnings), 1 there are
warnings and --strict was said, 2 there are errors, 3 it could not be looked.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Final, NoReturn

from lalepass_provider.check import files, installed, report
from lalepass_provider.check.finding import Finding, Severity, worst

_NO_SYNAPSE: Final = (
    "this Python has no Synapse: run the check with the one that Synapse runs in, such as"
    " /opt/venvs/matrix-synapse/bin/python"
)


class ExitCode(IntEnum):
    """How it ended."""

    OK = 0
    WARNINGS = 1
    ERRORS = 2
    NOT_LOOKED = 3


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Leave with a code that is not that of an error in the configuration."""
        self.exit(ExitCode.NOT_LOOKED, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m lalepass_provider.check",
        description="Look at a homeserver's configuration, say what is wrong and how to mend it.",
        epilog="Exit codes: 0 nothing is wrong, 1 warnings and --strict, 2 errors, 3 not looked.",
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="as Synapse is started with: files, and folders of *.yaml, in this order",
    )
    parser.add_argument("--user", help="whom Synapse runs as; else told by its signing key")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if there are warnings")
    parser.add_argument("--offline", action="store_true", help="do not ask the service")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, print what there is to say, and return the exit code."""
    options = _parser().parse_args(arguments)
    synapse = installed.synapse_version()
    if synapse is None:
        return _not_looked(_NO_SYNAPSE)
    # Here, because it needs Synapse.
    from lalepass_provider.check import doctor  # noqa: PLC0415

    try:
        configuration = files.read(options.files)
        reader = doctor.reader(configuration.values, named=options.user)
    except files.Unreadable as exc:
        return _not_looked(str(exc))
    except KeyError:
        return _not_looked(f"there is no user {options.user}")
    online = not options.offline
    looking = doctor.look(configuration, reader=reader, online=online, now=time.time())
    try:
        findings = [*installed.look(synapse), *looking]
    except files.Unreadable as exc:
        return _not_looked(str(exc))
    _print(findings, as_json=options.json)
    return _code(findings, strict=options.strict)


def _print(findings: Sequence[Finding], *, as_json: bool) -> None:
    said = json.dumps(report.document(findings), indent=2) if as_json else report.text(findings)
    try:
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # `| head` has seen enough. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _code(findings: Sequence[Finding], *, strict: bool) -> ExitCode:
    severity = worst(findings)
    if severity is Severity.ERROR:
        return ExitCode.ERRORS
    return ExitCode.WARNINGS if strict and severity is Severity.WARNING else ExitCode.OK


def _not_looked(sentence: str) -> ExitCode:
    sys.stderr.write(f"check: {sentence}\n")
    return ExitCode.NOT_LOOKED


if __name__ == "__main__":
    sys.exit(main())
