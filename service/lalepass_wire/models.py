"""Requests and answers: `POST /v1/credentials/check`, `GET /v1/caller`.

Requests are strict: an unknown field is a mistake of the caller and is refused. Answers are
tolerant: a newer service may add fields and reasons that an older caller does not know.
No model here shows a secret in its `repr` or in a validation error.
"""

from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    field_serializer,
    field_validator,
)
from pydantic.config import JsonDict

from lalepass_wire import limits

Localpart = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=limits.MAX_LOCALPART_LENGTH,
        pattern=limits.LOCALPART_PATTERN,
    ),
]
Email = Annotated[
    str,
    StringConstraints(
        min_length=3, max_length=limits.MAX_EMAIL_LENGTH, pattern=limits.EMAIL_PATTERN
    ),
]
Phone = Annotated[str, StringConstraints(pattern=limits.PHONE_PATTERN)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


def _require_the_kind(schema: JsonDict) -> None:
    # It has a default for who makes one in Python. On the wire it says which of the three it is.
    schema["required"] = sorted({"kind", *schema["required"]})  # type: ignore[misc] # its type is any JSON


class _Identifier(_Request):
    model_config = ConfigDict(json_schema_extra=_require_the_kind)


class UserIdentifier(_Identifier):
    """An account by its localpart: lower case, without `@` and without a server name."""

    kind: Literal["user"] = "user"
    localpart: Localpart


class EmailIdentifier(_Identifier):
    """An account by one of its e-mail addresses. The service compares without regard to case."""

    kind: Literal["email"] = "email"
    address: Email


class PhoneIdentifier(_Identifier):
    """An account by one of its phone numbers: E.164 digits without the `+`."""

    kind: Literal["phone"] = "phone"
    number: Phone


Identifier = Annotated[
    UserIdentifier | EmailIdentifier | PhoneIdentifier, Field(discriminator="kind")
]


_IP_SCHEMA: Final = Field(
    max_length=45, json_schema_extra={"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
)


def _ip_address(text: str) -> str:
    address = ip_address(text)
    if getattr(address, "scope_id", None):
        raise ValueError("a scope means something on one machine only, and may be any text")
    return str(address)


class Source(_Request):
    """Where the person sits who typed the password, as far as the caller knows it."""

    ip: Annotated[str, AfterValidator(_ip_address), _IP_SCHEMA] | None = None
    user_agent: (
        Annotated[str, StringConstraints(max_length=limits.MAX_USER_AGENT_LENGTH)] | None
    ) = None


class CheckRequest(_Request):
    """Is this the password of this account?

    Example: `{"identifier": {"kind": "user", "localpart": "alice"}, "password": "...",
    "source": {"ip": "192.0.2.7", "user_agent": "Element/1.11"}}`.
    """

    identifier: Identifier
    password: SecretStr = Field(
        min_length=1,
        max_length=limits.MAX_PASSWORD_LENGTH,
        json_schema_extra={"pattern": r"^[^\u0000]*$"},
    )
    source: Source | None = None

    @field_validator("password")
    @classmethod
    def _no_nul(cls, value: SecretStr) -> SecretStr:
        # Hash functions written in C stop at a NUL: "a\0b" would open what "a" opens.
        if "\0" in value.get_secret_value():
            message = "a password has no NUL character"
            raise ValueError(message)
        return value

    @field_serializer("password", when_used="json")
    def _reveal(self, value: SecretStr) -> str:
        # The one place where a password leaves its wrapper: the body of the request itself.
        return value.get_secret_value()


class RefusalReason(StrEnum):
    """Why a check was refused, as far as a caller may know.

    Everything but `CREDENTIALS` is said only after the right password.
    """

    # wrong password, no such account, no password set: deliberately one reason
    CREDENTIALS = "credentials"
    # the password is right, the account is disabled
    DISABLED = "disabled"
    # the password is right, and good for choosing another one only
    PASSWORD_CHANGE_REQUIRED = "password_change_required"  # noqa: S105 - the name of a reason


class AcceptedUser(_Answer):
    """The account behind an accepted check."""

    id: str = Field(min_length=1, max_length=64)
    """Stable for the life of the account, whatever it is renamed to."""
    localpart: Localpart
    display_name: str | None = None
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    admin: bool = False


class Accepted(_Answer):
    """The password is right and the account may be used."""

    result: Literal["accepted"] = "accepted"
    user: AcceptedUser


class Refused(_Answer):
    """No. Also an answer, also HTTP 200."""

    result: Literal["refused"] = "refused"
    reason: RefusalReason = RefusalReason.CREDENTIALS

    @field_validator("reason", mode="before")
    @classmethod
    def _unknown_reason(cls, value: object) -> object:
        # A newer service may know more reasons. What they share is the refusal.
        return value if value in list(RefusalReason) else RefusalReason.CREDENTIALS


CheckAnswer = Annotated[Accepted | Refused, Field(discriminator="result")]

_ANSWER: TypeAdapter[Accepted | Refused] = TypeAdapter(CheckAnswer)


def parse_answer(body: bytes) -> Accepted | Refused:
    """Read the body of a 200 answer.

    Raises:
        pydantic.ValidationError: the body is not an answer of this contract. Its text does not
            repeat the input.
    """
    return _ANSWER.validate_json(body)


class CallerFacts(_Answer):
    """Whom the service takes a caller for: the answer to `GET /v1/caller`.

    Example: `{"name": "my-homeserver", "scopes": ["check"], "service_version": "0.1.0",
    "server_time": "2026-11-23T08:28:10Z"}`.
    """

    name: str = Field(min_length=1, max_length=64)
    """Of the token: what it was called when it was made."""
    scopes: tuple[str, ...]
    """What the token is good for. A newer service may know scopes that an older caller does not."""
    service_version: str = Field(min_length=1, max_length=64)
    server_time: AwareDatetime
    """The service's clock."""


def parse_caller(body: bytes) -> CallerFacts:
    """Read the body of a 200 answer to `GET /v1/caller`.

    Raises:
        pydantic.ValidationError: the body is not an answer of this contract.
    """
    return CallerFacts.model_validate_json(body)
