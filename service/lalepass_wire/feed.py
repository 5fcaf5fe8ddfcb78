"""The change feed, orders, and reports: what keeps a homeserver in step with the accounts.

`GET /v1/changes?after=<cursor>&wait=<seconds>&limit=<n>&orders=<bool>` answers with a `Changes`,
`GET /v1/locked?after=<localpart>&limit=<n>` with a `LockedPage`, `POST /v1/orders/acknowledge`
takes an `Acknowledgement` and `POST /v1/reports` a `Reports`; both answer with a `Done`. All of
them need the scope `feed`.

A change says how an account is now and not what was done to it: each account is in the feed once,
at the place of its newest change. So a follower may be away as long as it likes, and may see a
change twice. Whoever has no cursor reads the locked accounts first and then follows from the cursor
of their first page: what changes meanwhile comes in the feed again.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, field_validator

from lalepass_wire import limits
from lalepass_wire.models import Localpart, Source

Cursor = Annotated[str, StringConstraints(pattern=limits.CURSOR_PATTERN)]
"""Opaque to a caller. It belongs to one database: with another one's the answer is 410."""

DeviceId = Annotated[str, StringConstraints(min_length=1, max_length=limits.MAX_DEVICE_ID_LENGTH)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class AccountState(StrEnum):
    """Whether an account may be used."""

    ACTIVE = "active"
    DISABLED = "disabled"
    # gone for good: nothing else is known of it any more
    DELETED = "deleted"


class Account(_Answer):
    """An account as it is now."""

    id: str = Field(min_length=1, max_length=64)
    """Stable for the life of the account; another one of the same name has another id."""
    localpart: Localpart
    state: AccountState
    display_name: str | None = None
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    admin: bool = False

    @field_validator("state", mode="before")
    @classmethod
    def _unknown_state(cls, value: object) -> object:
        # A newer service may know more states. Whatever it is, it is not active.
        return value if value in list(AccountState) else AccountState.DISABLED

    @property
    def locked(self) -> bool:
        """Whether nobody may use the account."""
        return self.state is not AccountState.ACTIVE


class SignOut(_Answer):
    """An order: every session of this account that is older than the order has to end.

    It is repeated with each answer until it is acknowledged; every token name does so for itself.
    Of more than `limits.MAX_ORDERS`, each answer has the next ones, and the first again after the
    last. Nobody is kept waiting while there is one: who can't carry it out pauses before asking
    again.
    """

    id: str = Field(min_length=1, max_length=64)
    account_id: str = Field(min_length=1, max_length=64)
    localpart: Localpart
    age_seconds: float = Field(ge=0)
    """How long ago it was given, by the service's clock: the clocks need not agree."""


class Changes(_Answer):
    """What has changed since the cursor, the oldest first; nothing if the wait was in vain."""

    cursor: Cursor
    """Behind the last of these."""
    accounts: tuple[Account, ...] = Field(default=(), max_length=limits.MAX_CHANGES)
    more: bool = False
    """There are more: ask again without waiting."""
    sign_outs: tuple[SignOut, ...] = Field(default=(), max_length=limits.MAX_ORDERS)
    """Orders that this caller has not acknowledged, if it asked for them."""


class LockedPage(_Answer):
    """Accounts that are not active, in the order of their localparts."""

    cursor: Cursor
    """The end of the feed before this page was read."""
    localparts: tuple[Localpart, ...] = Field(default=(), max_length=limits.MAX_LOCKED_PAGE)
    more: bool = False


class Acknowledgement(_Request):
    """These orders are carried out."""

    orders: tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] = Field(
        min_length=1, max_length=limits.MAX_ORDERS
    )


class ReportKind(StrEnum):
    """What happened on the homeserver."""

    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"


class Report(_Request):
    """One thing that happened. Sent again after a failure, it is recognised by its id."""

    id: Annotated[str, StringConstraints(pattern=limits.REPORT_ID_PATTERN)]
    kind: ReportKind
    localpart: Localpart
    device_id: DeviceId | None = None
    # Strict: else a number would do, of seconds or of milliseconds as its size suggests.
    at: Annotated[AwareDatetime, Field(strict=True)]
    source: Source | None = None


class Reports(_Request):
    """A batch."""

    reports: tuple[Report, ...] = Field(min_length=1, max_length=limits.MAX_REPORTS)


class Done(_Answer):
    """It is written down."""

    result: Literal["done"] = "done"
