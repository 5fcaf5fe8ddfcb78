"""The file that lists the parts: what it has to be, and what follows from it."""

import itertools
from pathlib import Path

import pytest

from lalepass_service.faults import ConfigFault
from lalepass_service.topology.parts import Address, read_address
from lalepass_service.topology.plan import Plan, load

PARTS = """
[parts.one]
kind = "lalepass"
address = "one:8220"
tls = true
segments = ["authentication", "accounts"]
[parts.db-1]
kind = "postgres"
address = "db-1:5432"
segments = ["accounts"]
[parts.db-2]
kind = "postgres"
address = "db-2:5432"
segments = ["accounts"]
[parts.worker]
kind = "synapse"
address = "worker:8008"
segments = ["authentication", "homeserver"]
[parts.proxy]
kind = "proxy"
address = "proxy:8008"
segments = ["homeserver", "outside"]
[parts.clients]
kind = "job"
segments = ["outside"]
"""


def read(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "topology.toml"
    path.write_text(text)
    return load(path)


def refused(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "topology.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigFault) as fault:
        load(path)
    sentence = str(fault.value)
    assert "\n" not in sentence
    assert "pydantic" not in sentence
    return sentence.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "parts: is missing"),
        ("parts = 3", "parts: should be a table for each part, [parts.NAME]"),
        ("[parts]", "parts: should be a table for each part, [parts.NAME]"),
        ("[parts.a]", "parts.a.kind: should be one of lalepass, postgres, valkey, synapse, proxy"),
        ("parts.a = 3", "parts.a: should be"),
        ('[parts.a]\nkind = "mysql"\naddress = "a:1"', "parts.a.kind: should be one of lalepass,"),
        ('[parts.a]\nkind = "valkey"', "parts.a.address: is missing"),
        (
            '[parts.a]\nkind = "valkey"\naddress = "a"',
            "parts.a.address: should be a host and a port, such as db1.example.org:5432",
        ),
        ('[parts.a]\nkind = "valkey"\naddress = "http://a:1"', "parts.a.address: should be a host"),
        ('[parts.a]\nkind = "valkey"\naddress = "a:70000"', "parts.a.address: should be a host"),
        ('[parts.a]\nkind = "valkey"\naddress = "a:0"', "parts.a.address: should be a host"),
        ('[parts.a]\nkind = "valkey"\naddress = 6379', "parts.a.address: should be a host"),
        (
            '[parts.a]\nkind = "valkey"\naddress = "a:1"\ntls = "yes"',
            "parts.a.tls: should be true or false",
        ),
        (
            '[parts.a]\nkind = "valkey"\naddress = "a:1"\nsegments = "x"',
            "parts.a.segments: should be a list of the names of the networks that it is on",
        ),
        (
            '[parts.a]\nkind = "valkey"\naddress = "a:1"\nsegments = ["x", 3]',
            "parts.a.segments[1]: should be a list of the names of the networks that it is on",
        ),
        (
            '[parts.a]\nkind = "valkey"\naddress = "a:1"\npassword = "secret"',
            "parts.a.password: there is no such option",
        ),
        ('[parts.a]\nkind = "job"\naddress = "a:1"', "parts.a.address: there is no such option"),
        ('[parts.a]\nkind = "s3"\naddress = "a:1"', "parts.a.bucket: is missing"),
        (
            '[parts.a]\nkind = "s3"\naddress = "a:1"\nbucket = "../x"',
            "parts.a.bucket: should be a bucket's name",
        ),
        (
            '[parts.a]\nkind = "http"\naddress = "a:1"\npath = "x y"',
            "parts.a.path: should be a path, such as /metrics",
        ),
        (
            '[parts.a]\nkind = "proxy"\naddress = "a:1"\nsays_who = "X-A: b"',
            "parts.a.says_who: should be the header",
        ),
        ('[parts."a b"]\nkind = "job"', "parts: the name of a part is made of letters, digits and"),
        ('[parts."a\\nb"]\nkind = "job"', "parts: the name of a part is made of letters,"),
        ('[parts.a]\nkind = "job"\n[nonsense]', "nonsense: there is no such option"),
        ("[parts.a", "is not valid TOML: "),
        ("a = " + "[" * 5000, "is not valid TOML: "),
        (b"\xff\xfe", "is not UTF-8 text"),
        ("#" * 300_000, "is longer than 256 KiB"),
        (
            "".join(f'[parts.a{n}]\nkind = "job"\n' for n in range(201)),
            "parts: has more than 200 entries",
        ),
    ],
    ids=itertools.count(),
)
def test_what_is_not_right_is_said_in_one_sentence(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    assert refused(tmp_path, text).startswith(says)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ('[[reach]]\nto = ["db-1"]', "reach[0].from: is missing"),
        ('[[reach]]\nfrom = ["one"]', "reach[0].to: is missing"),
        (
            '[[reach]]\nfrom = "one"\nto = ["db-1"]',
            "reach[0].from: should be a list of names of parts, in which * stands for any",
        ),
        ('[[reach]]\nfrom = []\nto = ["db-1"]', "reach[0].from: should be a list of names"),
        ('[[reach]]\nfrom = ["two"]\nto = ["db-1"]', "reach[0].from: there is no part two"),
        ('[[reach]]\nfrom = ["one"]\nto = ["s3-*"]', "reach[0].to: there is no part s3-*"),
        ('[[reach]]\nfrom = ["one"]\nto = ["clients"]', "reach[0].to: clients listens nowhere"),
        (
            '[[reach]]\nfrom = ["one"]\nto = ["db-*"]\ntoken_path = "x"',
            "reach[0].token_path: db-1 is of the kind postgres, which takes none",
        ),
        (
            '[[reach]]\nfrom = ["one"]\nto = ["db-1"]\npassword = "secret"',
            "reach[0].password: there is no such option",
        ),
        (
            '[[reach]]\nfrom = ["one"]\nto = ["db-1"]\npassword_path = ""',
            "reach[0].password_path: should be the path of a file",
        ),
        (
            '[[reach]]\nfrom = ["one"]\nto = ["db-1"]\npassword_path = "x"',
            "reach[0]: db-1 needs user and database",
        ),
        (
            '[[reach]]\nfrom = ["worker"]\nto = ["one"]\ncertificate_path = "x"',
            "reach[0]: certificate_path and key_path belong together",
        ),
        (
            '[[reach]]\nfrom = ["one"]\nto = ["db-*"]\n[[reach]]\nfrom = ["o*"]\nto = ["db-2"]',
            "reach[1]: one to db-2 is there twice",
        ),
        (
            '[[reach]]\nfrom = ["worker"]\nto = ["db-1"]',
            "reach[0]: worker and db-1 share no segment",
        ),
        ("reach = 3", "reach: should be a table for each rule, [[reach]]"),
        ("[reach]", "reach: should be a table for each rule, [[reach]]"),
        ('[[open]]\nfrom = ["one"]\nto = ["db-1"]', "open[0].because: is missing"),
        (
            '[[open]]\nfrom = ["one"]\nto = ["db-1"]\nbecause = ""',
            "open[0].because: should be a sentence: the reason",
        ),
        (
            '[[open]]\nfrom = ["two"]\nto = ["db-1"]\nbecause = "x"',
            "open[0].from: there is no part two",
        ),
        (
            '[[open]]\nfrom = ["one"]\nto = ["two"]\nbecause = "x"',
            "open[0].to: there is no part two",
        ),
        ("open = 3", "open: should be a table for each rule, [[open]]"),
        ('[[route]]\nto = ["worker"]', "route[0].path: is missing"),
        ('[[route]]\npath = "x"\nto = ["worker"]', "route[0].path: should be a path, such as"),
        (
            '[[route]]\npath = "/x"\nmethod = "DELETE"\nto = ["worker"]',
            "route[0].method: should be GET, PUT or POST",
        ),
        ('[[route]]\npath = "/x"\nto = ["x"]', "route[0].to: there is no part x"),
        (
            '[[route]]\npath = "/x"\nthrough = "one"\nto = ["worker"]',
            "route[0].through: there is no proxy one",
        ),
    ],
    ids=itertools.count(),
)
def test_what_does_not_go_together_is_said_with_its_place(
    tmp_path: Path, rule: str, says: str
) -> None:
    # A table of the same name as a list may not come behind it.
    text = f"{rule}\n{PARTS}" if "= 3" in rule else f"{PARTS}\n{rule}"
    assert refused(tmp_path, text).startswith(says)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="can't be read: No such file or directory"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigFault, match="can't be read: Is a directory"):
        load(tmp_path)


