"""What an address in the settings has to be."""

from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_WRONG: Final = "its description says what it should be"
_ELSEWHERE: Final = frozenset({"password", "passfile", "service", "options"})
"""Not to be said in an address: it would be printed with its secret, or is ours to choose."""


def server_url(url: str) -> str:
    """Return the address of a PostgreSQL server, as libpq takes it ("Connection URIs").

    Raises:
        ValueError: it is none, or has a password, or leaves open how a network is crossed.
    """
    if not url:
        return url
    parts = urlsplit(url)
    if (
        parts.scheme not in {"postgresql", "postgres"}
        or not (url.isascii() and url.isprintable())
        or " " in url
        or parts.fragment
        or not parts.path.strip("/")
    ):
        raise ValueError(_WRONG)
    try:
        given = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        # It repeats what it does not understand.
        raise ValueError(_WRONG) from None
    user, _, _ = parts.netloc.rpartition("@")
    if not user or ":" in user or _ELSEWHERE & given.keys():
        raise ValueError(_WRONG)
    if "sslmode" not in given and not all(map(is_loopback, _hosts(parts, given.get("host", [])))):
        raise ValueError(_WRONG)
    return url


def _hosts(parts: SplitResult, more: list[str]) -> list[str]:
    _, _, places = parts.netloc.rpartition("@")
    named = [unquote(place) for place in places.split(",") if place] or more[0:1] or [""]
    hosts = []
    for name in ",".join(named).split(","):
        inside, bracket, _ = name.removeprefix("[").partition("]")
        hosts.append(inside if bracket else name.rpartition(":")[0] or name)
    return hosts


def is_loopback(host: str | None) -> bool:
    """Whether it is this machine for sure: a name may be anything tomorrow. A path is a socket."""
    if host is not None and host.startswith("/"):
        return True
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False
