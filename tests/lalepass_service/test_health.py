"""The health check of a container: one word, and an exit code."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lalepass_service.adapters.certificates import Authority, Signed, Use
from lalepass_service.adapters.clock import SystemClock
from lalepass_service.health import main
from tests import certificates


@contextmanager
def serving(status: int, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1), (500, 1)])
def test_ready_is_200(capsys: pytest.CaptureFixture[str], status: int, code: int) -> None:
    with serving(status) as port:
        assert main([f"http://127.0.0.1:{port}"]) == code

    said = capsys.readouterr().err
    assert said == ("" if code == 0 else f"not ready: the service answers {status}\n")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://", "https://127.0.0.1:1", "nonsense", "http://a:99999"]
)
def test_what_does_not_answer_is_not_ready(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert main([url]) == 1
    assert capsys.readouterr().err.startswith("not ready: ")


def test_over_tls_with_a_certificate_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    now = SystemClock().now()
    authority = Authority.open(tmp_path, now=now)
    server = Signed(tmp_path / "server.crt", tmp_path / "server.key")
    asking = Signed(tmp_path / "health.crt", tmp_path / "health.key")
    hosts = ["127.0.0.1"]
    authority.sign(server, use=Use.SERVER, hosts=hosts, now=now, days=1, mode=0o600)
    authority.sign(asking, use=Use.CLIENT, hosts=["health"], now=now, days=1, mode=0o600)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.crt")
    tls.load_cert_chain(server.certificate, server.key)
    tls.verify_mode = ssl.CERT_REQUIRED
    trust = ["--ca", str(tmp_path / "ca.crt")]
    itself = ["--certificate", str(asking.certificate), "--key", str(asking.key)]

    with serving(200, tls) as port:
        url = f"https://127.0.0.1:{port}"
        assert main([url, *trust, *itself]) == 0
        assert main([url, *trust]) == 1
        assert main([url, *itself]) == 1
    assert capsys.readouterr().err.count("not ready: ") == 2


def test_an_authority_of_ones_own_need_not_follow_rfc_5280_to_the_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image's Python wants it to by default, as all do from 3.13 on."""
    # It does not say which of its keys it has signed with.
    authority = certificates.Authority()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("127.0.0.1").write(tmp_path, "server"))
    certificates.verify_as_python_3_13(monkeypatch)

    with serving(200, tls) as port:
        ca = str(authority.write(tmp_path))
        assert main([f"https://127.0.0.1:{port}", "--ca", ca]) == 0
        assert main([f"https://127.0.0.1:{port}", "--ca", str(tmp_path / "server.pem")]) == 1
