"""What can be said about one thing that was looked at."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is."""

    OK = "ok"
    # it can't be otherwise, the file says why, and somebody should have read it once
    NOTE = "note"
    # it works, and there is a danger that the operator should know
    WARN = "warn"
    # a part is away, or is not what it should be, or a door is open
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. No secret is in any of its texts."""

    part: str
    about: str
    """One word for programs; it does not change."""
    severity: Severity
    says: str
    fix: str | None = None


class Amiss(Exception):
    """A part is not as it has to be: becomes a finding that fails."""

    def __init__(self, says: str, *, fix: str, about: str = "reach") -> None:
        super().__init__(says)
        self.says = says
        self.fix = fix
        self.about = about


def ok(part: str, about: str, says: str) -> Finding:
    """Return what is as it should be."""
    return Finding(part=part, about=about, severity=Severity.OK, says=says)


def note(part: str, about: str, says: str) -> Finding:
    """Return what is known, with its reason."""
    return Finding(part=part, about=about, severity=Severity.NOTE, says=says)


def warn(part: str, about: str, says: str, *, fix: str) -> Finding:
    """Return what works and has a danger."""
    return Finding(part=part, about=about, severity=Severity.WARN, says=says, fix=fix)


def fail(part: str, about: str, says: str, *, fix: str) -> Finding:
    """Return what has to be mended."""
    return Finding(part=part, about=about, severity=Severity.FAIL, says=says, fix=fix)
