"""How tests ask one part."""

from typing import Any

from pydantic import TypeAdapter

from lalepass_service.topology.finding import Finding, Severity
from lalepass_service.topology.parts import Part
from lalepass_service.topology.plan import Login
from lalepass_service.topology.seen import Seen

NOBODY = Login()
_PARTS: TypeAdapter[Any] = TypeAdapter(Part)


def part(kind: str, address: object, **options: object) -> Any:
    """Return a part as the file would have it."""
    return _PARTS.validate_python({"kind": kind, "address": str(address), **options})


def said(seen: Seen) -> list[tuple[str, str]]:
    """Return how bad each finding is, and what it says."""
    return [(str(finding.severity), finding.says) for finding in seen.findings]


def worst(findings: list[Finding]) -> Severity:
    """Return how bad it is."""
    return max((finding.severity for finding in findings), key=list(Severity).index)
