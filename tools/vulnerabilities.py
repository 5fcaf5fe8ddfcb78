"""Known vulnerabilities of the locked packages, where the database of advisories can be reached.

`dev` is audited, because it holds every package of the other locks in the same version.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from tools.locks import DEV, NOT_CHECKED, ROOT

_TIMEOUT: Final = 60.0

ACCEPTED: Final[Mapping[str, str]] = {}
"""Advisories that do not concern us, each with the reason."""


class _Report(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Advisory(_Report):
    """One of pip-audit's findings."""

    id: str
    fix_versions: list[str] = []


class Package(_Report):
    """One package that pip-audit looked up, or could not look up."""

    name: str
    version: str = ""
    skip_reason: str = ""
    vulns: list[Advisory] = []


class Report(_Report):
    """What pip-audit prints."""

    dependencies: list[Package]


def verdict(report: Report, *, accepted: Mapping[str, str] = ACCEPTED) -> tuple[int, list[str]]:
    """Return the exit code for a report, and the lines to print."""
    found = list(_findings(report, accepted))
    if found:
        return 1, found
    total = len(report.dependencies)
    # pip-audit calls it a success when the index knows none of the packages.
    skipped = sum(bool(package.skip_reason) for package in report.dependencies)
    if skipped == total:
        return NOT_CHECKED, [f"the database knows none of {total} packages: nothing was audited"]
    if skipped:
        return NOT_CHECKED, [f"no known vulnerability, but {skipped} of {total} were not found"]
    return 0, [f"{total} packages without a known vulnerability"]


def _findings(report: Report, accepted: Mapping[str, str]) -> Iterator[str]:
    for package in report.dependencies:
        for advisory in package.vulns:
            if advisory.id not in accepted:
                fixed = ", ".join(advisory.fix_versions) or "no release yet"
                yield f"{package.name} {package.version}: {advisory.id}, fixed in {fixed}"


_AUDIT: Final = (
    *(sys.executable, "-m", "pip_audit", "--requirement", DEV.file, "--require-hashes"),
    *("--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10"),
)


def main(command: Sequence[str] = _AUDIT) -> int:
    """Print the findings and return the exit code."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )
        report = Report.model_validate(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        print(f"the database did not answer within {_TIMEOUT:.0f} s: nothing was audited")
        return NOT_CHECKED
    except (ValueError, ValidationError):
        # Without a report on standard output, pip-audit has failed, most often for the network.
        print("the database of advisories can't be reached: nothing was audited")
        return NOT_CHECKED
    code, lines = verdict(report)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
