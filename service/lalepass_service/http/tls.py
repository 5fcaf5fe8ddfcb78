"""TLS for the server: certificates that are read again when their files change."""

import asyncio
import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

_log: Final = structlog.stdlib.get_logger(__name__)

_LOOK_SECONDS: Final = 2.0
"""How often the files are looked at. A new certificate has days until it is needed."""


class CertificateUnusable(Exception):
    """A file is missing, or is not what it should be. The text names it, and shows none of it."""

    def __init__(self, option: str, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}")
        self.option = option
        """Which setting named the file."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Who we are, and whom we listen to."""

    certificate: Path
    """PEM: our certificate, and those between it and the authority's."""
    key: Path
    client_authority: Path | None = None
    """PEM. With it, only those are listened to who show a certificate that it signed."""


class ServerTls:
    """Hands each new connection the certificates of now. Those that are there keep theirs."""

    def __init__(
        self, files: CertificateFiles, *, end_of: Callable[[Path], float] = lambda _: math.nan
    ) -> None:
        """Read the files.

        Args:
            files: where they are.
            end_of: reads out of a file when the certificate in it ends, in seconds since 1970.

        Raises:
            CertificateUnusable: one of them can't be used.
        """
        self._files = files
        self._seen = _looks(files)
        self._current = _context(files)
        self._refused: object = None
        self._end_of = end_of
        self.end = end_of(files.certificate)
        """When the certificate ends, in seconds since 1970."""
        self.context = _context(files)
        """What the server is given once. Each handshake then goes on with the current one, which
        replaces the certificate as well as whom to trust (Python, `SSLContext.sni_callback`)."""
        self.context.sni_callback = self._switch

    def _switch(self, connection: ssl.SSLObject, _name: str | None, _context: object) -> None:
        connection.context = self._current

    async def follow(self) -> None:
        """Look at the files for ever, and take what has changed if it can be used."""
        failed = False
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                # The files may lie on a disk that hangs: not on the loop.
                await asyncio.to_thread(self.look)
            except Exception:  # noqa: BLE001 - a look that fails must not be the last one
                if not failed:
                    _log.exception("certificates can't be looked at; the old ones stay")
                failed = True
            else:
                failed = False

    def look(self) -> None:
        """Take new certificates, if there are any. What is half written is left for the next time.

        What can't be used changes nothing, and is logged once.
        """
        looks = _looks(self._files)
        if looks in (self._seen, self._refused):
            return
        try:
            self._current = _context(self._files)
        except CertificateUnusable as fault:
            self._refused = looks
            _log.error("new certificates can't be used; the old ones stay", why=str(fault))
            return
        self._seen = looks
        self.end = self._end_of(self._files.certificate)
        _log.info("new certificates are in use", certificate=str(self._files.certificate))


def _looks(files: CertificateFiles) -> tuple[object, ...]:
    return tuple(
        _look(path) for path in (files.certificate, files.key, files.client_authority) if path
    )


def _look(path: Path) -> object:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def _context(files: CertificateFiles) -> ssl.SSLContext:
    _require_readable(files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A resumed session would not show its certificate again, to whom we may trust no longer.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    try:
        # With a password that is never asked for, an encrypted key is an error and no prompt.
        context.load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        why = f"does not belong to {files.certificate}" if mismatch else "or its key is not PEM"
        option, path = (
            ("tls_key", files.key) if mismatch else ("tls_certificate", files.certificate)
        )
        raise CertificateUnusable(option, path, why) from None
    except OSError as error:
        # Gone since the look at it.
        why = f"or its key can't be read: {error.strerror}"
        raise CertificateUnusable("tls_certificate", files.certificate, why) from None
    if files.client_authority is not None:
        try:
            context.load_verify_locations(files.client_authority)
        except ssl.SSLError:
            raise CertificateUnusable(
                "tls_client_ca", files.client_authority, "holds no certificate in PEM"
            ) from None
        except OSError as error:
            why = f"can't be read: {error.strerror}"
            raise CertificateUnusable("tls_client_ca", files.client_authority, why) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _require_readable(files: CertificateFiles) -> None:
    for option, path in (
        ("tls_certificate", files.certificate),
        ("tls_key", files.key),
        ("tls_client_ca", files.client_authority),
    ):
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            raise CertificateUnusable(
                option, path or Path(), f"can't be read: {error.strerror}"
            ) from None
