"""Where deploy/scale/haproxy.cfg leads each request, and what it does where a process is lost.

What answers are threads here that say who they are: the real processes are met by tests/e2e/scale
and tests/docker/scale.
"""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.servers.fixtures import left_out_if_missing
from tests.servers.server import Server, folder, program
from tools import web
from tools.processes import LOOPBACK, free_port

CONFIGURATION: Final = Path(__file__).parents[2] / "deploy" / "scale" / "haproxy.cfg"
GENERIC: Final = frozenset({"generic-1", "generic-2"})
MAIN: Final = frozenset({"main"})
MEDIA: Final = frozenset({"media"})
NAMES: Final = ("main", "generic-1", "generic-2", "media")
FENCE: Final = 60.0

CLIENT: Final = "/_matrix/client/v3"
ROOM: Final = f"{CLIENT}/rooms/!a:x.org"
FEDERATION: Final = "/_matrix/federation/v1"
ADMIN: Final = "/_synapse/admin/v1"

ROUTES: Final[tuple[tuple[str, str, frozenset[str]], ...]] = (
    # sync
    ("GET", f"{CLIENT}/sync", GENERIC),
    ("GET", f"{CLIENT}/sync?since=s1&timeout=0", GENERIC),
    ("GET", "/_matrix/client/r0/sync", GENERIC),
    ("GET", "/_matrix/client/api/v1/events", GENERIC),
    ("GET", f"{CLIENT}/initialSync", GENERIC),
    ("GET", f"{ROOM}/initialSync", GENERIC),
    ("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", GENERIC),
    ("GET", f"{CLIENT}/syncing", MAIN),
    # who somebody is
    ("GET", "/_matrix/client/versions", GENERIC),
    ("GET", f"{CLIENT}/login", GENERIC),
    ("POST", f"{CLIENT}/login", GENERIC),
    ("POST", "/_matrix/client/r0/login", GENERIC),
    ("GET", f"{CLIENT}/login/sso/redirect", MAIN),
    ("POST", f"{CLIENT}/logout", MAIN),
    ("POST", f"{CLIENT}/refresh", MAIN),
    ("POST", f"{CLIENT}/register", GENERIC),
    ("GET", f"{CLIENT}/account/whoami", GENERIC),
    ("GET", f"{CLIENT}/account/3pid", GENERIC),
    ("POST", f"{CLIENT}/account/3pid/add", MAIN),
    ("POST", f"{CLIENT}/account/password", MAIN),
    ("POST", f"{CLIENT}/account/deactivate", GENERIC),
    ("GET", f"{CLIENT}/devices", GENERIC),
    ("DELETE", f"{CLIENT}/devices/ABC", GENERIC),
    ("POST", f"{CLIENT}/delete_devices", GENERIC),
    ("GET", f"{CLIENT}/profile/@a:x.org", GENERIC),
    ("GET", f"{CLIENT}/capabilities", GENERIC),
    ("GET", f"{CLIENT}/auth/m.login.password/fallback/web", MAIN),
    # rooms
    ("POST", f"{CLIENT}/createRoom", GENERIC),
    ("POST", f"{CLIENT}/join/!a:x.org", GENERIC),
    ("GET", f"{CLIENT}/joined_rooms", GENERIC),
    ("PUT", f"{ROOM}/send/m.room.message/1", GENERIC),
    ("PUT", f"{ROOM}/state/m.room.topic", GENERIC),
    ("PUT", f"{ROOM}/state/m.room.topic/", GENERIC),
    ("PUT", f"{ROOM}/redact/$e/1", GENERIC),
    ("GET", f"{ROOM}/state", GENERIC),
    ("GET", f"{ROOM}/messages", GENERIC),
    ("GET", f"{ROOM}/members", GENERIC),
    ("GET", f"{ROOM}/joined_members", GENERIC),
    ("GET", f"{ROOM}/event/$e", GENERIC),
    ("GET", f"{ROOM}/context/$e", GENERIC),
    ("POST", f"{ROOM}/invite", GENERIC),
    ("POST", f"{ROOM}/forget", MAIN),
    ("GET", "/_matrix/client/v1/rooms/!a:x.org/hierarchy", GENERIC),
    ("GET", "/_matrix/client/v1/rooms/!a:x.org/relations/$e", GENERIC),
    ("GET", "/_matrix/client/v1/rooms/!a:x.org/threads", GENERIC),
    ("PUT", f"{ROOM}/typing/@a:x.org", MAIN),
    ("POST", f"{ROOM}/receipt/m.read/$e", MAIN),
    ("POST", f"{ROOM}/read_markers", MAIN),
    ("PUT", f"{CLIENT}/sendToDevice/m.room_key/1", MAIN),
    ("GET", f"{CLIENT}/directory/room/%23a:x.org", GENERIC),
    ("GET", f"{CLIENT}/publicRooms", GENERIC),
    ("POST", f"{CLIENT}/search", GENERIC),
    ("POST", f"{CLIENT}/user_directory/search", GENERIC),
    # keys
    ("POST", f"{CLIENT}/keys/upload", GENERIC),
    ("POST", f"{CLIENT}/keys/query", GENERIC),
    ("POST", f"{CLIENT}/keys/claim", GENERIC),
    ("GET", f"{CLIENT}/keys/changes", GENERIC),
    ("POST", f"{CLIENT}/keys/signatures/upload", GENERIC),
    ("GET", f"{CLIENT}/room_keys/version", GENERIC),
    # these to read only
    ("GET", f"{CLIENT}/pushrules/", GENERIC),
    ("PUT", f"{CLIENT}/pushrules/global/room/!a", MAIN),
    ("GET", f"{CLIENT}/presence/@a:x.org/status", GENERIC),
    ("PUT", f"{CLIENT}/presence/@a:x.org/status", MAIN),
    ("GET", f"{CLIENT}/user/@a:x.org/account_data/m.direct", GENERIC),
    ("PUT", f"{CLIENT}/user/@a:x.org/account_data/m.direct", MAIN),
    ("GET", f"{CLIENT}/user/@a:x.org/rooms/!a:x.org/tags", GENERIC),
    ("DELETE", f"{CLIENT}/user/@a:x.org/rooms/!a:x.org/tags/u.a", MAIN),
    ("POST", f"{CLIENT}/user/@a:x.org/filter", GENERIC),
    # push, and what else is the main process's
    ("POST", f"{CLIENT}/pushers/set", MAIN),
    ("GET", "/.well-known/matrix/client", MAIN),
    ("GET", "/", MAIN),
    # media
    ("POST", "/_matrix/media/v3/upload", MEDIA),
    ("GET", "/_matrix/media/v3/download/x.org/a", MEDIA),
    ("GET", "/_matrix/client/v1/media/download/x.org/a", MEDIA),
    ("GET", "/_matrix/client/v1/media/thumbnail/x.org/a?width=1&height=1", MEDIA),
    ("GET", f"{FEDERATION}/media/download/a", MEDIA),
    ("POST", f"{ADMIN}/purge_media_cache", MEDIA),
    ("POST", f"{ADMIN}/room/!a:x.org/media/quarantine", MEDIA),
    ("GET", f"{ADMIN}/room/!a:x.org/media", MEDIA),
    ("POST", f"{ADMIN}/user/@a:x.org/media/quarantine", MEDIA),
    ("POST", f"{ADMIN}/media/quarantine/x.org/a", MEDIA),
    ("DELETE", f"{ADMIN}/media/x.org/a", MEDIA),
    ("GET", f"{ADMIN}/quarantine_media/changes", MEDIA),
    ("GET", f"{ADMIN}/users/@a:x.org/media", MEDIA),
    # administration
    ("GET", f"{ADMIN}/rooms/!a:x.org", GENERIC),
    ("GET", f"{ADMIN}/rooms/!a:x.org/members", MAIN),
    ("GET", "/_synapse/admin/v2/users/@a:x.org", GENERIC),
    ("PUT", "/_synapse/admin/v2/users/@a:x.org", MAIN),
    ("GET", "/_synapse/admin/v2/users", MAIN),
    ("GET", f"{ADMIN}/server_version", MAIN),
    # other servers
    ("PUT", f"{FEDERATION}/send/1", GENERIC),
    ("GET", f"{FEDERATION}/version", GENERIC),
    ("GET", f"{FEDERATION}/event/$e", GENERIC),
    ("GET", f"{FEDERATION}/make_join/!a:x.org/@a:x.org", GENERIC),
    ("PUT", "/_matrix/federation/v2/send_join/!a:x.org/$e", GENERIC),
    ("PUT", "/_matrix/federation/v2/invite/!a:x.org/$e", GENERIC),
    ("GET", f"{FEDERATION}/query/profile", GENERIC),
    ("GET", f"{FEDERATION}/user/devices/@a:x.org", GENERIC),
    ("POST", f"{FEDERATION}/user/keys/query", MAIN),
    ("POST", "/_matrix/key/v2/query", GENERIC),
    ("GET", "/_matrix/key/v2/server", MAIN),
    # tricks
    ("GET", f"/x{CLIENT}/sync", MAIN),
    ("GET", f"{CLIENT}/account/whoami?x=/_matrix/media/", GENERIC),
    ("GET", f"{CLIENT}/user/%2f_matrix%2fmedia%2f", MAIN),
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        stub = self.server
        assert isinstance(stub, Stub)
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path != "/health":
            headers = {name.lower(): value for name, value in self.headers.items()}
            stub.asked.append((self.command, self.path, headers))
            if stub.breaks:
                self.close_connection = True
                return
        self.send_response(200)
        body = stub.title.encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = _answer  # noqa: N815 - the base class calls them so

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Stub(ThreadingHTTPServer):
    """Answers everything with its name."""

    daemon_threads = True

    def __init__(self, title: str, port: int) -> None:
        self.title = title
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []
        self.breaks = False
        """Whether it takes a request and ends the connection without a word."""
        super().__init__((LOOPBACK, port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def handle_error(self, *_: object) -> None:
        """Say nothing when a health check goes away."""

    def end(self) -> None:
        """Be gone; nobody listens there afterwards."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class Door(Server):
    """HAProxy with the file as it is."""

    def __init__(
        self, *, directory: Path, ports: Mapping[str, int], settings: Mapping[str, str]
    ) -> None:
        super().__init__(name="proxy", directory=directory)
        self._ports = ports
        self._more = settings
        self.metrics = free_port()

    def command(self) -> Sequence[str]:
        """See `Server`."""
        return [program("haproxy"), "-db", "-f", str(CONFIGURATION)]

    def environment(self) -> Mapping[str, str]:
        """See `Server`."""
        ports = {"listen": self.port, "metrics": self.metrics, **self._ports}
        named = {name.upper().replace("-", "_"): port for name, port in ports.items()}
        there = {name: f"{LOOPBACK}:{port}" for name, port in named.items()}
        return {**super().environment(), **there, **self._more}

    def answers(self) -> bool:
        """See `Server`."""
        return self.ask("GET", "/proxy/health")[0] == 200

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        """Return the status and who answered."""
        url = f"http://{LOOPBACK}:{self.port}{path}"
        try:
            answer = web.request(method, url, headers=headers, timeout=30.0)
        except (OSError, HTTPException):
            return 0, ""
        return answer.status, answer.body.decode()

    def well(self) -> set[str]:
        """Return who gets requests."""
        page = web.request("GET", f"http://{LOOPBACK}:{self.metrics}/metrics").body.decode()
        line = (
            r'^haproxy_server_status{proxy="(?:main|media|people)",server="([^"]+)",state="UP"} 1$'
        )
        return set(re.findall(line, page, flags=re.MULTILINE))


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + FENCE
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)  # noqa: TID251 - with a deadline


def _end_all(stubs: Mapping[str, Stub]) -> None:
    for stub in stubs.values():
        stub.end()


@contextmanager
def site(*absent: str, **settings: str) -> Iterator[tuple[Door, dict[str, Stub]]]:
    """A door with these variables, and everybody behind it but for some."""
    ports = {name: free_port() for name in NAMES}
    with left_out_if_missing(), ExitStack() as stack:
        stubs = {name: Stub(name, ports[name]) for name in NAMES if name not in absent}
        directory = stack.enter_context(folder("routes"))
        door = Door(directory=directory, ports=ports, settings=settings)
        stack.callback(_end_all, stubs)
        stack.callback(door.kill)
        door.start()
        until(lambda: door.well() == set(stubs))
        yield door, stubs


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[Door, dict[str, Stub]]]:
    with site() as made:
        yield made


@pytest.mark.parametrize(("method", "path", "who"), ROUTES)
def test_a_request_is_led_to_whom_it_is_for(
    door: tuple[Door, dict[str, Stub]], method: str, path: str, who: frozenset[str]
) -> None:
    status, answered = door[0].ask(method, path)

    assert status == 200
    assert answered in who


def test_the_path_arrives_as_it_was_sent(door: tuple[Door, dict[str, Stub]]) -> None:
    """Other servers sign it."""
    proxy, stubs = door
    path = f"{CLIENT}/profile/%40a%3Ax.org%2F..%2f?a=%20b&c"
    who = proxy.ask("GET", path, Authorization="X-Matrix origin=y")[1]

    method, there, headers = stubs[who].asked[-1]
    assert (method, there) == ("GET", path)
    assert headers["authorization"] == "X-Matrix origin=y"
    assert headers["x-forwarded-for"] == LOOPBACK
    assert headers["x-forwarded-proto"] == "http"


def test_who_the_proxy_with_tls_names_is_believed(door: tuple[Door, dict[str, Stub]]) -> None:
    proxy, stubs = door
    said = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    who = proxy.ask("GET", "/", **said)[1]

    headers = stubs[who].asked[-1][2]
    assert {name: headers[name.lower()] for name in said} == said


def test_what_people_say_themselves_is_not(door: tuple[Door, dict[str, Stub]]) -> None:
    """The proxy with TLS puts what it sees behind what it gets, as nginx does."""
    proxy, stubs = door
    who = proxy.ask("GET", "/", **{"X-Forwarded-For": "198.51.100.1, 2001:db8::1 , 192.0.2.7"})[1]

    assert stubs[who].asked[-1][2]["x-forwarded-for"] == "192.0.2.7"


def test_where_no_proxy_is_expected_nobody_is_believed() -> None:
    with site(TRUSTED="192.0.2.0/24 2001:db8::/32") as (proxy, stubs):
        who = proxy.ask("GET", "/", **{"X-Forwarded-For": "192.0.2.7"})[1]

        assert stubs[who].asked[-1][2]["x-forwarded-for"] == LOOPBACK


INTERNAL: Final = (
    f"{ADMIN}/server_version",
    f"{ADMIN}/rooms/!a:x.org",
    f"{ADMIN}/users/@a:x.org/media",
    "/_synapse/admin/v2/users/@a:x.org",
    "/_synapse/replication/x",
    "/_synapse/metrics",
    "/_synapse",
    # nobody knows these today
    "//_synapse/admin/v1/server_version",
    "/%5Fsynapse/admin/v1/server_version",
    "/%5fsyn%61pse%2fadmin/v1/server_version",
    "/_synapse//admin/v1/server_version",
)


def _asked_from(address: str) -> dict[str, str]:
    """As a proxy with TLS says it."""
    return {"X-Forwarded-For": address}


@pytest.mark.parametrize("path", INTERNAL)
@pytest.mark.parametrize(
    "address",
    ["198.51.100.7", "2001:db8::7", "10.0.0.1, 198.51.100.7", "unknown", "::ffff:c633:6407"],
)
def test_administration_is_out_of_reach_from_outside(
    door: tuple[Door, dict[str, Stub]], path: str, address: str
) -> None:
    status, said = door[0].ask("GET", path, **_asked_from(address))

    assert status == 403
    assert json.loads(said)["errcode"] == "M_FORBIDDEN"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.7.7", "fd00::1"])
def test_administration_is_there_from_inside(
    door: tuple[Door, dict[str, Stub]], address: str
) -> None:
    for path in INTERNAL:
        assert door[0].ask("GET", path, **_asked_from(address))[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/_synapse/client/pick_idp",
        "/_synapsed",
        "/_matrix/client/v3/profile/@_synapse:x.org",
        f"{CLIENT}/user/%2f_synapse%2fadmin%2f",
        "/_matrix/media/v3/download/x.org//_synapse/admin/",
    ],
)
def test_what_is_for_people_is_there_from_outside(
    door: tuple[Door, dict[str, Stub]], path: str
) -> None:
    assert door[0].ask("GET", path, **_asked_from("198.51.100.7"))[0] == 200


def test_from_where_administrators_come_is_a_setting() -> None:
    with site(ADMINS="198.51.100.0/24 2001:db8::/32") as (proxy, _):
        told = {
            address: proxy.ask("GET", f"{ADMIN}/server_version", **_asked_from(address))[0]
            for address in ("198.51.100.7", "2001:db8::7", "10.1.2.3")
        }
        assert told == {"198.51.100.7": 200, "2001:db8::7": 200, "10.1.2.3": 403}
        # Nobody has said where this comes from but the connection.
        assert proxy.ask("GET", f"{ADMIN}/server_version")[0] == 403


def syncing(proxy: Door, person: str, **how: str) -> str:
    token = f"syt_{person}_{how.get('token', 'abc')}_1a2b3c"
    if "query" in how:
        return proxy.ask("GET", f"{CLIENT}/sync?access_token={token}")[1]
    return proxy.ask("GET", f"{CLIENT}/sync", Authorization=f"Bearer {token}")[1]


def test_each_person_syncs_with_the_same_worker(door: tuple[Door, dict[str, Stub]]) -> None:
    people = [f"cGVyc29u{number}" for number in range(40)]
    met = {person: syncing(door[0], person) for person in people}

    assert set(met.values()) == GENERIC
    for person in people:
        # another device of theirs, and an old client
        assert syncing(door[0], person, token="xyz") == met[person]
        assert syncing(door[0], person, query="yes") == met[person]


def test_each_room_has_a_worker(door: tuple[Door, dict[str, Stub]]) -> None:
    rooms = [f"!room{number}:x.org" for number in range(40)]
    met = {room: door[0].ask("GET", f"{CLIENT}/rooms/{room}/messages")[1] for room in rooms}

    assert set(met.values()) == GENERIC
    for room in rooms:
        for path in (f"{CLIENT}/rooms/{room}/messages?from=a", f"{CLIENT}/rooms/{room}/send/a/1"):
            assert door[0].ask("PUT" if "send" in path else "GET", path)[1] == met[room]


def sending(proxy: Door, origin: str) -> str:
    signed = f'X-Matrix origin={origin},key="ed25519:a",sig="c2ln",destination="x.org"'
    return proxy.ask("PUT", f"{FEDERATION}/send/1", Authorization=signed)[1]


def test_each_server_has_a_worker(door: tuple[Door, dict[str, Stub]]) -> None:
    servers = [f"matrix{number}.example.org:8448" for number in range(40)]
    met = {server: sending(door[0], server) for server in servers}

    assert set(met.values()) == GENERIC
    for server in servers:
        assert sending(door[0], f'"{server}"') == met[server]


def test_no_token_is_in_the_log(door: tuple[Door, dict[str, Stub]]) -> None:
    syncing(door[0], "c2VjcmV0", query="yes")

    log = door[0].log.read_text()
    assert f" GET {CLIENT}/sync " in log
    assert "syt_" not in log
    assert "access_token" not in log


def test_nobody_outside_reads_the_metrics(door: tuple[Door, dict[str, Stub]]) -> None:
    assert door[0].ask("GET", "/metrics")[1] == "main"
    there = web.request("GET", f"http://{LOOPBACK}:{door[0].metrics}/_matrix/client/versions")
    assert there.status == 404


def test_it_starts_without_anybody_and_finds_who_comes() -> None:
    with site(*NAMES) as (door, stubs):
        assert door.ask("GET", "/")[0] == 503
        assert door.ask("GET", f"{CLIENT}/sync")[0] == 503
        for name in NAMES:
            stubs[name] = Stub(name, door._ports[name])  # noqa: SLF001 - our own, a line above
        until(lambda: door.well() == set(NAMES))
        assert door.ask("GET", "/") == (200, "main")


def test_a_worker_is_lost_and_comes_back() -> None:
    people = [f"cGVyc29u{number}" for number in range(40)]
    with site() as (door, stubs):
        before = {person: syncing(door, person) for person in people}
        stubs["generic-1"].end()
        # At once, before anybody has looked: a request that nobody can have had goes to the other.
        told = [door.ask("POST", f"{CLIENT}/login") for _ in range(6)]
        assert set(told) == {(200, "generic-2")}
        until(lambda: "generic-1" not in door.well())
        for person, worker in before.items():
            assert syncing(door, person) == "generic-2", worker
        stubs["generic-1"] = Stub("generic-1", door._ports["generic-1"])  # noqa: SLF001 - as above
        until(lambda: "generic-1" in door.well())
        assert {person: syncing(door, person) for person in people} == before


def test_what_may_have_arrived_is_sent_to_nobody_else() -> None:
    with site() as (door, stubs):
        for name in GENERIC:
            stubs[name].breaks = True
        status, _ = door.ask("PUT", f"{ROOM}/send/m.room.message/1")

        assert status == 502
        assert sum(len(stubs[name].asked) for name in GENERIC) == 1


def test_while_media_are_away_the_rest_is_there(door: tuple[Door, dict[str, Stub]]) -> None:
    assert door[0].ask("GET", "/")[0] == 200
    with site("media") as (alone, _):
        assert alone.ask("GET", "/_matrix/media/v3/config")[0] == 503
        assert alone.ask("GET", f"{CLIENT}/sync")[0] == 200


def test_a_connection_that_nobody_reads_is_not_kept_waiting(
    door: tuple[Door, dict[str, Stub]],
) -> None:
    with socket.create_connection((LOOPBACK, door[0].port), 5) as connection:
        connection.sendall(b"GARBAGE\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
