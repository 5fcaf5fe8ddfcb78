"""What Synapse, Lalepass, a proxy and Prometheus may answer over HTTP."""

import itertools
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lalepass_service.adapters.clock import SystemClock
from lalepass_service.topology import web as looks
from lalepass_service.topology import wires
from lalepass_service.topology.finding import Amiss
from lalepass_service.topology.parts import read_address
from lalepass_service.topology.plan import Login, Route
from tests.lalepass_service.topology.answering import web, wire
from tests.lalepass_service.topology.asked import NOBODY, part, said
from tests.lalepass_service.topology.certified import Certified

Given = dict[str, tuple[int, dict[str, str], bytes]]
VERSIONS: tuple[int, dict[str, str], bytes] = (200, {}, b'{"versions": ["v1.1"]}')
WELL: Given = {
    "/health": (200, {"Server": "Synapse/1.163.2"}, b"OK"),
    "/_matrix/client/versions": VERSIONS,
}


def as_json(content: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(content).encode()


def test_a_synapse_that_is_well() -> None:
    with web(WELL) as there:
        seen = looks.look("w", part("synapse", there.address), NOBODY)

    assert said(seen) == [("ok", "Synapse 1.163.2, well")]
    assert seen.version == "1.163.2"
    assert seen.ahead is not None
    assert abs(seen.ahead) < 5


def test_a_synapse_that_answers_no_clients() -> None:
    with web({"/health": WELL["/health"]}) as there:
        seen = looks.look("w", part("synapse", there.address, clients=False), NOBODY)

    assert said(seen) == [("ok", "Synapse 1.163.2, well")]


@pytest.mark.parametrize("version", ["1.139.2", "1.9.0", "0.34.0"])
def test_a_synapse_that_is_too_old(version: str) -> None:
    with web(WELL | {"/health": (200, {"Server": f"Synapse/{version}"}, b"")}) as there:
        seen = looks.look("w", part("synapse", there.address), NOBODY)

    assert said(seen) == [("fail", f"Synapse {version} is too old for the module")]


@pytest.mark.parametrize("version", ["1.140.0", "1.163.2 (b=develop)", "2.0.0rc1"])
def test_a_synapse_that_is_new_enough(version: str) -> None:
    with web(WELL | {"/health": (200, {"Server": f"Synapse/{version}"}, b"")}) as there:
        seen = looks.look("w", part("synapse", there.address), NOBODY)

    assert said(seen) == [("ok", f"Synapse {version.partition(' ')[0]}, well")]


def test_a_synapse_behind_something_that_hides_its_version() -> None:
    with web(WELL | {"/health": (200, {"Server": "nginx"}, b"")}) as there:
        seen = looks.look("w", part("synapse", there.address), NOBODY)

    assert said(seen) == [("ok", "Synapse of unknown version, well")]


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"/health": (500, {}, b"")}, "it is not well: 500"),
        (WELL | {"/_matrix/client/versions": (404, {}, b"{}")}, "has no versions"),
        (WELL | {"/_matrix/client/versions": as_json({"versions": 3})}, "has no versions"),
        (WELL | {"/_matrix/client/versions": as_json([1])}, "answers 200, and not as a synapse"),
        (WELL | {"/_matrix/client/versions": (200, {}, b"\xff")}, "and not as a synapse"),
        (WELL | {"/_matrix/client/versions": (200, {}, b"[" * 100_000)}, "and not as a synapse"),
        (WELL | {"/_matrix/client/versions": (302, {"Location": "/"}, b"")}, "answers 302"),
    ],
    ids=itertools.count(),
)
def test_what_is_no_synapse(answers: Given, says: str) -> None:
    with web(answers) as there, pytest.raises(Amiss) as amiss:
        looks.look("w", part("synapse", there.address), NOBODY)

    assert says in amiss.value.says
    assert amiss.value.fix


def test_a_clock_is_compared() -> None:
    late = WELL["/health"][1] | {"Date": "Thu, 01 Jan 2100 00:00:00 GMT"}
    for date, sign in ((late["Date"], 1), ("Thu, 01 Jan 1970 00:00:00 GMT", -1)):
        with web(WELL | {"/health": (200, late | {"Date": date}, b"")}) as there:
            seen = looks.look("w", part("synapse", there.address), NOBODY)
        assert seen.ahead is not None
        assert sign * seen.ahead > 1e9
    for date in ("", "nonsense"):
        with web(WELL | {"/health": (200, late | {"Date": date}, b"")}) as there:
            assert looks.look("w", part("synapse", there.address), NOBODY).ahead is None


