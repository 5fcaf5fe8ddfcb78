import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from lalepass_service import config
from lalepass_service.adapters.hashing.argon2 import (
    MAX_ITERATIONS,
    MAX_MEMORY_KIB,
    MIN_ITERATIONS,
    MIN_MEMORY_KIB,
    Argon2Parameters,
)
from lalepass_service.cli import init
from lalepass_service.config import Audit, Config, Keys
from lalepass_service.core.policy import PasswordPolicy
from lalepass_service.faults import ConfigFault

SECRET = "canary-7f3a"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no settings from the outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LALEPASS_CONFIG", raising=False)
    return tmp_path


def _write(text: str, name: str = "lalepass.toml") -> Path:
    file = Path(name)
    file.write_text(text, encoding="utf-8")
    return file


def _refusal(file: Path | None = None) -> str:
    with pytest.raises(ConfigFault) as caught:
        config.load(file)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert SECRET not in sentence
    return sentence


def test_an_empty_file_means_the_defaults() -> None:
    _write("")
    loaded = config.load()

    assert loaded == Config()
    assert (loaded.server.host, loaded.server.port) == ("127.0.0.1", 8220)


def test_certificates_are_beside_the_file_that_names_them(folder: Path) -> None:
    (folder / "etc").mkdir()
    text = '[server]\ntls_certificate = "a.crt"\ntls_key = "/b.key"\ntls_client_ca = ""'
    server = config.load(_write(text, "etc/other.toml")).server

    assert (server.tls_certificate, server.tls_key) == ("etc/a.crt", "/b.key")
    assert server.tls_client_ca == ""


def test_the_database_is_beside_the_file_that_names_it(folder: Path) -> None:
    (folder / "etc").mkdir()
    file = _write('[database]\npath = "data/users.db"', "etc/other.toml")

    assert config.load(file).database.path == Path("etc/data/users.db")


def test_an_absolute_path_stays_as_it_is() -> None:
    _write('[database]\npath = "/var/lib/lalepass/users.db"')

    assert config.load().database.path == Path("/var/lib/lalepass/users.db")


def test_the_keys_are_beside_the_file_that_names_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "etc").mkdir()
    file = _write('[keys]\ndirectory = "keys"', "etc/other.toml")

    assert config.load(file).keys.directory == Path("etc/keys")
    monkeypatch.setenv("LALEPASS_KEYS__DIRECTORY", "/srv/keys")
    assert config.load(file).keys.directory == Path("/srv/keys")
    monkeypatch.setenv("LALEPASS_KEYS__DIRECTORY", "")
    assert config.load(file).keys.directory is None


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    _write("[server]\nport = 1000\nbacklog = 7")
    monkeypatch.setenv("LALEPASS_SERVER__PORT", "2000")
    loaded = config.load()

    assert (loaded.server.port, loaded.server.backlog) == (2000, 7)


def test_the_file_is_searched_for_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write("[server]\nport = 1001")
    _write("[server]\nport = 1002", "named.toml")
    _write("[server]\nport = 1003", "asked.toml")

    assert config.load().server.port == 1001
    monkeypatch.setenv("LALEPASS_CONFIG", str(folder / "named.toml"))
    assert config.load().server.port == 1002
    assert config.load(Path("asked.toml")).server.port == 1003


def test_a_file_that_was_named_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    _write("")
    monkeypatch.setenv("LALEPASS_CONFIG", "missing.toml")

    assert _refusal() == "missing.toml: can't be read: No such file or directory"


def test_without_a_file_there_is_no_guessing() -> None:
    assert "lalepass init" in _refusal()


def test_a_container_needs_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LALEPASS_DATABASE__PATH", str(folder / "users.db"))

    assert config.load().database.path == folder / "users.db"


