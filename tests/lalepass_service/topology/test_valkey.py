"""What a Valkey may answer, from what is well to nonsense. Real ones: tests/servers."""

import itertools
from pathlib import Path

import pytest

from lalepass_service.topology import valkey, wires
from lalepass_service.topology.finding import Amiss
from lalepass_service.topology.plan import Login
from tests.lalepass_service.topology.answering import web, wire
from tests.lalepass_service.topology.asked import NOBODY, part, said
from tests.lalepass_service.topology.certified import Certified

NOAUTH = b"-NOAUTH Authentication required.\r\n"
OK = b"+OK\r\n"
TIME = b"*2\r\n$10\r\n4102444800\r\n$1\r\n0\r\n"


def bulk(text: str) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text.encode())


SERVER = bulk("# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.1\r\n")
MEMORY = bulk("# Memory\r\nmaxmemory_policy:noeviction\r\n")
MASTER = bulk("# Replication\r\nrole:master\r\n")


@pytest.fixture
def login(tmp_path: Path) -> Login:
    path = tmp_path / "password"
    path.write_text("not to be seen\n")
    return Login(user="lalepass", password_path=str(path))


def test_one_that_is_well(login: Login) -> None:
    with wire(NOAUTH, OK, SERVER, MEMORY, MASTER, TIME) as place:
        seen = valkey.look("counters", part("valkey", place, policy="noeviction"), login)

    assert said(seen) == [("ok", "Valkey 8.1.1, wants a password")]
    assert seen.version == "8.1.1"
    # It is said to be the year 2100 there.
    assert seen.ahead is not None
    assert seen.ahead > 1e9


def test_without_a_password_that_it_wants_one_is_all_that_is_seen() -> None:
    with wire(NOAUTH) as place:
        seen = valkey.look("counters", part("valkey", place), NOBODY)

    assert said(seen) == [("ok", "answers, and wants a password")]


def test_one_that_is_open_is_told(login: Login) -> None:
    for shown, answers in ((login, (b"-ERR no password is set\r\n",)), (NOBODY, ())):
        with wire(b"+PONG\r\n", *answers, SERVER, MEMORY, MASTER, TIME) as place:
            seen = valkey.look("counters", part("valkey", place), shown)

        assert said(seen)[1] == ("warn", "anybody who reaches it may use it")


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ((NOAUTH, b"-WRONGPASS no\r\n"), "it does not take the password in "),
        ((NOAUTH, OK, b"-NOPERM no\r\n"), "it does not say how it is: NOPERM"),
        ((b"-LOADING wait\r\n",), "it answers LOADING"),
        ((b"HTTP/1.1 400 Bad Request\r\n",), " is no Valkey"),
        ((b"\x00\xff\xfe\r\n",), " is no Valkey"),
        ((b":99999999999999999999999999\r\n" * 2, b"$99999999999\r\n", b"x"), " is no Valkey"),
        ((NOAUTH, OK, b"$-1\r\n", b"*9\r\n", b"", b""), " is no Valkey"),
        ((NOAUTH, OK, b"*2\r\n*2\r\n:1\r\n:1\r\n:1\r\n"), " is no Valkey"),
        ((), "can't be reached"),
        ((b"",), "can't be reached"),
    ],
    ids=itertools.count(),
)
def test_odd_answers_are_told(login: Login, answers: tuple[bytes, ...], says: str) -> None:
    with wire(*answers) as place, pytest.raises(Amiss) as amiss:
        valkey.look("counters", part("valkey", place), login)

    assert says in amiss.value.says
    assert "not to be seen" not in amiss.value.says + amiss.value.fix


def test_an_answer_without_an_end_is_cut(login: Login) -> None:
    with wire(b"+" + b"x" * 1_000_000) as place, pytest.raises(Amiss):
        valkey.look("counters", part("valkey", place), login)


@pytest.mark.parametrize(
    ("server", "memory", "replication", "finding"),
    [
        ("redis_version:6.2.0", "noeviction", "master", ("fail", "Redis 6.2.0 is too old")),
        ("redis_version:", "noeviction", "master", ("fail", "Redis  is too old")),
        ("valkey_version:8.0.0", "noeviction", "slave", ("fail", "Valkey 8.0.0 is a replica")),
        (
            "valkey_version:8.0.0",
            "allkeys-lru",
            "master",
            ("fail", "maxmemory-policy is allkeys-lru, and has to be noeviction"),
        ),
    ],
)
def test_what_is_not_right_fails(
    login: Login, server: str, memory: str, replication: str, finding: tuple[str, str]
) -> None:
    answers = (bulk(server), bulk(f"maxmemory_policy:{memory}"), bulk(f"role:{replication}"))
    with wire(NOAUTH, OK, *answers, TIME) as place:
        seen = valkey.look("counters", part("valkey", place, policy="noeviction"), login)

    assert finding in said(seen)


def test_one_that_is_silent_is_not_waited_for(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wires, "SECONDS", 0.2)
    monkeypatch.setattr(wires.connect, "__kwdefaults__", {"seconds": 0.2})
    with wire(hangs=True) as place, pytest.raises(Amiss, match="does not answer within"):
        valkey.look("counters", part("valkey", place), login)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_password_that_is_not_there_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(Amiss, match="password") as amiss:
        valkey.look("counters", part("valkey", "a:1"), Login(password_path=str(path)))
    assert amiss.value.about == "secret"


def test_over_tls_with_an_authority_that_nobody_knows(login: Login, tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    with web({}, tls=certified.context) as there:
        counters = part("valkey", there.address, tls=True)
        with pytest.raises(Amiss, match="its certificate is not accepted: "):
            valkey.look("counters", counters, login)
        # And with one that is known, what speaks something else.
        with pytest.raises(Amiss, match="is no Valkey"):
            valkey.look("counters", counters, certified.login)
