"""What one look at one part came to."""

from dataclasses import dataclass

from lalepass_service.topology.finding import Finding


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server of PostgreSQL."""

    system: int
    """Of a primary and all of its standbys (PostgreSQL, `pg_control_system`)."""
    primary: bool
    position: int
    """How far it has written, or replayed: bytes of the log that was ever written."""
    follows: bool
    """Whether a standby is connected to a primary."""
    seconds_behind: float
    """Since the last change that a standby has replayed; 0 if it has replayed all it received."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A part that has answered."""

    part: str
    findings: tuple[Finding, ...]
    version: str | None = None
    ahead: float | None = None
    """Seconds that its clock is ahead of ours at least, below 0 if behind; None if not known."""
    server: Server | None = None
    answered_by: str | None = None
