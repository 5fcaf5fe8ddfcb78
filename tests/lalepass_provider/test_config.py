"""What `homeserver.yaml` may say, and what is refused in one sentence."""

from pathlib import Path
from typing import Any

import pytest
from synapse.module_api.errors import ConfigError

from lalepass_provider.config import parse
from lalepass_provider.policy import Keep, LinkExisting, LocalUsers, ProfilePolicy, Unavailable
from tests.certificates import Authority

TOKEN = "lalepass_0123456789ab_" + "x" * 43
GOOD = {"url": "https://auth.example.org", "token": TOKEN}


def test_two_options_are_enough() -> None:
    config = parse(GOOD)

    assert config.url == "https://auth.example.org"
    assert config.bearer_token().current().get_secret_value() == TOKEN
    assert (config.timeout, config.connect_timeout, config.max_in_flight) == (5.0, 2.0, 512)


def test_the_token_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")

    config = parse({"url": "https://auth.example.org", "token_path": str(tmp_path / "token")})

    assert config.bearer_token().current().get_secret_value() == TOKEN


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_plain_http_is_fine_on_this_machine(host: str) -> None:
    assert parse({**GOOD, "url": f"http://{host}:8220"}).url == f"http://{host}:8220"


def test_there_may_be_several_replicas() -> None:
    urls = ["https://a.example.org", "https://b.example.org:8220"]

    assert parse({"urls": urls, "token": TOKEN}).addresses == tuple(urls)
    assert parse(GOOD).addresses == ("https://auth.example.org",)


def test_certificates_are_read_at_the_door(tmp_path: Path) -> None:
    authority = Authority()
    ca = authority.write(tmp_path)
    certificate, key = authority.issue("synapse").write(tmp_path, "client")
    tls = {"ca_path": str(ca), "certificate_path": str(certificate), "key_path": str(key)}
    assert parse({**GOOD, "tls": tls}).tls.ca_path == str(ca)

    key.write_bytes(authority.issue("synapse").key)
    with pytest.raises(ConfigError, match="not the one of the certificate") as refused:
        parse({**GOOD, "tls": tls})
    assert list(refused.value.path or []) == ["tls", "key_path"]


