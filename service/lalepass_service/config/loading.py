"""How the settings are found, read and checked."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import (
    BaseModel,
    ValidationError,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from lalepass_service.config.sections import (
    Audit,
    Check,
    Database,
    Hashing,
    Keys,
    Log,
    Passwords,
    Section,
    Server,
    Throttle,
    Valkey,
)
from lalepass_service.faults import ConfigFault

FILE_VARIABLE: Final = "LALEPASS_CONFIG"
_PREFIX: Final = "LALEPASS_"
_FALLBACKS: Final = (Path("lalepass.toml"), Path("/etc/lalepass/lalepass.toml"))


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
    check: Check = Check()
    passwords: Passwords = Passwords()
    throttle: Throttle = Throttle()
    valkey: Valkey = Valkey()
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
        if password := self.database.password_path:
            database = database.model_copy(update={"password_path": str(folder / password)})
        lists = tuple(folder / path for path in self.passwords.blocklists)
        valkey = {
            option: folder / path
            for option in ("password_path", "ca_path")
            if (path := getattr(self.valkey, option))
        }
        changed: dict[str, Section] = {
            "valkey": self.valkey.model_copy(update=valkey),
            "server": self._server_beside(folder),
            "database": database,
            "passwords": self.passwords.model_copy(update={"blocklists": lists}),
        }
        if self.keys.directory is not None:
            keys = folder / self.keys.directory
            changed["keys"] = self.keys.model_copy(update={"directory": keys})
        if self.audit.copy_path is not None:
            copy = folder / self.audit.copy_path
            changed["audit"] = self.audit.model_copy(update={"copy_path": copy})
        if pepper := self.hashing.synapse_pepper_path:
            path = str(folder / pepper)
            changed["hashing"] = self.hashing.model_copy(update={"synapse_pepper_path": path})
        return self.model_copy(update=changed)

    def _server_beside(self, folder: Path) -> Server:
        files = {
            option: str(folder / path)
            for option in ("tls_certificate", "tls_key", "tls_client_ca")
            if (path := getattr(self.server, option))
        }
        return self.server.model_copy(update=files)


_OPTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "server": Server,
    "database": Database,
    "keys": Keys,
    "hashing": Hashing,
    "check": Check,
    "passwords": Passwords,
    "throttle": Throttle,
    "valkey": Valkey,
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
    section, *rest = map(str, error["loc"])
    if not rest:
        # options that do not go together
        return f"{file}: {section}: {error['msg'].removeprefix('Value error, ')}"
    option = rest[0]
    should = f"should be {_OPTIONS[section].model_fields[option].description}"
    variable = f"{_PREFIX}{section}__{option}".upper()
    if variable in {name.upper() for name in os.environ}:
        return f"{variable}: {should}"
    return f"{file}: {section}.{option}: {should}"
