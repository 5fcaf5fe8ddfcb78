"""Ask a running service whether it is ready, for a container's health check.

    python -m lalepass_service.health [URL] [--ca FILE] [--certificate FILE --key FILE]

Standard library only: it is run every few seconds, and a second interpreter with all of the
service's packages would cost more than the answer. Exit codes: 0 ready, 1 not.
"""

import argparse
import http.client
import ssl
import sys
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

_SECONDS: Final = 3.0
_PATH: Final = "/health/ready"


def main(arguments: Sequence[str]) -> int:
    """Ask, say what is wrong if anything is, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        context = _context(options)
        status = _status(options.url, context)
    except (OSError, http.client.HTTPException, ValueError) as error:
        sys.stderr.write(f"not ready: {str(error) or type(error).__name__}\n")
        return 1
    if status != http.client.OK:
        sys.stderr.write(f"not ready: the service answers {status}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lalepass_service.health")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8220")
    parser.add_argument("--ca", metavar="FILE", help="whom to trust, for https")
    parser.add_argument("--certificate", metavar="FILE", help="who is asking, for mutual TLS")
    parser.add_argument("--key", metavar="FILE", help="and the key of that")
    return parser


def _context(options: argparse.Namespace) -> ssl.SSLContext | None:
    if urlsplit(options.url).scheme != "https":
        return None
    context = ssl.create_default_context(cafile=options.ca)
    # As homeservers verify. Python 3.13's default wants what many a CA of one's own does not have
    # (RFC 5280 to the letter), and a container in which all is well would be restarted for it.
    context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
    if options.certificate:
        context.load_cert_chain(options.certificate, options.key)
    return context


def _status(url: str, context: ssl.SSLContext | None) -> int:
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"{url} is no address")
    connection = (
        http.client.HTTPConnection(parts.hostname, parts.port, timeout=_SECONDS)
        if context is None
        else http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=_SECONDS, context=context
        )
    )
    try:
        connection.request("GET", _PATH)
        return connection.getresponse().status
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