def test_plain_http_to_another_machine_has_to_be_asked_for() -> None:
    assert parse({**GOOD, "url": "http://auth:8220", "allow_plaintext": True}).allow_plaintext


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"url": 7}, ["url"], "should be text"),
        ({"url": "auth.example.org"}, ["url"], "begins with https://"),
        ({"url": "ftp://auth.example.org"}, ["url"], "begins with https://"),
        ({"url": "https://"}, ["url"], "needs a host"),
        ({"url": "https:///path"}, ["url"], "needs a host"),
        ({"url": "https://user:pass@auth.example.org"}, ["url"], "no user name"),
        ({"url": "https://auth.example.org/?a=b"}, ["url"], "no user name, query"),
        ({"url": "https://auth.example.org:port"}, ["url"], "port"),
        ({"url": "https://auth.example.org:99999"}, ["url"], "port"),
        ({"url": "http://auth.example.org"}, [], "allow_plaintext: true"),
        ({"url": "http://localhost.evil.example"}, [], "allow_plaintext: true"),
        ({"tokn": "x"}, ["tokn"], "there is no such option; is it token?"),
        ({"tiemout": 5}, ["tiemout"], "there is no such option; is it timeout?"),
        ({"colour": "red"}, ["colour"], "there is no such option"),
        ({7: "x"}, ["<item 7>"], "the names of options are text"),
        ({None: "x"}, ["None"], "the names of options are text"),
        ({"url": ["https://a"]}, ["url"], "should be text"),
        ({"url": {"https": "//a"}}, ["url"], "should be text"),
        ({"token": 1234567890123456}, ["token"], "should be text"),
        ({"token_path": True, "token": None}, ["token_path"], "should be text"),
        ({"timeout": [5]}, ["timeout"], "should be a number of seconds"),
        ({"timeout": None}, ["timeout"], "should be a number of seconds"),
        ({"timeout": float("nan")}, ["timeout"], "less than or equal"),
        ({"max_in_flight": 1.5}, ["max_in_flight"], "should be a whole number"),
        ({"max_in_flight": True}, ["max_in_flight"], "should be a whole number"),
        ({"max_in_flight": {}}, ["max_in_flight"], "should be a whole number"),
        ({"allow_plaintext": 1}, ["allow_plaintext"], "should be true or false"),
        ({"urls": ["https://a.example.org"]}, [], "exactly one of url and urls"),
        ({"url": None}, [], "exactly one of url and urls"),
        ({"url": None, "urls": []}, ["urls"], "should have one entry or more"),
        ({"url": None, "urls": "https://a.example.org"}, ["urls"], "should be a list"),
        ({"url": None, "urls": [7]}, ["urls", "<item 0>"], "should be text"),
        (
            {"url": None, "urls": ["https://a.example.org", "b"]},
            ["urls", "<item 1>"],
            "begins with https://",
        ),
        (
            {"url": None, "urls": ["https://a.example.org", "https://a.example.org:443/"]},
            ["urls"],
            "names one host and port twice",
        ),
        (
            {"url": None, "urls": ["https://a.example.org", "http://b.example.org"]},
            [],
            "allow_plaintext: true",
        ),
        ({"tls": "yes"}, ["tls"], "should be options"),
        ({"tls": {"ca": "/x"}}, ["tls", "ca"], "there is no such option"),
        ({"tls": {"ca_path": "/none/ca.pem"}}, ["tls", "ca_path"], "No such file"),
        ({"tls": {"key_path": "/none/key"}}, ["tls"], "come together"),
        (
            {"url": "http://localhost", "tls": {"ca_path": "/none/ca.pem"}},
            [],
            "there is no address with https",
        ),
        ({"token": None}, [], "exactly one of token and token_path"),
        ({"token_path": "/run/token"}, [], "exactly one of token and token_path"),
        ({"token": "changeme"}, ["token"], "this is no token"),
        ({"token": TOKEN + " and more"}, ["token"], "this is no token"),
        ({"timeout": 0}, ["timeout"], "greater than or equal to 0.1"),
        ({"timeout": "5 minutes"}, ["timeout"], "should be a number of seconds, without a unit"),
        ({"timeout": float("inf")}, ["timeout"], "less than or equal"),
        ({"max_in_flight": 0}, ["max_in_flight"], "greater than or equal to 1"),
        ({"max_in_flight": "many"}, ["max_in_flight"], "should be a whole number"),
        ({"account_page": "account.example.org"}, ["account_page"], "begins with https://"),
        ({"account_page": "https://a b"}, ["account_page"], "begins with https://"),
        ({"account_page": "javascript:alert(1)"}, ["account_page"], "begins with https://"),
        ({"allow_plaintext": "yes"}, ["allow_plaintext"], "should be true or false"),
        ({"local_users": "admin"}, ["local_users"], "should be a list"),
        ({"local_users": ["admin", "Bot"]}, ["local_users", "<item 1>"], "is a localpart such as"),
        ({"local_users": ["*"]}, ["local_users", "<item 0>"], "matches everybody"),
        ({"local_users": [7]}, ["local_users", "<item 0>"], "should be text"),
        ({"local_users": ["a"] * 1001}, ["local_users"], "at most 1000"),
        ({"unavailable": "local"}, ["unavailable"], "'error' or 'try_local'"),
        ({"link_existing": True}, ["link_existing"], "'never', 'if_no_password' or 'always'"),
        ({"profile": {"email": "always"}}, ["profile", "email"], "there is no such option"),
        ({"profile": {"emails": "yes"}}, ["profile", "emails"], "'on_create' or 'always'"),
        ({"profile": None}, ["profile"], "should be options, each on a line of its own"),
    ],
)
def test_what_can_not_be_is_refused_with_the_path_of_the_option(
    change: dict[str, Any], path: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        parse({**GOOD, **change})

    assert list(refused.value.path or []) == path
    assert message in refused.value.msg
    assert "\n" not in refused.value.msg


def test_the_state_is_a_file_in_a_folder_that_is_there(tmp_path: Path) -> None:
    path = str(tmp_path / "state")

    assert parse({**GOOD, "lifecycle": {"state_path": path}}).lifecycle.state_path == path
    assert parse(GOOD).lifecycle.enabled


@pytest.mark.parametrize(
    ("options", "path", "message"),
    [
        ({"state_path": "state"}, "state_path", "absolute"),
        ({"state_path": "/nowhere/at/all"}, "state_path", "a folder that exists"),
        ({"state_path": "/"}, "state_path", "is a file"),
        ({"state_path": 7}, "state_path", "should be text"),
        ({"enabled": "yes"}, "enabled", "should be true or false"),
        ({"state": "/tmp/x"}, "state", "there is no such option"),  # noqa: S108 - never written
    ],
)
def test_a_wrong_lifecycle_is_refused(options: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse({**GOOD, "lifecycle": options})

    assert list(refused.value.path or []) == ["lifecycle", path]
    assert message in refused.value.msg


def test_policies_are_written_as_words() -> None:
    config = parse(
        {
            **GOOD,
            "local_users": ["admin", "bot-*"],
            "unavailable": "try_local",
            "link_existing": "never",
            "profile": {"display_name": "always", "admin": "on_create"},
        }
    )

    assert LocalUsers(config.local_users).match("bot-7")
    assert config.unavailable is Unavailable.TRY_LOCAL
    assert config.link_existing is LinkExisting.NEVER
    assert config.profile.policy() == ProfilePolicy(
        display_name=Keep.ALWAYS, emails=Keep.ALWAYS, phones=Keep.ALWAYS, admin=Keep.ON_CREATE
    )


def test_the_defaults_of_the_policies_are_the_careful_ones() -> None:
    config = parse(GOOD)

    assert config.local_users == []
    assert config.unavailable is Unavailable.ERROR
    assert config.link_existing is LinkExisting.IF_NO_PASSWORD
    assert config.profile.policy() == ProfilePolicy()


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="exactly one of url and urls is needed") as refused:
        parse({"token": TOKEN})

    assert list(refused.value.path or []) == []


def test_a_token_is_never_shown() -> None:
    assert TOKEN not in repr(parse(GOOD))
    with pytest.raises(ConfigError) as refused:
        parse({**GOOD, "token": "canary canary canary"})

    assert "canary" not in f"{refused.value!r} {refused.value.msg} {refused.value.__cause__!r}"


@pytest.mark.parametrize("content", [b"", b"\n", b"these are words", b"\xff\xfe", b"x" * 5000])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)

    with pytest.raises(ConfigError, match="this is no token") as refused:
        parse({"url": "https://auth.example.org", "token_path": str(tmp_path / "token")})

    assert list(refused.value.path or []) == ["token_path"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as refused:
        parse({"url": "https://auth.example.org", "token_path": str(tmp_path / "none")})

    assert list(refused.value.path or []) == ["token_path"]


@pytest.mark.parametrize("raw", [None, "", "url", [], [GOOD], 7, True], ids=repr)
def test_what_holds_no_options_is_refused(raw: object) -> None:
    with pytest.raises(ConfigError, match="should hold the options of the module"):
        parse(raw)
