"""Where a service may be said to be, in the configuration."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit


def checked(url: str) -> str:
    """Return the address of a service as it is.

    Raises:
        ValueError: it can't be one; the text says what it should be.
    """
    if not re.fullmatch(r"https?://[!-~]*", url):
        raise ValueError("begins with https:// or http:// and has ASCII without blanks behind it")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("needs a host, and a port from 1 to 65535 if any") from None
    if not parts.hostname or port == 0:
        raise ValueError("needs a host, and a port from 1 to 65535 if any")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("has no user name, query or fragment")
    return url


def host_and_port(url: str) -> tuple[str, int]:
    """Return where to connect to for an address that was checked."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def shows_passwords(url: str) -> bool:
    """Whether what is sent there crosses a network in the open."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not _loopback(parts.hostname or "")


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
