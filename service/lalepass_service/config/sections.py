"""What can be set, and to what. Every default is right for one small homeserver."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from lalepass_service.config.addresses import is_loopback, server_url

_FILE_OR_NONE: Final = "the path of a file, or empty for none"


class Section(BaseModel):
    """A part of the settings that has a name of its own in the file."""

    # Each description below completes the sentence "should be ...".
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _none_if_empty(value: object) -> object:
    # Path("") would be the folder of the file itself.
    return None if value == "" else value


_MaybePath = Annotated[Path | None, BeforeValidator(_none_if_empty)]


class Server(Section):
    """Where the service listens, and how much it takes on."""

    host: str = Field("127.0.0.1", min_length=1, description="an address or a host name")
    port: int = Field(8220, ge=1, le=65535, description="a number from 1 to 65535")
    request_timeout: float = Field(15.0, ge=1, le=300, description="seconds, from 1 to 300")
    max_connections: int = Field(1024, ge=8, le=65535, description="a number from 8 to 65535")
    backlog: int = Field(512, ge=1, le=65535, description="a number from 1 to 65535")
    # How long a balancer may need to notice that this replica is not ready any more.
    drain_seconds: float = Field(0.0, ge=0, le=300, description="seconds, from 0 to 300")
    tls_certificate: str = Field("", max_length=4096, description=_FILE_OR_NONE)
    tls_key: str = Field("", max_length=4096, description=_FILE_OR_NONE)
    tls_client_ca: str = Field("", max_length=4096, description=_FILE_OR_NONE)

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key belong together: set both or none")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError("tls_client_ca is of no use without tls_certificate and tls_key")
        return self


class Database(Section):
    """Where the accounts are kept."""

    path: Path = Field(Path("lalepass.db"), description="the path of a file")
    busy_timeout: float = Field(5.0, ge=0.1, le=60, description="seconds, from 0.1 to 60")
    # A server instead of the file.
    url: Annotated[str, AfterValidator(server_url)] = Field(
        "",
        max_length=4096,
        description="an address of PostgreSQL without a password, with sslmode unless it is on "
        'this machine, such as "postgresql://lalepass@db.example.org/lalepass?sslmode=verify-full"'
        ', or "" for the file',
    )
    # Standbys of it, which checks are read from.
    replica_url: Annotated[str, AfterValidator(server_url)] = Field(
        "",
        max_length=4096,
        description='an address of standbys, as url is one of their primary, or "" for none',
    )
    password_path: str = Field("", max_length=4096, description=_FILE_OR_NONE)
    # Less than callers wait (the provider's default is 5 s), or they never hear our 503.
    timeout: float = Field(3.0, ge=0.2, le=60, description="seconds, from 0.2 to 60")
    connections: int = Field(4, ge=2, le=64, description="a number from 2 to 64")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.replica_url and not self.url:
            raise ValueError("replica_url is of no use without url")
        return self


class Keys(Section):
    """What stored password records are wrapped with."""

    # Unset by default, for installations from before there were keys: `lalepass init` sets it.
    directory: _MaybePath = Field(None, description="the path of a folder, or empty for no keys")


class Hashing(Section):
    """What one password check costs, and how many may wait for it."""

    memory_kib: int = Field(
        19456, ge=19456, le=262144, description="a number of KiB from 19456 to 262144"
    )
    iterations: int = Field(2, ge=2, le=16, description="a number from 2 to 16")
    threads: int = Field(
        0, ge=0, le=1024, description="a number up to 1024, or 0 for one per usable core"
    )
    max_waiting: int = Field(256, ge=1, le=65535, description="a number from 1 to 65535")
    # Less than callers wait (the provider's default is 5 s), or they never hear our 503.
    deadline_seconds: float = Field(3.0, ge=0.1, le=60, description="seconds, from 0.1 to 60")
    binding: Literal["auto", "libsodium", "avx2", "avx512"] = Field(
        "auto", description="auto, libsodium, avx2 or avx512"
    )
    synapse_pepper_path: str = Field(
        "", max_length=4096, description="the path of a file, or empty for no pepper"
    )


class Check(Section):
    """What is spared of a check."""

    # At most some minutes: so long a fast digest of a password is in memory.
    cache_seconds: int = Field(
        0, ge=0, le=300, description="a number of seconds up to 300, or 0 for no cache"
    )


def _range_url(url: str) -> str:
    parts = urlsplit(url)
    good = parts.hostname and parts.port != 0 and not (parts.query or parts.fragment)
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    if url and (not good or not safe or "@" in parts.netloc or not url.isascii() or " " in url):
        raise ValueError("its description says what it should be")
    return url


_Word = Annotated[str, StringConstraints(min_length=3, max_length=256)]


class Passwords(Section):
    """The rules for new passwords."""

    # The shortest maximum is the longest minimum, so that the two can never cross.
    min_length: int = Field(8, ge=8, le=64, description="a number from 8 to 64")
    max_length: int = Field(256, ge=64, le=256, description="a number from 64 to 256")
    words: tuple[_Word, ...] = Field((), max_length=256, description="a list of words")
    builtin_blocklist: bool = Field(default=True, description="true or false")
    blocklists: tuple[Path, ...] = Field((), max_length=64, description="a list of files")
    breach_range_url: Annotated[str, AfterValidator(_range_url)] = Field(
        "",
        description="an https address without user name, query and fragment, or http on this "
        'machine, or "" for none',
    )


_VALKEY_SCHEMES: Final = ("valkey", "redis", "valkeys", "rediss")


def _valkey_url(url: str) -> str:
    parts = urlsplit(url)
    number = parts.path.removeprefix("/")
    good = parts.hostname and parts.port != 0 and parts.scheme in _VALKEY_SCHEMES
    plain = parts.password is None and not (parts.query or parts.fragment) and url.isascii()
    if url and (not good or not plain or " " in url or (number and not _is_small(number))):
        raise ValueError("its description says what it should be")
    return url


def _is_small(number: str) -> bool:
    return number.isdecimal() and len(number) <= 5  # noqa: PLR2004 - digits


class Valkey(Section):
    """What several replicas share their counters in."""

    url: Annotated[str, AfterValidator(_valkey_url)] = Field(
        "",
        max_length=1024,
        description='an address such as "valkeys://valkey.example.org:6379/0", without a '
        'password, or "" for none',
    )
    password_path: _MaybePath = Field(None, description=_FILE_OR_NONE)
    ca_path: _MaybePath = Field(None, description=_FILE_OR_NONE)
    prefix: str = Field(
        "lalepass",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="up to 64 letters, digits, dots, dashes and underscores",
    )
    # In what is taken for lost, each replica has its share of every budget: see core/softlock.py.
    replicas: int = Field(1, ge=1, le=64, description="a number from 1 to 64")
    timeout: float = Field(0.25, ge=0.05, le=5, description="seconds, from 0.05 to 5")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        parts = urlsplit(self.url)
        if self.ca_path is not None and parts.scheme not in {"valkeys", "rediss"}:
            raise ValueError("ca_path is of no use unless url begins with valkeys:// or rediss://")
        if parts.username and self.password_path is None:
            raise ValueError("url names a user, so password_path is needed")
        return self


class Throttle(Section):
    """How many checks one place may ask for, whatever accounts they are about."""

    source_per_minute: int = Field(120, ge=1, le=1_000_000, description="a number of at least 1")
    source_burst: int = Field(200, ge=1, le=1_000_000, description="a number of at least 1")
    caller_per_second: int = Field(1000, ge=1, le=1_000_000, description="a number of at least 1")
    caller_burst: int = Field(5000, ge=1, le=1_000_000, description="a number of at least 1")


class Audit(Section):
    """The trail of checks and of what operators change."""

    keep_days: int = Field(365, ge=1, le=36500, description="a number of days from 1 to 36500")
    copy_path: _MaybePath = Field(None, description="the path of a file, or empty for no copy")


class Log(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    format: Literal["console", "json"] = Field("console", description="console or json")
