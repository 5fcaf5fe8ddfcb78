"""Certificates for a test, as `lalepass certificate` makes them."""

import ssl
from pathlib import Path

from lalepass_service.adapters.certificates import Authority, Signed, Use
from lalepass_service.adapters.clock import SystemClock
from lalepass_service.topology.plan import Login


class Certified:
    """An authority and what it has signed."""

    def __init__(self, folder: Path, *, days: int = 90) -> None:
        now = SystemClock().now()
        authority = Authority.open(folder, now=now)
        self.ca = folder / "ca.crt"
        self.server = Signed(folder / "server.crt", folder / "server.key")
        self.client = Signed(folder / "client.crt", folder / "client.key")
        for files, use, life in (
            (self.server, Use.SERVER, days),
            (self.client, Use.CLIENT, 90),
        ):
            authority.sign(
                files, use=use, hosts=["localhost", "127.0.0.1"], now=now, days=life, mode=0o600
            )

    @property
    def context(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.server.certificate, self.server.key)
        made.load_verify_locations(self.ca)
        made.verify_mode = ssl.CERT_REQUIRED
        return made

    @property
    def login(self) -> Login:
        return Login(
            ca_path=str(self.ca),
            certificate_path=str(self.client.certificate),
            key_path=str(self.client.key),
        )
