"""All parts at once, from one of them: what is told, and that nothing holds it up."""

import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lalepass_service.topology import look, wires
from lalepass_service.topology.finding import Finding, Severity
from lalepass_service.topology.parts import Address
from lalepass_service.topology.plan import Plan, load
from tests.lalepass_service.topology.answering import Web, web, wire
from tests.lalepass_service.topology.asked import worst

VERSIONS: tuple[int, dict[str, str], bytes] = (200, {}, b'{"versions": ["v1.1"]}')
FENCE = 60.0


def plan(tmp_path: Path, **parts: Mapping[str, Any]) -> Plan:
    """Return one with these parts; `a` reaches each of those whose `by` is not false."""
    lines = []
    for name, options in {"a": {"kind": "job"}, **parts}.items():
        lines.append(f"[parts.{name}]")
        lines += [f"{o} = {value!r}" for o, value in options.items() if o not in {"by", "shown"}]
        if options.get("by", name != "a"):
            shown = [f"{o} = {value!r}" for o, value in options.get("shown", {}).items()]
            lines += [f'[[reach]]\nfrom = ["a"]\nto = ["{name}"]', *shown]
    path = tmp_path / "topology.toml"
    path.write_text("\n".join(lines))
    return load(path)


def told(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(each.part, str(each.severity), each.says) for each in findings]


def http(there: Web | Address, **options: object) -> dict[str, Any]:
    address = there.address if isinstance(there, Web) else str(there)
    return {"kind": "http", "address": address, **options}


def test_who_is_to_be_reached_is_and_who_is_not_is_not(tmp_path: Path) -> None:
    with web({"/": (200, {}, b"")}) as there, web({}) as other:
        read = plan(tmp_path, b=http(there), c=http(other, by=False), d=http(Address("x", 1), by=0))

        assert told(look.from_part(read, "a", also={})) == [
            ("b", "ok", "answers"),
            ("clocks", "ok", "1 part and this machine agree"),
            ("c", "fail", f"can be reached at {other.address}, and must not be"),
            ("closed", "ok", "out of reach, as they should be: d"),
        ]


SHARING = """
[parts.a]
kind = "lalepass"
address = "a:8220"
segments = ["one", "two"]
[parts.needed]
kind = "http"
address = "127.0.0.1:{needed}"
segments = ["one"]
[parts.beside-it]
kind = "http"
address = "127.0.0.1:{beside}"
segments = ["one"]
[parts.of-others]
kind = "http"
address = "127.0.0.2:{others}"
segments = ["two"]
[parts.elsewhere]
kind = "http"
address = "127.0.0.3:{others}"
segments = ["three"]
[[reach]]
from = ["a"]
to = ["needed"]
"""


def test_a_door_that_nobody_needs_is_told_with_what_it_is_open_for(tmp_path: Path) -> None:
    def seen(more: str) -> list[tuple[str, str, str]]:
        path = tmp_path / "topology.toml"
        path.write_text(text + more)
        return told(look.from_part(load(path), "a", also={}))[2:]

    # At all addresses of loopback: hosts are told apart by theirs.
    with (
        web({"/": (200, {}, b"")}) as needed,
        web({}) as beside,
        socket.create_server(("", 0)) as listening,
    ):
        others = listening.getsockname()[1]
        text = SHARING.format(needed=needed.port, beside=beside.port, others=others)
        both = f"can be reached at 127.0.0.2:{others}"
        near = f"can be reached at 127.0.0.1:{beside.port}"
        hole = f"can be reached at 127.0.0.3:{others}, and must not be"
        why = "which nobody needs: they share one, since a has to reach needed"

        assert seen("") == [
            ("beside-it", "warn", f"{near}, {why}"),
            (
                *("of-others", "fail"),
                f"{both}, and must not be: they share two, and neither has to reach the other",
            ),
            ("elsewhere", "fail", hole),
        ]
        # What is said to be open is told; what has no network in common is wrong all the same.
        known = '[[open]]\nfrom = ["a"]\nto = ["*"]\nbecause = "it is known"'
        assert seen(known) == [
            ("elsewhere", "fail", hole),
            ("open", "note", "beside-it, of-others, which nobody needs: it is known"),
        ]


def test_a_door_that_nobody_has_tried_to_the_end_is_not_called_shut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    real = wires.connect

    def hangs(place: Address, *, seconds: float) -> socket.socket:
        if place.host == "hangs":
            over.wait(60)
        return real(place, seconds=seconds)

    monkeypatch.setattr(look, "connect", hangs)
    read = plan(tmp_path, c=http(Address("hangs", 1), by=False), d=http(Address("x", 1), by=False))
    try:
        assert told(look.from_part(read, "a", also={}, seconds=2.0)) == [
            ("c", "fail", "whether it can be reached could not be found out in time"),
            ("closed", "ok", "out of reach, as they should be: d"),
        ]
        with web({}) as there:
            also = {"c": [Address("127.0.0.1", there.port)]}
            # Its address is tried though its name hangs.
            assert told(look.from_part(read, "a", also=also, seconds=2.0))[0] == (
                *("c", "fail"),
                f"can be reached at 127.0.0.1:{there.port}, and must not be",
            )
    finally:
        over.set()