def test_who_reaches_whom_is_with_what_is_shown(tmp_path: Path) -> None:
    plan = read(
        tmp_path,
        PARTS + '[[reach]]\nfrom = ["one"]\nto = ["db-*"]\nuser = "u"\ndatabase = "d"\n'
        'password_path = "password"\nca_path = "/etc/ca.pem"\n',
    )

    shown = plan.reached_from("one")
    assert set(shown) == {"db-1", "db-2"}
    assert shown["db-1"].password_path == str(tmp_path / "password")
    assert shown["db-1"].ca_path == "/etc/ca.pem"
    assert plan.reached_from("worker") == {}
    assert plan.any_login()["db-1"] == [shown["db-1"]]
    assert plan.any_login()["one"] == []


def test_who_need_not_be_reached_must_not_whatever_networks_they_share(tmp_path: Path) -> None:
    plan = read(tmp_path, PARTS + '[[reach]]\nfrom = ["one"]\nto = ["db-1"]\n')

    everybody = {"one", "db-1", "db-2", "worker", "proxy"}
    assert set(plan.closed_to("clients")) == everybody
    assert set(plan.closed_to("one")) == everybody - {"one", "db-1"}
    assert set(plan.closed_to("db-1")) == everybody - {"db-1"}
    assert plan.shared("one", "db-2") == ["accounts"]
    assert plan.shared("one", "proxy") == []
    # A network goes both ways; and who else is on it has nothing to do there.
    assert plan.meeting("db-1", "one") == "one has to reach db-1"
    assert plan.meeting("db-1", "db-2") is None