def test_a_lalepass_is_asked_with_its_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("lalepass_not_to_be_seen\n")
    answers = {
        "/health/ready": (200, {}, b"{}"),
        "/v1/caller": as_json({"service_version": "0.1.0"}),
    }
    with web(answers) as there:
        lalepass = part("lalepass", there.address)
        assert said(looks.look("l", lalepass, NOBODY)) == [("ok", "Lalepass, ready")]

        seen = looks.look("l", lalepass, Login(token_path=str(token)))
        assert said(seen) == [("ok", "Lalepass 0.1.0, ready")]
        assert there.asked[-1][2]["Authorization"] == "Bearer lalepass_not_to_be_seen"

        there.answers["/v1/caller"] = as_json({"service_version": "\x1b[31m\n"})
        assert looks.look("l", lalepass, Login(token_path=str(token))).version is None

        there.answers["/v1/caller"] = (401, {}, b"{}")
        with pytest.raises(Amiss, match="does not take the token in") as amiss:
            looks.look("l", lalepass, Login(token_path=str(token)))
        assert "not_to_be_seen" not in amiss.value.says + amiss.value.fix

        there.answers["/health/ready"] = (503, {}, b"{}")
        with pytest.raises(Amiss, match="it is not ready: 503"):
            looks.look("l", lalepass, NOBODY)


READY: Given = {"/health/ready": (200, {}, b"{}")}


