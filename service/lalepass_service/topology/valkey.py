"""Looks at a Valkey or Redis, in the older form of the protocol (RESP2)."""

import io
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lalepass_service.topology.finding import Amiss, Finding, fail, ok, warn
from lalepass_service.topology.parts import Valkey
from lalepass_service.topology.plan import Login
from lalepass_service.topology.seen import Seen
from lalepass_service.topology.wires import ahead, blamed, connect, secret, tls_of

_OLDEST: Final = 7
"""docs/valkey.md."""
_MAX_ANSWER: Final = 256 * 1024
_TIME: Final = 2
"""Seconds and microseconds: the only list that is asked for."""


class _Said(Exception):
    """It answered with an error, whose first word is this."""


def look(name: str, part: Valkey, login: Login) -> Seen:
    """See whether it answers, to whom, and how it is set.

    Raises:
        Amiss: it gave no answer, or not with this password.
    """
    tls = tls_of(login) if part.tls else None
    password = secret(login.password_path, what="password") if login.password_path else None
    with blamed(part.place), _understood(part), connect(part.place) as plain:
        wire = tls.wrap_socket(plain, server_hostname=part.place.host) if tls else plain
        with wire, wire.makefile("rb") as answers:
            before = time.time()
            open_to_all = _lets_in(wire, answers)
            if password is not None:
                _log_in(wire, answers, login, password, open_to_all=open_to_all)
            elif not open_to_all:
                return Seen(
                    part=name, findings=(ok(name, "reach", "answers, and wants a password"),)
                )
            facts, clock = _facts(wire, answers)
    version = facts.get("valkey_version") or facts.get("redis_version", "")
    return Seen(
        part=name,
        findings=tuple(_findings(name, part, facts, version, open_to_all=open_to_all)),
        version=version,
        ahead=None if clock is None else ahead(clock, clock, since=before),
    )


@contextmanager
def _understood(part: Valkey) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError:
        # Some of them are ValueErrors, too.
        raise
    except ValueError:
        raise Amiss(f"{part.place} is no Valkey", fix="look what else listens there") from None


def _lets_in(wire: socket.socket, answers: io.BufferedIOBase) -> bool:
    """Say whether it does what somebody tells it who has not logged in."""
    try:
        _ask(wire, answers, "PING")
    except _Said as error:
        if str(error) in {"NOAUTH", "NOPERM", "DENIED"}:
            return False
        raise Amiss(f"it answers {error}", fix="look at its log") from None
    return True


def _log_in(
    wire: socket.socket,
    answers: io.BufferedIOBase,
    login: Login,
    password: str,
    *,
    open_to_all: bool,
) -> None:
    given = (login.user, password) if login.user else (password,)
    try:
        _ask(wire, answers, "AUTH", *given)
    except _Said:
        if not open_to_all:
            raise Amiss(
                f"it does not take the password in {login.password_path}",
                fix="compare the password, and the user's ACL, with the server's",
                about="login",
            ) from None


def _facts(wire: socket.socket, answers: io.BufferedIOBase) -> tuple[dict[str, str], float | None]:
    """Return what it tells of itself, and what time it is there."""
    facts: dict[str, str] = {}
    try:
        for section in ("server", "memory", "replication"):
            text = _ask(wire, answers, "INFO", section)
            lines = text.splitlines() if isinstance(text, str) else []
            facts |= {n: value for n, _, value in (line.partition(":") for line in lines)}
        clock = _clock(_ask(wire, answers, "TIME"))
    except _Said as error:
        raise Amiss(
            f"it does not say how it is: {error}", fix="allow the user +info and +time"
        ) from None
    return facts, clock


def _findings(
    name: str, part: Valkey, facts: dict[str, str], version: str, *, open_to_all: bool
) -> Iterator[Finding]:
    kind = "Valkey" if "valkey_version" in facts else "Redis"
    role = facts.get("role", "master")
    if role != "master":
        yield fail(
            name, "role", f"{kind} {version} is a replica", fix="name the one that takes writes"
        )
    elif not version.partition(".")[0].isdecimal() or int(version.partition(".")[0]) < _OLDEST:
        yield fail(
            name, "version", f"{kind} {version} is too old", fix=f"upgrade it to {_OLDEST} or newer"
        )
    else:
        yield ok(name, "role", f"{kind} {version}" + ("" if open_to_all else ", wants a password"))
    if open_to_all:
        yield warn(
            name,
            "login",
            "anybody who reaches it may use it",
            fix="set a password (requirepass, or an ACL)",
        )
    policy = facts.get("maxmemory_policy")
    if part.policy is not None and policy != part.policy:
        yield fail(
            name,
            "policy",
            f"maxmemory-policy is {policy}, and has to be {part.policy}",
            fix=f"set maxmemory-policy {part.policy}",
        )


def _clock(answer: object) -> float | None:
    if isinstance(answer, list) and len(answer) == _TIME:
        return int(answer[0]) + int(answer[1]) / 1e6
    return None


_Reply = str | int | None | list["_Reply"]


def _ask(wire: socket.socket, answers: io.BufferedIOBase, *words: str) -> _Reply:
    parts = [word.encode() for word in words]
    wire.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
    return _read(answers)


def _read(answers: io.BufferedIOBase, *, inside: bool = False) -> _Reply:
    """Read one answer, a list at most one deep.

    Raises:
        _Said: it is an error.
        ValueError: it is none of the protocol.
    """
    line = answers.readline(_MAX_ANSWER)
    if not line:
        raise ConnectionResetError("cut")
    if not line.endswith(b"\n"):
        raise ValueError("too long")
    kind, rest = line[:1], line[1:].strip().decode("utf-8", "replace")
    if kind == b"-":
        raise _Said(rest.partition(" ")[0])
    if kind == b"+":
        return rest
    size = int(rest)
    if kind == b":":
        return size
    if size < 0 and kind in {b"$", b"*"}:
        return None
    if not 0 <= size <= _MAX_ANSWER:
        raise ValueError("too long")
    if kind == b"$":
        return answers.read(size + 2)[:-2].decode("utf-8", "replace")
    if kind == b"*" and not inside and size <= _TIME:
        return [_read(answers, inside=True) for _ in range(size)]
    raise ValueError("no answer of Valkey's")