_REFUSED = [
    (f"[server]\nport = '{SECRET}'", "server.port: should be a number from 1 to 65535"),
    ("[server]\nport = 65536", "server.port: should be a number from 1 to 65535"),
    ("[server]\nport = 0", "server.port: should be a number from 1 to 65535"),
    ("[server]\nport = 80.5", "server.port: should be a number from 1 to 65535"),
    ("[server]\nport = []", "server.port: should be a number from 1 to 65535"),
    ("[server]\nhost = ''", "server.host: should be an address or a host name"),
    (
        '[server]\ntls_certificate = "a"',
        "server: tls_certificate and tls_key belong together: set both or none",
    ),
    (
        '[server]\ntls_key = "a"',
        "server: tls_certificate and tls_key belong together: set both or none",
    ),
    (
        '[server]\ntls_client_ca = "a"',
        "server: tls_client_ca is of no use without tls_certificate and tls_key",
    ),
    ("[server]\ntls_key = 7", "server.tls_key: should be the path of a file, or empty for none"),
    ("[server]\nrequest_timeout = nan", "server.request_timeout: should be seconds, from 1 to 300"),
    ("[server]\nrequest_timeout = inf", "server.request_timeout: should be seconds, from 1 to 300"),
    ("[database]\npath = 7", "database.path: should be the path of a file"),
    *(
        (
            f"[check]\ncache_seconds = {value}",
            "check.cache_seconds: should be a number of seconds up to 300, or 0 for no cache",
        )
        for value in ("-1", "301", "0.5", "nan", '"long"', "[]")
    ),
    (
        "[hashing]\nmemory_kib = 1024",
        "hashing.memory_kib: should be a number of KiB from 19456 to 262144",
    ),
    ("[hashing]\niterations = 1", "hashing.iterations: should be a number from 2 to 16"),
    ("[passwords]\nmin_length = 7", "passwords.min_length: should be a number from 8 to 64"),
    ("[passwords]\nmax_length = 257", "passwords.max_length: should be a number from 64 to 256"),
    (
        "[keys]\ndirectory = 7",
        "keys.directory: should be the path of a folder, or empty for no keys",
    ),
    ("[passwords]\nwords = ['ab']", "passwords.words: should be a list of words"),
    ("[passwords]\nwords = 'acme'", "passwords.words: should be a list of words"),
    ("[passwords]\nblocklists = 'file'", "passwords.blocklists: should be a list of files"),
    ("[passwords]\nbuiltin_blocklist = 7", "passwords.builtin_blocklist: should be true or false"),
    ("[log]\nlevel = 'loud'", "log.level: should be debug, info, warning or error"),
    ("[log]\nformat = 'xml'", "log.format: should be console or json"),
    ("[server]\nprot = 1", "server.prot: there is no such option, did you mean port?"),
    ("[server]\n_x = 1", "server._x: there is no such option"),
    ("[sever]\nport = 1", "sever: there is no such section, did you mean server?"),
    ("[_env_file]", "_env_file: there is no such section"),
    ("port = 1", "port: there is no such section"),
    ("server = 1", "server: should be a section, [server]"),
    ("[[server]]\nport = 1", "server: should be a section, [server]"),
]


@pytest.mark.parametrize(("text", "sentence"), _REFUSED)
def test_what_is_wrong_is_said_in_one_sentence(text: str, sentence: str) -> None:
    _write(text)

    assert _refusal() == f"lalepass.toml: {sentence}"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.pwnedpasswords.com/range",
        "https://ranges.example.org:8443/range/",
        "http://127.0.0.1:8080/range",
        "http://[::1]/range",
        "http://localhost/range",
    ],
)
def test_a_range_host_is_asked_over_tls_or_on_this_machine(url: str) -> None:
    _write(f'[passwords]\nbreach_range_url = "{url}"')

    assert config.load().passwords.breach_range_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://api.pwnedpasswords.com/range",
        "http://10.0.0.1/range",
        "http://localhost.evil.example/range",
        "api.pwnedpasswords.com",
        "ftp://localhost/range",
        "https://",
        "https:///range",
        f"https://user:{SECRET}@example.org/range",
        "https://example.org/range?key=1",
        "https://example.org/range#x",
        "https://example.org:port/range",
        "https://example.org:99999/range",
        "https://example.org/ra nge",
        "https://example.org/r\u00e4nge",
        "https://[::1/range",
    ],
)
def test_a_range_host_that_could_be_overheard_is_refused(url: str) -> None:
    _write(f'[passwords]\nbreach_range_url = "{url}"')

    assert "passwords.breach_range_url: should be an https address" in _refusal()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "valkey://valkey",
        "redis://127.0.0.1:6379/0",
        "valkeys://lalepass@valkey.example.org:6380/15",
        "rediss://[::1]:6379/",
    ],
)
def test_a_valkey_may_be_anywhere(url: str) -> None:
    _write(f'[valkey]\nurl = "{url}"\npassword_path = "secret"')

    assert config.load().valkey.url == url


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        "valkey://",
        "https://valkey.example.org",
        "unix:///run/valkey.sock",
        f"valkey://user:{SECRET}@valkey.example.org",
        f"valkey://:{SECRET}@valkey.example.org",
        "valkey://valkey.example.org:0",
        "valkey://valkey.example.org:99999",
        "valkey://valkey.example.org:port",
        "valkey://valkey.example.org/x",
        "valkey://valkey.example.org/-1",
        "valkey://valkey.example.org/0/1",
        "valkey://valkey.example.org/123456",
        "valkey://valkey.example.org?db=1",
        "valkey://valkey.example.org#x",
        "valkey://valk ey",
        "valkey://v\u00e4lkey",
        "valkey://[::1",
    ],
)
def test_a_valkey_that_is_none_is_refused(url: str) -> None:
    _write(f'[valkey]\nurl = "{url}"')

    refusal = _refusal()
    assert "valkey.url: should be an address such as" in refusal
    assert SECRET not in refusal


