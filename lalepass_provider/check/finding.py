"""What the doctor can say about one thing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeGuard


class Severity(StrEnum):
    """How bad it is."""

    OK = "ok"
    # it works, and there is a price or a danger that the operator should know
    WARNING = "warning"
    # Synapse will not start, somebody can't log in, or a door is open
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    """For programs; it does not change."""
    severity: Severity
    says: str
    """One sentence."""
    fix: str | None = None
    option: str | None = None
    """Where it stands, such as `modules[0].config.url`."""


def ok(name: str, says: str, *, option: str | None = None, fix: str | None = None) -> Finding:
    """Return what is as it should be; `fix` is advice."""
    return Finding(name=name, severity=Severity.OK, says=says, option=option, fix=fix)


def warning(name: str, says: str, *, fix: str, option: str | None = None) -> Finding:
    """Return what works and has a price."""
    return Finding(name=name, severity=Severity.WARNING, says=says, option=option, fix=fix)


def error(name: str, says: str, *, fix: str, option: str | None = None) -> Finding:
    """Return what has to be mended."""
    return Finding(name=name, severity=Severity.ERROR, says=says, option=option, fix=fix)


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the worst severity of all."""
    found = {finding.severity for finding in findings}
    return next((s for s in (Severity.ERROR, Severity.WARNING) if s in found), Severity.OK)


def is_section(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Say whether a value of the configuration holds options."""
    return isinstance(value, Mapping)


def section(config: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return a part of the configuration; an empty one if it is not there or is something else."""
    found: object = config
    for step in path:
        found = found.get(step) if is_section(found) else None
    return found if is_section(found) else {}