def test_another_address_of_a_part_has_to_be_closed_too(tmp_path: Path) -> None:
    with web({}) as there:
        read = plan(tmp_path, d=http(Address("nowhere.invalid", 1), by=False))
        also = {"d": [Address("127.0.0.1", 1), Address("127.0.0.1", there.port)]}

        (finding,) = look.from_part(read, "a", also=also)
        assert finding.severity is Severity.FAIL
        assert finding.about == "closed"
        assert there.address in finding.says
        assert look.from_part(read, "a", also={})[0].severity is Severity.OK


def test_what_never_answers_holds_up_nobody(tmp_path: Path) -> None:
    with wire(hangs=True) as silent, web({"/": (200, {}, b"")}) as there:
        read = plan(tmp_path, b=http(there), **{f"s{n}": http(silent) for n in range(20)})
        begun = time.monotonic()
        findings = look.from_part(read, "a", also={}, seconds=3.0)
        took = time.monotonic() - begun

    assert took < FENCE
    assert told(findings)[0] == ("b", "ok", "answers")
    assert told(findings)[1:21] == [
        (f"s{n}", "fail", "it gives no whole answer in time") for n in range(20)
    ]


def test_a_look_that_breaks_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise IndexError("not to be seen")

    monkeypatch.setattr(look, "_look", broken)
    read = plan(tmp_path, b=http(Address("127.0.0.1", 1)))

    assert told(look.from_part(read, "a", also={})) == [
        ("b", "fail", "its answer can't be understood (IndexError)")
    ]


ROUTES = """
[parts.a]
kind = "job"
[parts.w-1]
kind = "job"
[parts.w-2]
kind = "job"
[parts.main]
kind = "job"
[parts.proxy]
kind = "proxy"
address = "{address}"
[[reach]]
from = ["a"]
to = ["proxy"]
[[route]]
path = "/right"
to = ["w-*"]
[[route]]
path = "/wrong"
method = "PUT"
to = ["w-*"]
[[route]]
path = "/silent"
to = ["main"]
[[route]]
path = "/broken"
to = ["main"]
"""


def test_each_path_is_followed_through_the_proxy(tmp_path: Path) -> None:
    answers = {
        "/_matrix/client/versions": VERSIONS,
        "/right": (401, {"X-Served-By": "w-2"}, b""),
        "/wrong": (401, {"X-Served-By": "main"}, b""),
        "/silent": (401, {}, b""),
        "/broken": (503, {}, b""),
    }
    with web(answers) as there:
        path = tmp_path / "topology.toml"
        path.write_text(ROUTES.format(address=there.address))
        read = load(path)
        wanted = [
            ("proxy", "ok", "/right leads to w-2"),
            ("proxy", "fail", "PUT /wrong leads to main, and not to w-1 or w-2"),
            ("proxy", "fail", "/broken has no answer but 503"),
            ("proxy", "warn", "for 1 of the paths it is not said who answered"),
        ]

        assert told(look.from_part(read, "a", also={}))[-4:] == wanted
        # Who need not reach the proxy follows nothing through it.
        assert "leads" not in str(told(look.from_part(read, "main", also={})))
        assert told(look.from_here(read))[-4:] == wanted


def test_from_nowhere_all_is_looked_at_and_what_is_out_of_reach_is_said(tmp_path: Path) -> None:
    with web({"/": (200, {}, b"")}) as there:
        read = plan(
            tmp_path,
            b=http(there),
            c=http(there, by=False),
            d=http(Address("127.0.0.1", 1)),
            e={"kind": "synapse", "address": there.address},
        )
        findings = look.from_here(read)

    assert told(findings)[:3] == [
        ("b", "ok", "answers"),
        ("c", "ok", "answers"),
        ("d", "warn", "not seen from here: 127.0.0.1:1 refuses connections"),
    ]
    assert worst(findings) is Severity.WARN


def test_from_nowhere_secrets_are_shown_that_can_be_read(tmp_path: Path) -> None:
    password = tmp_path / "password"
    noauth = b"-NOAUTH no\r\n"
    with wire(noauth, b"-WRONGPASS no\r\n") as place:
        read = plan(
            tmp_path,
            b={"kind": "valkey", "address": str(place), "shown": {"password_path": "password"}},
        )
        assert told(look.from_here(read)) == [("b", "ok", "answers, and wants a password")]
        password.write_text("not to be seen")
        assert told(look.from_here(read)) == [
            ("b", "fail", f"it does not take the password in {password}")
        ]
