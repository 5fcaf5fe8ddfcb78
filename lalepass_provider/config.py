"""The `config:` of the module in `homeserver.yaml`. What it does not know, it refuses."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from synapse.module_api.errors import ConfigError

from lalepass_provider.policy import (
    Keep,
    LinkExisting,
    ProfilePolicy,
    Unavailable,
    check_pattern,
)

_MAX_TOKEN_FILE_BYTES: Final = 4096
_TOKEN_PATTERN: Final = r"^[A-Za-z0-9._~+/=\-]{16,512}$"  # noqa: S105 - its shape: RFC 6750, b64token


_SENTENCES: Final[Mapping[str, str]] = {
    "extra_forbidden": "there is no such option",
    "missing": "this option is needed",
    "string_type": "should be text",
    "bool_type": "should be true or false",
    "list_type": "should be a list, each entry behind a dash",
    "model_type": "should be options, each on a line of its own",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "int_parsing": "should be a whole number",
    "float_type": "should be a number of seconds",
    "float_parsing": "should be a number of seconds, without a unit",
    "model_attributes_type": "should be options, each on a line of its own",
    "invalid_key": "the names of options are text",
}
"""By pydantic's name of the error. What is not here has a readable text of its own."""


_Keep = Annotated[Keep, Field(strict=False)]


class ProfileOptions(BaseModel):
    """For each part of the profile, how long Lalepass decides about it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    display_name: _Keep = Keep.ON_CREATE
    """The name that people see. `always` sets it back when the person changes it."""

    emails: _Keep = Keep.ALWAYS
    """Addresses, for mails about new messages. Logins by address need none of them."""

    phones: _Keep = Keep.ALWAYS
    """Phone numbers."""

    admin: _Keep = Keep.NEVER
    """Whether somebody administers the homeserver. Whoever rules Lalepass then rules Synapse."""

    def policy(self) -> ProfilePolicy:
        """Return the options as the other parts know them."""
        return ProfilePolicy(
            display_name=self.display_name,
            emails=self.emails,
            phones=self.phones,
            admin=self.admin,
        )


class ProviderConfig(BaseModel):
    """Every option, checked. Build it with `parse`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    url: str
    """Where the service is, such as `https://auth.example.org:8220`."""

    token: SecretStr | None = None
    """The token itself. `token_path` keeps it out of `homeserver.yaml`."""

    token_path: str | None = None
    """A file that holds the token and nothing else."""

    timeout: float = Field(default=5.0, ge=0.1, le=60.0, strict=False)
    """Seconds for one check, from the call to the last byte of the answer."""

    connect_timeout: float = Field(default=2.0, ge=0.1, le=60.0, strict=False)
    """Seconds of these for the connection."""

    max_in_flight: int = Field(default=512, ge=1, le=10_000)
    """Checks under way at the same time, in each Synapse process."""

    allow_plaintext: bool = False
    """Send passwords over plain http to another machine. Only inside a network you trust."""

    account_page: str | None = None
    """Where people change a password that has to be changed. They are told this address."""

    local_users: list[Annotated[str, AfterValidator(check_pattern)]] = Field(
        default=[], max_length=1000
    )
    """Localparts, with `*` for any characters, that are never sent out."""

    unavailable: Annotated[Unavailable, Field(strict=False)] = Unavailable.ERROR
    """What becomes of a login while Lalepass gives no answer."""

    link_existing: Annotated[LinkExisting, Field(strict=False)] = LinkExisting.IF_NO_PASSWORD
    """Which accounts that are there already may become those of Lalepass's users."""

    profile: ProfileOptions = ProfileOptions()
    """Which parts of the profile Lalepass decides about."""

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        if not re.fullmatch(r"https?://\S*", url):
            raise ValueError("begins with https:// or http:// and has no blanks")
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if not parts.hostname or port == 0:
            raise ValueError("needs a host, and a port from 1 to 65535 if any")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("has no user name, query or fragment")
        return url

    @field_validator("account_page")
    @classmethod
    def _a_page(cls, page: str | None) -> str | None:
        if page is not None and not re.fullmatch(r"https?://\S+", page):
            raise ValueError("begins with https:// or http:// and has no blanks")
        return page

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.token is None) == (self.token_path is None):
            raise ValueError("exactly one of token and token_path is needed")
        parts = urlsplit(self.url)
        if parts.scheme == "http" and not self.allow_plaintext and not _loopback(parts.hostname):
            raise ValueError(
                "url: plain http would show every password to the network;"
                " use https, or say allow_plaintext: true"
            )
        return self

    def bearer_token(self) -> SecretStr:
        """Return the token, from the file if there is one. Call it once, at start.

        Raises:
            ConfigError: the file can't be read or holds no token.
        """
        if self.token is not None:
            return _checked_token(self.token.get_secret_value(), option="token")
        path = Path(self.token_path or "")
        try:
            with path.open("rb") as file:
                raw = file.read(_MAX_TOKEN_FILE_BYTES)
        except OSError as exc:
            raise ConfigError(
                f"the file can't be read: {exc.strerror}", path=["token_path"]
            ) from None
        return _checked_token(raw.decode("utf-8", "replace").strip(), option="token_path")


def parse(raw: object) -> ProviderConfig:
    """Check the options as Synapse read them from YAML.

    Raises:
        ConfigError: says in one sentence which option is wrong and why, without its value.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError("should hold the options of the module")
    try:
        config = ProviderConfig.model_validate(dict(raw))
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        raise ConfigError(_sentence(first), path=list(map(_step, first["loc"]))) from None
    config.bearer_token()  # a missing file is found before the homeserver takes its port
    return config


def _step(part: str | int) -> str:
    # As Synapse counts: `modules.<item 0>.config.`, which comes before it.
    return f"<item {part}>" if isinstance(part, int) else part


def _sentence(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        # Not for options inside of others: their names are not known here.
        similar = get_close_matches(str(error["loc"][0]), ProviderConfig.model_fields, n=1)
        return _SENTENCES["extra_forbidden"] + "".join(f"; is it {name}?" for name in similar)
    said = _SENTENCES.get(error["type"], error["msg"].removeprefix("Value error, "))
    return said.removeprefix("Input ")


def _checked_token(text: str, *, option: str) -> SecretStr:
    if not re.fullmatch(_TOKEN_PATTERN.strip("^$"), text):
        raise ConfigError("this is no token: `lalepass token create` makes one", path=[option])
    return SecretStr(text)


def _loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False
