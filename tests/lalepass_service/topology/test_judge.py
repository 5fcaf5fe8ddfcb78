"""What parts have to be together."""

import pytest

from lalepass_service.topology.judge import together
from lalepass_service.topology.seen import Seen, Server
from tests.lalepass_service.topology.asked import part

MIB = 1024 * 1024
DB = {name: part("postgres", f"{name}:5432") for name in ("a", "b", "c")}


def server(
    name: str,
    *,
    primary: bool = False,
    system: int = 1,
    position: int = 100,
    follows: bool = True,
    seconds: float = 0.0,
) -> Seen:
    return Seen(
        part=name,
        findings=(),
        server=Server(
            system=system,
            primary=primary,
            position=position,
            follows=follows,
            seconds_behind=seconds,
        ),
    )


def told(*seen: Seen, parts: dict[str, object] | None = None) -> list[tuple[str, str, str]]:
    findings = together(parts or DB, seen)  # type: ignore[arg-type]  # of parts that pydantic made
    return [(each.part, str(each.severity), each.says) for each in findings]


def test_one_primary_and_those_that_follow_it() -> None:
    assert told(
        server("a", primary=True), server("b"), server("c", position=100 - 36, seconds=1.25)
    ) == [
        ("postgres", "ok", "a is the only primary"),
        ("b", "ok", "0 bytes and 0.0 s behind"),
        ("c", "ok", "36 bytes and 1.2 s behind"),
    ]


def test_two_primaries_fail() -> None:
    assert told(server("a", primary=True), server("b", primary=True), server("c")) == [
        ("postgres", "fail", "a and b are both primaries")
    ]


def test_none_fails() -> None:
    assert told(server("a"), server("b"))[0] == ("postgres", "fail", "no primary was seen")


def test_servers_of_two_systems_fail() -> None:
    assert told(server("a", primary=True), server("b", system=2)) == [
        ("postgres", "fail", "a and b are of different systems")
    ]


def test_each_cluster_has_its_own_primary() -> None:
    parts = {
        "a": part("postgres", "a:1", cluster="synapse"),
        "b": part("postgres", "b:1", cluster="accounts"),
    }
    assert told(server("a", primary=True), server("b", primary=True, system=2), parts=parts) == [
        ("accounts", "ok", "b is the only primary"),
        ("synapse", "ok", "a is the only primary"),
    ]


@pytest.mark.parametrize(
    ("behind", "seconds", "severity", "says"),
    [
        (64 * MIB, 0.0, "ok", "64 MiB and 0.0 s behind"),
        (64 * MIB + 1, 0.0, "warn", "64 MiB and 0.0 s behind"),
        (1025 * MIB, 0.0, "fail", "1025 MiB and 0.0 s behind"),
        (0, 10.0, "ok", "0 bytes and 10.0 s behind"),
        (0, 11.0, "warn", "0 bytes and 11.0 s behind"),
        (0, 301.0, "fail", "0 bytes and 301.0 s behind"),
        # It was asked a moment later, and is further.
        (-50, 0.0, "ok", "0 bytes and 0.0 s behind"),
    ],
)
def test_how_far_a_standby_may_be_behind(
    behind: int, seconds: float, severity: str, says: str
) -> None:
    first = server("a", primary=True, position=2048 * MIB)
    assert told(first, server("b", position=2048 * MIB - behind, seconds=seconds))[1] == (
        "b",
        severity,
        says,
    )


def test_a_standby_that_follows_nobody_fails() -> None:
    assert told(server("a", primary=True), server("b", follows=False))[1] == (
        "b",
        "fail",
        "receives nothing from a primary, 0 bytes and 0.0 s behind",
    )


@pytest.mark.parametrize(
    ("ahead", "severity", "says"),
    [
        (5.9, "warn", "its clock is 6 s ahead"),
        (-5.9, "warn", "its clock is 6 s behind"),
        (61.0, "fail", "its clock is 61 s ahead"),
        (-61.0, "fail", "its clock is 61 s behind"),
    ],
)
def test_a_clock_that_is_off(ahead: float, severity: str, says: str) -> None:
    seen = (Seen(part="a", findings=(), ahead=ahead), Seen(part="b", findings=(), ahead=0.0))
    assert told(*seen) == [("a", severity, says)]


def test_clocks_that_agree() -> None:
    seen = (Seen(part="a", findings=(), ahead=-5.0), Seen(part="b", findings=(), ahead=None))
    assert told(*seen) == [("clocks", "ok", "1 part and this machine agree")]
    assert told(Seen(part="a", findings=())) == []


def test_all_of_a_kind_are_of_one_version() -> None:
    parts = {name: part("lalepass", f"{name}:1") for name in "ab"} | {"s": part("synapse", "s:1")}
    old = [Seen(part=name, findings=(), version="1") for name in ("a", "s")]

    assert told(*old, Seen(part="b", findings=(), version="2"), parts=parts) == [
        ("lalepass", "warn", "not all of Lalepass are of one version: a 1, b 2")
    ]
    assert told(*old, Seen(part="b", findings=(), version=None), parts=parts) == []
