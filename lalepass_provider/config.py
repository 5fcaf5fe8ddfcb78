"""The `config:` of the module in `homeserver.yaml`. What it does not know, it refuses."""

import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final, Self

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

from lalepass_provider import addresses
from lalepass_provider.files import FileFault, Fixed, Held, Watched
from lalepass_provider.policy import (
    Keep,
    LinkExisting,
    ProfilePolicy,
    Unavailable,
    check_pattern,
)
from lalepass_provider.tls import ClientTls, TlsFiles

_TOKEN_PATTERN: Final = r"[A-Za-z0-9._~+/=\-]{16,512}"  # noqa: S105 - its shape: RFC 6750, b64token


_SENTENCES: Final[Mapping[str, str]] = {
    "extra_forbidden": "there is no such option",
    "missing": "this option is needed",
    "too_short": "should have one entry or more",
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


class TlsOptions(BaseModel):
    """Files in the PEM form. They are read again when they change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    ca_path: str | None = None
    """Certificates of the authorities to trust, in place of those of the platform."""

    certificate_path: str | None = None
    """A certificate that the service asks for (mutual TLS), and those between it and its CA."""

    key_path: str | None = None
    """Its private key."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.certificate_path is None) != (self.key_path is None):
            raise ValueError("certificate_path and key_path come together")
        return self

    def files(self) -> TlsFiles:
        """Return the paths as such."""
        return TlsFiles(
            ca_path=_path(self.ca_path),
            certificate_path=_path(self.certificate_path),
            key_path=_path(self.key_path),
        )


class LifecycleOptions(BaseModel):
    """How the homeserver keeps in step with what becomes of the accounts."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    enabled: bool = True
    """Lock who is disabled, sign out who is to be, push changed profiles, report logins."""

    state_path: str | None = None
    """A file, made by the module: with it, a restarted homeserver knows who is locked before it
    reaches the service."""

    @field_validator("state_path")
    @classmethod
    def _a_place_for_a_file(cls, text: str | None) -> str | None:
        if text is None:
            return None
        path = Path(text)
        if not path.is_absolute():
            raise ValueError("is an absolute path")
        if path.is_dir() or not path.parent.is_dir():
            raise ValueError("is a file, in a folder that exists")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ValueError("is in a folder that can't be written to")
        return text


class ProviderConfig(BaseModel):
    """Every option, checked. Build it with `parse`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    url: str | None = None
    """Where the service is, such as `https://auth.example.org:8220`."""

    urls: list[Annotated[str, AfterValidator(addresses.checked)]] | None = Field(
        default=None, min_length=1, max_length=16
    )
    """Where its replicas are, in place of `url`. Any of them may be asked about anybody."""

    tls: TlsOptions = TlsOptions()
    """Whom to trust and who we are, for addresses with https."""

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

    lifecycle: LifecycleOptions = LifecycleOptions()
    """How the homeserver keeps in step with what becomes of the accounts."""

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        return None if url is None else addresses.checked(url)

    @field_validator("urls")
    @classmethod
    def _each_once(cls, urls: list[str] | None) -> list[str] | None:
        if urls and len(set(map(addresses.host_and_port, urls))) < len(urls):
            raise ValueError("names one host and port twice")
        return urls

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
        if (self.url is None) == (self.urls is None):
            raise ValueError("exactly one of url and urls is needed")
        if not self.allow_plaintext and any(map(addresses.shows_passwords, self.addresses)):
            raise ValueError(
                "url: plain http would show every password to the network;"
                " use https, or say allow_plaintext: true"
            )
        if self.tls != TlsOptions() and not any(url.startswith("https:") for url in self.addresses):
            raise ValueError("tls: there is no address with https")
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return where the service is: one address for each replica."""
        return tuple(self.urls or [self.url or ""])

    def bearer_token(self) -> Held[SecretStr]:
        """Return the token: what the file holds, also when it changes, if there is a file.

        Raises:
            ConfigError: the file can't be read or holds no token.
        """
        if self.token is not None:
            try:
                return Fixed(_checked_token(self.token.get_secret_value()))
            except ValueError as exc:
                raise ConfigError(str(exc), path=["token"]) from None
        try:
            return Watched([Path(self.token_path or "")], _token_in)
        except FileFault as exc:
            raise ConfigError(exc.why, path=["token_path"]) from None

    def client_tls(self) -> ClientTls:
        """Return how TLS is agreed on, also when its files change.

        Raises:
            ConfigError: a file can't be read or makes no sense.
        """
        files = self.tls.files()
        try:
            return ClientTls(files)
        except FileFault as exc:
            options = ("ca_path", "certificate_path", "key_path")
            option = next((name for name in options if getattr(files, name) == exc.path), "")
            raise ConfigError(exc.why, path=["tls", option]) from None


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
    # A missing file is found before the homeserver takes its port.
    config.bearer_token()
    config.client_tls()
    return config


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


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


def _token_in(contents: Sequence[bytes]) -> SecretStr:
    return _checked_token(contents[0].decode("utf-8", "replace").strip())


def _checked_token(text: str) -> SecretStr:
    if not re.fullmatch(_TOKEN_PATTERN, text):
        raise ValueError("this is no token: `lalepass token create` makes one")
    return SecretStr(text)