def test_over_mutual_tls(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    with web(READY, tls=certified.context) as there:
        lalepass = part("lalepass", there.address, tls=True)
        assert said(looks.look("l", lalepass, certified.login)) == [("ok", "Lalepass, ready")]

        with pytest.raises(Amiss, match=r"there is no TLS with it|can't be reached"):
            looks.look("l", lalepass, Login(ca_path=str(certified.ca)))
        with pytest.raises(Amiss, match="its certificate is not accepted: ") as amiss:
            looks.look("l", lalepass, NOBODY)
        assert amiss.value.about == "certificate"
        with pytest.raises(Amiss):
            looks.look("l", part("lalepass", there.address), NOBODY)


def test_certificates_that_end_soon_are_told(tmp_path: Path) -> None:
    certified = Certified(tmp_path, days=13)
    with web(READY, tls=certified.context) as there:
        seen = looks.look("l", part("lalepass", there.address, tls=True), certified.login)

    end = SystemClock().now() + timedelta(days=13)
    assert said(seen)[1][0] == "warn"
    assert said(seen)[1][1].startswith("its certificate ends in 12 days, on ")
    assert f"{end:%Y}" in said(seen)[1][1]


@pytest.mark.parametrize("spoilt", ["ca_path", "certificate_path", "key_path"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_files_that_are_not_right_are_named(
    tmp_path: Path, spoilt: str, content: bytes | None
) -> None:
    certified = Certified(tmp_path)
    path = tmp_path / "spoilt"
    if content is not None:
        path.write_bytes(content)
    login = certified.login.model_copy(update={spoilt: str(path)})
    with web(READY, tls=certified.context) as there, pytest.raises(Amiss) as amiss:
        looks.look("l", part("lalepass", there.address, tls=True), login)

    named = "client.crt" if spoilt == "key_path" else "spoilt"
    assert f"{tmp_path}/{named}" in amiss.value.says


def test_a_proxy_leads_to_synapse() -> None:
    with web({"/_matrix/client/versions": VERSIONS}) as there:
        proxy = part("proxy", there.address)
        assert said(looks.look("p", proxy, NOBODY)) == [("ok", "leads to Synapse")]
        there.answers["/_matrix/client/versions"] = (503, {}, b"{}")
        with pytest.raises(Amiss, match="has no answer but 503"):
            looks.look("p", proxy, NOBODY)


def test_a_route_says_who_answered() -> None:
    route = Route(path="/_matrix/client/v3/sync", to=["w"])
    with web({}) as there:
        proxy = part("proxy", there.address, says_who="X-Who")
        there.answers[route.path] = (401, {"X-Who": "w-1"}, b"{}")
        assert looks.follow("p", proxy, NOBODY, route).answered_by == "w-1"
        for nobody in ({}, {"X-Who": "\t\x07odd name"}):
            there.answers[route.path] = (401, nobody, b"{}")
            assert looks.follow("p", proxy, NOBODY, route).answered_by is None
        there.answers[route.path] = (503, {}, b"{}")
        with pytest.raises(Amiss, match="has no answer but 503"):
            looks.follow("p", proxy, NOBODY, route)
    assert {method for method, *_ in there.asked} == {"GET"}
    assert all(headers["X-Who"] == "?" for _, _, headers, _ in there.asked)
    assert not any("Authorization" in headers for _, _, headers, _ in there.asked)


def prometheus(**changed: Any) -> Given:
    content = {
        "buildinfo": {"version": "2.53.3"},
        "targets": {"activeTargets": [{"health": "up", "labels": {"instance": "a"}}]},
        "alerts": {"alerts": []},
    } | changed
    return {
        "/api/v1/status/buildinfo": as_json({"data": content["buildinfo"]}),
        "/api/v1/targets?state=active": as_json({"data": content["targets"]}),
        "/api/v1/alerts": as_json({"data": content["alerts"]}),
    }


def test_a_prometheus_that_gets_all_figures() -> None:
    with web(prometheus()) as there:
        seen = looks.look("p", part("prometheus", there.address), NOBODY)

    assert said(seen) == [("ok", "Prometheus 2.53.3, 1 targets")]


def test_a_prometheus_tells_who_is_down_and_what_it_warns_of() -> None:
    down = [{"health": "down", "labels": {"instance": name}} for name in "edcba"]
    alerts = [
        {"state": "firing", "labels": {"alertname": "StandbyBehind"}},
        {"state": "pending", "labels": {"alertname": "NobodyCanLogIn"}},
    ]
    answers = prometheus(targets={"activeTargets": down}, alerts={"alerts": alerts})
    with web(answers) as there:
        seen = looks.look("p", part("prometheus", there.address), NOBODY)

    assert said(seen)[1:] == [
        ("fail", "gets no figures of a, b, c and 2 more"),
        ("warn", "says StandbyBehind"),
    ]


@pytest.mark.parametrize(
    "answers",
    [
        {},
        prometheus(buildinfo=3),
        prometheus(buildinfo={"version": "a b"}),
        {"/api/v1/status/buildinfo": (200, {}, b"OK")},
    ],
    ids=itertools.count(),
)
def test_what_is_no_prometheus(answers: Given) -> None:
    with web(answers) as there, pytest.raises(Amiss):
        looks.look("p", part("prometheus", there.address), NOBODY)


def test_odd_lists_of_a_prometheus_are_empty_ones() -> None:
    with web(prometheus(targets={"activeTargets": 3}, alerts=[1])) as there:
        seen = looks.look("p", part("prometheus", there.address), NOBODY)

    assert said(seen) == [("ok", "Prometheus 2.53.3, 0 targets")]


def test_anything_that_answers_at_a_path() -> None:
    with web({"/metrics": (200, {}, b"up 1\n")}) as there:
        assert said(looks.look("m", part("http", there.address, path="/metrics"), NOBODY)) == [
            ("ok", "answers")
        ]
        with pytest.raises(Amiss, match="/other answers 404"):
            looks.look("m", part("http", there.address, path="/other"), NOBODY)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((b"SSH-2.0-OpenSSH\r\n",), "does not answer as HTTP: BadStatusLine"),
        ((b"HTTP/1.1 200 OK\r\n" + b"a" * 70_000,), "does not answer as HTTP: LineTooLong"),
        ((b"",), "does not answer as HTTP: RemoteDisconnected"),
    ],
    ids=itertools.count(),
)
def test_what_is_no_http(words: tuple[bytes, ...], says: str) -> None:
    with wire(*words) as place, pytest.raises(Amiss) as amiss:
        looks.look("m", part("http", place), NOBODY)

    assert says in amiss.value.says


def test_an_answer_without_an_end_is_cut() -> None:
    with web({"/": (200, {}, b"x" * 3_000_000)}) as there:
        answer = wires.ask("GET", read_address(there.address), "/")

    assert len(answer.body) == 1 << 20


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:1", "127.0.0.1:1 refuses connections"),
        ("nowhere.invalid:80", "nowhere.invalid has no address here"),
    ],
)
def test_nobody_there_is_said(address: str, says: str) -> None:
    with pytest.raises(Amiss) as amiss:
        looks.look("m", part("http", address), NOBODY)

    assert amiss.value.says == says