def test_two_doors_of_one_host_are_met_together(tmp_path: Path) -> None:
    beside = """
    [parts.beside]
    kind = "http"
    address = "db-1:9187"
    segments = ["accounts"]
    [[reach]]
    from = ["one"]
    to = ["db-1"]
    """
    plan = read(tmp_path, PARTS + beside)

    assert plan.meeting("one", "beside") == "one has to reach db-1"
    assert "beside" not in plan.closed_to("db-1")


def test_what_is_known_to_be_open_has_a_reason_and_a_network(tmp_path: Path) -> None:
    rules = """
    [[open]]
    from = ["db-*"]
    to = ["*"]
    because = "they ask it"
    [[open]]
    from = ["db-1", "worker"]
    to = ["one"]
    because = "another reason"
    """
    plan = read(tmp_path, PARTS + rules)

    assert plan.known_open("db-1", "db-2") == "they ask it"
    # The first that says so.
    assert plan.known_open("db-1", "one") == "they ask it"
    assert plan.known_open("one", "db-1") is None
    # On networks that do not meet, nothing helps.
    assert plan.known_open("db-1", "proxy") is None


def test_without_segments_only_what_has_to_be_reached_may_be(tmp_path: Path) -> None:
    plan = read(
        tmp_path,
        """
        [parts.a]
        kind = "lalepass"
        address = "10.0.0.1:8220"
        [parts.beside-it]
        kind = "valkey"
        address = "10.0.0.1:6379"
        [parts.b]
        kind = "valkey"
        address = "10.0.0.2:6379"
        [parts.c]
        kind = "valkey"
        address = "[fd00::3]:6379"
        [[reach]]
        from = ["a"]
        to = ["b"]
        """,
    )

    assert set(plan.closed_to("a")) == {"c"}
    assert set(plan.closed_to("b")) == {"a", "beside-it", "c"}
    assert plan.listening["c"].place == Address("fd00::3", 6379)


def test_addresses_are_written_as_they_are_read() -> None:
    for text in ("a.example.org:1", "10.0.0.1:65535", "[::1]:5432"):
        assert str(read_address(text)) == text