def test_standbys_are_those_of_a_server() -> None:
    url = "postgresql://lalepass@localhost/lalepass"
    _write(f'[database]\nurl = "{url}"\nreplica_url = "{url}"')
    assert config.load().database.replica_url == url

    _write(f'[database]\nreplica_url = "{url}"')
    assert "replica_url is of no use without url" in _refusal()

    _write(f'[database]\nurl = "{url}"\nreplica_url = "postgresql://a@db.example.org/{SECRET}"')
    refusal = _refusal()
    assert "database.replica_url: should be an address of standbys" in refusal
    assert SECRET not in refusal


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('url = "valkey://a"\nca_path = "ca.pem"', "ca_path is of no use unless url begins with"),
        ('ca_path = "ca.pem"', "ca_path is of no use unless url begins with"),
        ('url = "valkey://me@a"', "url names a user, so password_path is needed"),
        ('prefix = "a:b"', "prefix: should be up to 64 letters, digits, dots, dashes"),
        ('prefix = "{a}"', "prefix: should be up to 64 letters, digits, dots, dashes"),
        ('prefix = ""', "prefix: should be up to 64 letters, digits, dots, dashes"),
        ("replicas = 0", "replicas: should be a number from 1 to 64"),
        ("replicas = 65", "replicas: should be a number from 1 to 64"),
        ("timeout = 0", "timeout: should be seconds, from 0.05 to 5"),
        ("timeout = inf", "timeout: should be seconds, from 0.05 to 5"),
        ("timeout = nan", "timeout: should be seconds, from 0.05 to 5"),
    ],
)
def test_what_does_not_go_together_with_a_valkey_is_refused(text: str, sentence: str) -> None:
    _write(f"[valkey]\n{text}")

    refusal = _refusal()
    assert refusal.startswith("lalepass.toml: valkey")
    assert sentence in refusal


def test_the_files_for_a_valkey_are_beside_the_file_that_names_them(folder: Path) -> None:
    (folder / "etc").mkdir()
    text = '[valkey]\nurl = "valkeys://a"\npassword_path = "p"\nca_path = "/srv/ca.pem"'
    valkey = config.load(_write(text, "etc/other.toml")).valkey

    assert (valkey.password_path, valkey.ca_path) == (Path("etc/p"), Path("/srv/ca.pem"))


def test_blocklists_are_beside_the_file_that_names_them(folder: Path) -> None:
    (folder / "etc").mkdir()
    file = _write('[passwords]\nblocklists = ["a.list", "/srv/b.list"]', "etc/other.toml")

    assert config.load(file).passwords.blocklists == (Path("etc/a.list"), Path("/srv/b.list"))


def test_a_list_may_be_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    _write("")
    monkeypatch.setenv("LALEPASS_PASSWORDS__WORDS", '["acme", "chat"]')

    assert config.load().passwords.words == ("acme", "chat")


