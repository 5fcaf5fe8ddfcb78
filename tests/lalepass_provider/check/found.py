"""What a check found, for the tests to look at."""

from collections.abc import Iterable

from lalepass_provider.check.finding import Finding, Severity


def names(findings: Iterable[Finding], *, least: Severity = Severity.WARNING) -> list[str]:
    """Return the names of what is at least this bad."""
    order = list(Severity)
    return [f.name for f in findings if order.index(f.severity) >= order.index(least)]


def only(findings: Iterable[Finding], name: str) -> Finding:
    """Return the one finding of this name."""
    (found,) = [finding for finding in findings if finding.name == name]
    return found
