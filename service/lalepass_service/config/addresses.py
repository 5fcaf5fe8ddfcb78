"""What an address in the settings has to be."""

from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

_WRONG: Final = "its description says what it should be"
_PARAMETERS: Final = frozenset(
    {
        "channel_binding",
        "gssencmode",
        "host",
        "krbsrvname",
        "load_balance_hosts",
        "require_auth",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcrl",
        "sslcrldir",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslrootcert",
        "sslsni",
        "target_session_attrs",
    }
)
"""What may be said behind the address (PostgreSQL, "Parameter Key Words" of libpq). The others have
a secret in them, which would be printed, or lead elsewhere, or are ours to choose."""


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
    user, _, places = parts.netloc.rpartition("@")
    if not user or ":" in user or given.keys() - _PARAMETERS or any(map(_twice, given.values())):
        raise ValueError(_WRONG)
    # libpq takes the one behind and forgets the one in front.
    if places and "host" in given:
        raise ValueError(_WRONG)
    named = places or given.get("host", [""])[0]
    if "sslmode" not in given and not all(map(is_loopback, _hosts(named))):
        raise ValueError(_WRONG)
    return url


def _twice(values: list[str]) -> bool:
    return len(values) > 1


def _hosts(named: str) -> list[str]:
    hosts = []
    for name in map(unquote, named.split(",")):
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