@pytest.mark.parametrize("value", [SECRET, "", "[", '["a"]', "7"])
def test_what_is_no_list_in_a_variable_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    _write("")
    monkeypatch.setenv("LALEPASS_PASSWORDS__WORDS", value)

    assert "list" in _refusal()


def test_a_file_that_is_no_toml_is_refused() -> None:
    _write("[server\nport = 1")

    assert _refusal().startswith("lalepass.toml: is not valid TOML: ")


def test_a_file_that_is_no_text_is_refused() -> None:
    Path("lalepass.toml").write_bytes(b"\xff\xfe")

    assert _refusal() == "lalepass.toml: is not UTF-8 text"


def test_a_folder_is_no_file(folder: Path) -> None:
    assert _refusal(folder).endswith("can't be read: Is a directory")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("LALEPASS_SERVER__PORT", SECRET, "should be a number from 1 to 65535"),
        ("LALEPASS_SERVER__PORT", "", "should be a number from 1 to 65535"),
        ("LALEPASS_SERVER__HOST", "", "should be an address or a host name"),
        ("LALEPASS_LOG__LEVEL", SECRET, "should be debug, info, warning or error"),
        (
            "LALEPASS_SERVER__PROT",
            "1",
            "there is no such option, did you mean LALEPASS_SERVER__PORT?",
        ),
        (
            "LALEPASS_SEVER__PORT",
            "1",
            "there is no such option, did you mean LALEPASS_SERVER__PORT?",
        ),
        (
            "LALEPASS_SERVER__PORT__X",
            "1",
            "there is no such option, did you mean LALEPASS_SERVER__PORT?",
        ),
        (
            "LALEPASS_SERVER",
            '{"port": 1}',
            "set its options one by one, such as LALEPASS_SERVER__BACKLOG",
        ),
    ],
)
def test_a_variable_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    _write("")
    monkeypatch.setenv(name, value)

    assert _refusal() == f"{name}: {sentence}"


@pytest.mark.parametrize(
    "name", ["LALEPASS_REQUIRE", "LALEPASS_PORT", "LALEPASS_SERVICE_HOST", "LALEPASS"]
)
def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _write("")
    monkeypatch.setenv(name, "tcp://10.0.0.1:8220")

    assert config.load() == Config()


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().server.port = 1  # type: ignore[misc]


def test_the_bounds_and_defaults_are_those_of_the_parts() -> None:
    """The settings can't import what they are for, so nothing else would notice."""
    defaults = Config()
    fields = type(defaults.hashing).model_fields

    assert defaults.hashing.memory_kib == Argon2Parameters().memory_kib
    assert defaults.hashing.iterations == Argon2Parameters().iterations
    for option, least, most in (
        ("memory_kib", MIN_MEMORY_KIB, MAX_MEMORY_KIB),
        ("iterations", MIN_ITERATIONS, MAX_ITERATIONS),
    ):
        bounds = [getattr(limit, "ge", None) or limit.le for limit in fields[option].metadata]
        assert bounds == [least, most]
    assert defaults.passwords.min_length == PasswordPolicy().min_length
    assert defaults.passwords.max_length == PasswordPolicy().max_length


def test_the_file_that_init_writes_shows_every_option_with_its_default() -> None:
    text = init.TEMPLATE.read_text(encoding="utf-8")
    uncommented = "\n".join(
        line.removeprefix("#") if line.startswith("#") and not line.startswith("# ") else line
        for line in text.splitlines()
    )
    shown = tomllib.loads(uncommented)

    # The one option that is set: its default is for installations from before there were keys.
    expected = Config(keys=Keys(directory=Path("keys")))
    # TOML has no word for nothing.
    assert shown.pop("audit") == {"keep_days": 365, "copy_path": ""}
    assert (shown["valkey"].pop("password_path"), shown["valkey"].pop("ca_path")) == ("", "")
    dumped = expected.model_dump(mode="json", exclude={"audit"})
    assert (dumped["valkey"].pop("password_path"), dumped["valkey"].pop("ca_path")) == (None, None)
    assert shown == dumped
    assert expected.audit == Audit(keep_days=365, copy_path=None)
    file = _write(text)
    assert config.load(file) == expected
