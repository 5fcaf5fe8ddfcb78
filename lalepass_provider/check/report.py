"""Findings for a person and for a program."""

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from lalepass_provider.check.finding import Finding, Severity

_WIDEST: Final = 80
_NARROWEST: Final = 40
_INDENT: Final = " " * 9
_ORDER: Final = (Severity.OK, Severity.WARNING, Severity.ERROR)
"""The worst last: that is where a terminal stops."""
_LABELS: Final[Mapping[Severity, str]] = {
    Severity.OK: "ok",
    Severity.WARNING: "warning",
    Severity.ERROR: "ERROR",
}


def text(findings: Sequence[Finding]) -> str:
    """Return lines that fit a terminal, the worst at the end."""
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))
    lines = [
        line
        for severity in _ORDER
        for finding in findings
        if finding.severity is severity
        for line in _lines(finding, width)
    ]
    return "\n".join([*lines, "", _summary(findings)])


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as JSON knows them."""
    count = Counter(finding.severity for finding in findings)
    return {
        "findings": [
            {
                "name": finding.name,
                "severity": finding.severity,
                "option": finding.option,
                "says": finding.says,
                "fix": finding.fix,
            }
            for finding in findings
        ],
        "errors": count[Severity.ERROR],
        "warnings": count[Severity.WARNING],
    }


def _lines(finding: Finding, width: int) -> Iterator[str]:
    paragraphs = [
        finding.option or "",
        finding.says,
        f"-> {finding.fix}" if finding.fix else "",
    ]
    lines = list(_wrapped(filter(None, paragraphs), width))
    yield f"{_LABELS[finding.severity]:<{len(_INDENT)}}{lines[0]}"
    yield from (_INDENT + line for line in lines[1:])


def _wrapped(paragraphs: Iterable[str], width: int) -> Iterator[str]:
    for paragraph in paragraphs:
        # Long paths and addresses are broken rather than lost beyond the edge.
        yield from textwrap.wrap(_visible(paragraph), width - len(_INDENT), break_on_hyphens=False)


def _visible(line: str) -> str:
    """Write out what a terminal might obey: some words come from files and from the service."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _summary(findings: Sequence[Finding]) -> str:
    count = Counter(finding.severity for finding in findings)
    errors, warnings = count[Severity.ERROR], count[Severity.WARNING]
    return (
        f"{errors} {'error' if errors == 1 else 'errors'}, "
        f"{warnings} {'warning' if warnings == 1 else 'warnings'}, {count[Severity.OK]} ok"
    )
