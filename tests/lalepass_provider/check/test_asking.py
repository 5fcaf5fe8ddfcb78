"""The doctor's own questions, with servers on loopback."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lalepass_provider.check import asking
from lalepass_provider.check.asking import Exchange, Target, ask
from tests.certificates import Authority, verify_as_python_3_13

TOKEN = "token-canary"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str | None]]
    body = b"{}"

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Authorization"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextmanager
def serving(
    handler: type[BaseHTTPRequestHandler], *, context: ssl.SSLContext | None = None
) -> Iterator[int]:
    server: HTTPServer = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # broken TLS is expected
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@pytest.fixture
def handler() -> type[Handler]:
    class Fresh(Handler):
        seen: list[tuple[str, str | None]] = []  # noqa: RUF012 - of this class

    return Fresh


def question(address: str, *, seconds: float = 60, **files: Path | None) -> Exchange:
    return ask(Target(address=address, token=SecretStr(TOKEN), seconds=seconds, **files))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


Context = Callable[[str], ssl.SSLContext]


@pytest.fixture
def of_server(authority: Authority, tmp_path: Path) -> Context:
    def context(name: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(*authority.issue(name).write(tmp_path, "server"))
        return made

    return context


def test_it_asks_whether_the_service_is_ready_and_who_we_are(handler: type[Handler]) -> None:
    with serving(handler) as port:
        exchange = question(f"http://127.0.0.1:{port}")

    assert exchange.fault is None
    assert handler.seen == [("/health/ready", None), ("/v1/caller", f"Bearer {TOKEN}")]
    assert exchange.caller is not None
    assert (exchange.caller.status, json.loads(exchange.caller.body)) == (200, {})
    assert exchange.caller.uncertain >= 0
    assert exchange.caller.date.endswith(" GMT")
    assert exchange.certificates == ()


def test_an_address_may_have_a_path(handler: type[Handler]) -> None:
    with serving(handler) as port:
        question(f"http://127.0.0.1:{port}/lalepass/")

    assert [path for path, _ in handler.seen] == ["/lalepass/health/ready", "/lalepass/v1/caller"]


def test_an_answer_has_a_bound(handler: type[Handler]) -> None:
    handler.body = b" " * 100_000
    with serving(handler) as port:
        exchange = question(f"http://127.0.0.1:{port}")

    assert exchange.caller is None
    assert "too long" in str(exchange.fault)


def test_what_takes_too_long_is_left_behind() -> None:
    release = threading.Event()

    class Hung(Handler):
        seen: list[tuple[str, str | None]] = []  # noqa: RUF012 - of this class

        def do_GET(self) -> None:
            # Bytes that come again and again keep every timeout of a socket from passing.
            while not release.wait(0.02):
                self.wfile.write(b"H")

    with serving(Hung) as port:
        exchange = question(f"http://127.0.0.1:{port}", seconds=0.3)
        release.set()

    assert isinstance(exchange.fault, TimeoutError)


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 two hundred\r\n\r\n"], ids=repr
)
def test_what_is_no_http_is_a_fault(answer: bytes) -> None:
    class Odd(Handler):
        def handle(self) -> None:
            self.wfile.write(answer)

    with serving(Odd) as port:
        assert question(f"http://127.0.0.1:{port}").fault is not None


@pytest.mark.parametrize(
    "fault", [TypeError("odd"), AttributeError("odd"), RecursionError("odd"), MemoryError()]
)
def test_a_fault_of_our_own_is_one_as_well(
    handler: type[Handler], monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """Nothing may end the thread in silence: the doctor would have nothing to say."""

    def odd(_: object) -> None:
        raise fault

    monkeypatch.setattr(asking, "_certificates", odd)
    with serving(handler) as port:
        exchange = question(f"http://127.0.0.1:{port}")

    assert exchange.fault is fault


def test_where_no_thread_can_be_started_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)

    assert isinstance(question("http://127.0.0.1:1").fault, RuntimeError)


def test_a_chain_that_openssl_does_not_keep_is_none(
    handler: type[Handler],
    authority: Authority,
    of_server: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`_ssl` returns None for it (`Modules/_ssl.c`); the rest is looked at all the same."""

    class WithoutChain(ssl.SSLSocket):
        def get_verified_chain(self) -> Any:
            return None

    monkeypatch.setattr(ssl.SSLContext, "sslsocket_class", WithoutChain)
    with serving(handler, context=of_server("localhost")) as port:
        exchange = question(f"https://localhost:{port}", ca_path=authority.write(tmp_path))

    assert exchange.fault is None
    assert exchange.caller is not None
    assert len(exchange.certificates) == 1


def test_nobody_there_is_a_fault() -> None:
    assert isinstance(question("http://127.0.0.1:1").fault, ConnectionRefusedError)


def test_with_its_own_authority_tls_is_agreed_on_and_the_chain_is_known(
    handler: type[Handler], authority: Authority, of_server: Context, tmp_path: Path
) -> None:
    with serving(handler, context=of_server("localhost")) as port:
        exchange = question(f"https://localhost:{port}", ca_path=authority.write(tmp_path))

    assert exchange.fault is None
    assert len(exchange.certificates) in {1, 2}


def test_newer_pythons_trust_whom_the_module_trusts(
    handler: type[Handler],
    of_server: Context,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python 3.13 verifies in another way by default than 3.11 and pyOpenSSL do."""
    verify_as_python_3_13(monkeypatch)
    server = of_server("localhost")
    alone = tmp_path / "server.pem"
    with serving(handler, context=server) as port:
        # an authority that does not say which of its keys it has signed with: RFC 5280 wants that
        lenient = question(f"https://localhost:{port}", ca_path=authority.write(tmp_path))
        partial = question(f"https://localhost:{port}", ca_path=alone)

    assert lenient.fault is None
    assert isinstance(partial.fault, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("name", ["localhost", "auth.example.org"])
def test_a_stranger_is_not_talked_to(
    handler: type[Handler], authority: Authority, of_server: Context, tmp_path: Path, name: str
) -> None:
    """Of an authority that nobody trusts; or trusted, and of another name."""
    ca_path = authority.write(tmp_path) if name != "localhost" else None
    with serving(handler, context=of_server(name)) as port:
        exchange = question(f"https://localhost:{port}", ca_path=ca_path)

    assert isinstance(exchange.fault, ssl.SSLCertVerificationError)
    assert handler.seen == []


def test_our_certificate_is_shown_to_who_asks_for_it(
    handler: type[Handler], authority: Authority, of_server: Context, tmp_path: Path
) -> None:
    context = of_server("localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    ca_path = authority.write(tmp_path)
    context.load_verify_locations(ca_path)
    certificate, key = authority.issue("hs.example").write(tmp_path, "client")
    with serving(handler, context=context) as port:
        without = question(f"https://localhost:{port}", ca_path=ca_path)
        shown = question(
            f"https://localhost:{port}",
            ca_path=ca_path,
            certificate_path=certificate,
            key_path=key,
        )

    assert without.fault is not None
    assert shown.fault is None
