"""The settings: one TOML file, and the environment, which wins.

Every option has a default that is right for one small homeserver on the same machine. What is
wrong is said in one sentence with the option's name, before anything is opened.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from lalepass_service.faults import ConfigFault

FILE_VARIABLE: Final = "LALEPASS_CONFIG"
_PREFIX: Final = "LALEPASS_"
_FALLBACKS: Final = (Path("lalepass.toml"), Path("/etc/lalepass/lalepass.toml"))


class _Section(BaseModel):
    # Each description below completes the sentence "should be ...".
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Server(_Section):
    """Where the service listens, and how much it takes on."""

    host: str = Field("127.0.0.1", min_length=1, description="an address or a host name")
    port: int = Field(8220, ge=1, le=65535, description="a number from 1 to 65535")
    request_timeout: float = Field(15.0, ge=1, le=300, description="seconds, from 1 to 300")
    max_connections: int = Field(1024, ge=8, le=65535, description="a number from 8 to 65535")
    backlog: int = Field(512, ge=1, le=65535, description="a number from 1 to 65535")


class Database(_Section):
    """Where the accounts are kept."""

    path: Path = Field(Path("lalepass.db"), description="the path of a file")
    busy_timeout: float = Field(5.0, ge=0.1, le=60, description="seconds, from 0.1 to 60")


class Keys(_Section):
    """What stored password records are wrapped with."""

    # Unset by default, for installations from before there were keys: `lalepass init` sets it.
    directory: Path | None = Field(None, description="the path of a folder, or empty for no keys")

    @field_validator("directory", mode="before")
    @classmethod
    def _none_if_empty(cls, value: object) -> object:
        # Path("") would be the folder of the file itself.
        return None if value == "" else value


class Hashing(_Section):
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
    synapse_pepper_path: str = Field(
        "", max_length=4096, description="the path of a file, or empty for no pepper"
    )


def _range_url(url: str) -> str:
    parts = urlsplit(url)
    good = parts.hostname and parts.port != 0 and not (parts.query or parts.fragment)
    safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))
    if url and (not good or not safe or "@" in parts.netloc or not url.isascii() or " " in url):
        raise ValueError("its description says what it should be")
    return url


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


_Word = Annotated[str, StringConstraints(min_length=3, max_length=256)]


class Passwords(_Section):
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


class Throttle(_Section):
    """How many checks one place may ask for, whatever accounts they are about."""

    source_per_minute: int = Field(120, ge=1, le=1_000_000, description="a number of at least 1")
    source_burst: int = Field(200, ge=1, le=1_000_000, description="a number of at least 1")
    caller_per_second: int = Field(1000, ge=1, le=1_000_000, description="a number of at least 1")
    caller_burst: int = Field(5000, ge=1, le=1_000_000, description="a number of at least 1")


class Audit(_Section):
    """The trail of checks."""

    keep_days: int = Field(365, ge=1, le=36500, description="a number of days from 1 to 36500")


class Log(_Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    format: Literal["console", "json"] = Field("console", description="console or json")


class Config(BaseSettings):
    """All settings. Read by the composition root only."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    server: Server = Server()
    database: Database = Database()
    keys: Keys = Keys()
    hashing: Hashing = Hashing()
    passwords: Passwords = Passwords()
    throttle: Throttle = Throttle()
    audit: Audit = Audit()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - given by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - given by name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then what the file says. No .env file: it would be read by accident."""
        del settings_cls
        return env_settings, init_settings

    def beside(self, folder: Path) -> Self:
        """Return the same settings with relative paths taken to begin in `folder`."""
        database = self.database.model_copy(update={"path": folder / self.database.path})
        lists = tuple(folder / path for path in self.passwords.blocklists)
        changed: dict[str, _Section] = {
            "database": database,
            "passwords": self.passwords.model_copy(update={"blocklists": lists}),
        }
        if self.keys.directory is not None:
            keys = folder / self.keys.directory
            changed["keys"] = self.keys.model_copy(update={"directory": keys})
        if pepper := self.hashing.synapse_pepper_path:
            path = str(folder / pepper)
            changed["hashing"] = self.hashing.model_copy(update={"synapse_pepper_path": path})
        return self.model_copy(update=changed)


_OPTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "server": Server,
    "database": Database,
    "keys": Keys,
    "hashing": Hashing,
    "passwords": Passwords,
    "throttle": Throttle,
    "audit": Audit,
    "log": Log,
}


def find(asked: Path | None) -> Path | None:
    """Return the file to read; None if there is none and the environment says enough.

    Raises:
        ConfigFault: there is no file, and the environment does not say where the database is.
    """
    named = asked or (Path(os.environ[FILE_VARIABLE]) if os.environ.get(FILE_VARIABLE) else None)
    if named is not None:
        return named
    for candidate in _FALLBACKS:
        if candidate.exists():
            return candidate
    # Without this rule a command in the wrong folder would work on a database of its own.
    if f"{_PREFIX}DATABASE__PATH" in os.environ:
        return None
    looked = " nor ".join(str(path) for path in _FALLBACKS)
    raise ConfigFault(
        f"there is no configuration, neither {looked}: name one with --config, "
        "or make one with `lalepass init`"
    )


def load(asked: Path | None = None) -> Config:
    """Read the settings.

    Raises:
        ConfigFault: something is missing or wrong; the text is one sentence.
    """
    file = find(asked)
    table = _read(file) if file else {}
    _refuse_unknown(str(file), table)
    _refuse_unknown_variables()
    try:
        config = Config(**table)
    except ValidationError as error:
        raise ConfigFault(_sentence(error.errors(include_input=False)[0], file)) from None
    except SettingsError:
        # A list in a variable; the error names the section only.
        raise ConfigFault('a list in a variable is written as JSON, such as ["a", "b"]') from None
    return config.beside(file.parent if file else Path())


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigFault(f"{file}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigFault(f"{file}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigFault(f"{file}: is not valid TOML: {error}") from None


def _refuse_unknown(file: str, table: Mapping[str, object]) -> None:
    for section, options in table.items():
        if section not in _OPTIONS:
            raise ConfigFault(f"{file}: {section}: there is no such section{_or(section)}")
        if not isinstance(options, dict):
            raise ConfigFault(f"{file}: {section}: should be a section, [{section}]")
        known = _OPTIONS[section].model_fields
        for option in options:
            if option not in known:
                hint = _or(option, known)
                raise ConfigFault(f"{file}: {section}.{option}: there is no such option{hint}")


def _refuse_unknown_variables() -> None:
    """A misspelt variable would be ignored in silence, and its option keep the default.

    Names without a double underscore are left alone: they belong to others, such as the
    LALEPASS_PORT that Kubernetes sets for a service of our name.
    """
    known = {
        f"{_PREFIX}{section}__{option}".upper()
        for section, model in _OPTIONS.items()
        for option in model.model_fields
    }
    sections = {f"{_PREFIX}{section}".upper() for section in _OPTIONS}
    for name in os.environ:
        upper = name.upper()
        if upper in sections:
            example = min(option for option in known if option.startswith(upper))
            raise ConfigFault(f"{name}: set its options one by one, such as {example}")
        if upper.startswith(_PREFIX) and "__" in upper and upper not in known:
            raise ConfigFault(f"{name}: there is no such option{_or(upper, known)}")


def _or(word: str, known: Iterable[str] = tuple(_OPTIONS)) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


def _sentence(error: ErrorDetails, file: Path | None) -> str:
    section, option = str(error["loc"][0]), str(error["loc"][1])
    should = f"should be {_OPTIONS[section].model_fields[option].description}"
    variable = f"{_PREFIX}{section}__{option}".upper()
    if variable in {name.upper() for name in os.environ}:
        return f"{variable}: {should}"
    return f"{file}: {section}.{option}: {should}"
