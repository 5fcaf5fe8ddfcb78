"""Compares what was seen of several parts with each other."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from lalepass_service.topology.finding import Finding, fail, ok, warn
from lalepass_service.topology.parts import Listening, Postgres
from lalepass_service.topology.seen import Seen, Server

_MIB: Final = 1024 * 1024
_MUCH: Final = 64 * _MIB
_TOO_MUCH: Final = 1024 * _MIB
"""Bytes of the log: four segments, and what takes a standby minutes to read."""
_LONG: Final = 10.0
_TOO_LONG: Final = 300.0
_OFF: Final = 5.0
_FAR_OFF: Final = 60.0
_ONE_VERSION: Final = {"lalepass": "Lalepass", "synapse": "Synapse"}


def together(parts: Mapping[str, Listening], seen: Sequence[Seen]) -> Iterator[Finding]:
    """Say what is wrong between parts, or right."""
    yield from _clusters(parts, seen)
    yield from _versions(parts, seen)
    yield from _clocks(seen)


def _clusters(parts: Mapping[str, Listening], seen: Sequence[Seen]) -> Iterator[Finding]:
    def cluster(name: str) -> str:
        part = parts[name]
        return part.cluster if isinstance(part, Postgres) else ""

    servers = {each.part: each.server for each in seen if each.server is not None}
    for name, members in groupby(sorted(servers, key=cluster), key=cluster):
        yield from _cluster(name, {member: servers[member] for member in members})


def _cluster(name: str, servers: Mapping[str, Server]) -> Iterator[Finding]:
    if len({server.system for server in servers.values()}) > 1:
        yield fail(
            name,
            "system",
            f"{_and(servers)} are of different systems",
            fix="make the standby anew with pg_basebackup from its primary",
        )
        return
    primaries = [member for member, server in servers.items() if server.primary]
    if len(primaries) > 1:
        yield fail(
            name,
            "primary",
            f"{_and(primaries)} are both primaries",
            fix="stop the older one now, and make it anew as a standby; never let both write",
        )
        return
    if not primaries:
        yield fail(
            name,
            "primary",
            "no primary was seen",
            fix="start it, or promote a standby when it is sure to stay down",
        )
    else:
        yield ok(name, "primary", f"{primaries[0]} is the only primary")
    first = servers[primaries[0]] if primaries else None
    for member, server in servers.items():
        if not server.primary:
            yield _standby(member, server, first)


def _standby(name: str, server: Server, primary: Server | None) -> Finding:
    behind = max(0, primary.position - server.position) if primary else 0
    seconds = server.seconds_behind
    says = f"{_size(behind)} and {seconds:.1f} s behind"
    if not server.follows:
        return fail(
            name,
            "lag",
            f"receives nothing from a primary, {says}",
            fix="look at its log; if the primary has dropped its slot, make it anew",
        )
    fix = "look at its disk, at the network, and for long queries on it"
    if behind > _TOO_MUCH or seconds > _TOO_LONG:
        return fail(name, "lag", says, fix=fix)
    if behind > _MUCH or seconds > _LONG:
        return warn(name, "lag", says, fix=fix)
    return ok(name, "lag", says)


def _versions(parts: Mapping[str, Listening], seen: Sequence[Seen]) -> Iterator[Finding]:
    for kind, name in _ONE_VERSION.items():
        versions = {e.part: e.version for e in seen if e.version and parts[e.part].kind == kind}
        if len(set(versions.values())) > 1:
            told = ", ".join(f"{part} {version}" for part, version in versions.items())
            yield warn(
                kind,
                "version",
                f"not all of {name} are of one version: {told}",
                fix="replace the older ones; that is right only while you upgrade",
            )


def _clocks(seen: Sequence[Seen]) -> Iterator[Finding]:
    known = {each.part: each.ahead for each in seen if each.ahead is not None}
    fix = "let both machines take their time from NTP"
    for part, ahead in known.items():
        says = f"its clock is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
        if abs(ahead) > _FAR_OFF:
            yield fail(part, "clock", says, fix=fix)
        elif abs(ahead) > _OFF:
            yield warn(part, "clock", says, fix=fix)
    if known and all(abs(ahead) <= _OFF for ahead in known.values()):
        yield ok("clocks", "clock", f"{_count(len(known), 'part')} and this machine agree")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _and(names: Sequence[str] | Mapping[str, Server]) -> str:
    return " and ".join(names)


def _size(octets: int) -> str:
    return f"{octets} bytes" if octets < _MIB else f"{octets // _MIB} MiB"
