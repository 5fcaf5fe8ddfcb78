"""What there is: users, passwords, callers. Values only; every one of them is frozen."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NewType, final

UserId = NewType("UserId", str)
"""A UUID as text. Stays the same whatever the account is renamed to."""

A_MOMENT: Final = timedelta(microseconds=1)
"""The least by which one time is later than another, in every store."""


@final
class Password:
    """A password that somebody typed. It has no print: `reveal` is the only way to the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text. Call it where it is hashed, and nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return "Password(...)"

    def __reduce__(self) -> str:
        raise TypeError("a password is not to be pickled")


class UserState(StrEnum):
    """Whether an account may be used."""

    ACTIVE = "active"
    # kept with its password, and refused everywhere
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account. All times are aware and in UTC."""

    id: UserId
    localpart: str
    display_name: str | None = None
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    state: UserState = UserState.ACTIVE
    admin: bool = False
    created_at: datetime
    password_changed_at: datetime | None = None
    """None: the account has no password and nobody can log in to it."""
    password_must_change: bool = False
    """The right password is good for choosing another one, and for nothing else."""
    password_expires_at: datetime | None = None
    """The end of a temporary password. Behind it, the account is one without a password."""
    password_scheme: str | None = field(default=None, compare=False)
    """Which hash its record is of, for operators: see `PasswordRecord.scheme`. Set when it is
    read."""
    unlocked_at: datetime | None = None
    """When an operator last forgot its wrong passwords: those that were made before count for
    nothing, whoever has counted them. It only grows."""

    def has_expired_password(self, now: datetime) -> bool:
        """Say whether the password was temporary and its time is over."""
        return self.password_expires_at is not None and now >= self.password_expires_at


class NormalForm(StrEnum):
    """What was done to the characters of a password before it was hashed."""

    # ours: keyboards differ in how they compose the same letter
    NFC = "nfc"
    # Synapse's
    NFKC = "nfkc"
    # most others': the bytes as they came
    NONE = "none"


OWN_SCHEME: Final = "argon2id"
"""What records are of that nobody said more about: ours, at our cost."""


@dataclass(frozen=True, slots=True)
class PasswordRecord:
    """What is stored of a password. Not printed, since it can be attacked offline.

    Ours is a PHC string, see https://github.com/P-H-C/phc-string-format.
    """

    phc: str = field(repr=False)
    """The record itself, unwrapped. Foreign formats are not all PHC strings."""
    form: NormalForm = NormalForm.NFC
    stored: str | None = field(default=None, repr=False, compare=False)
    """How the store holds it, wrapped perhaps: the old value in a compare-and-swap."""
    scheme: str = field(default=OWN_SCHEME, repr=False, compare=False)
    """Which hash, at which cost: records of one scheme take the same time. Told by the hasher,
    kept beside the record, and readable when that is wrapped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a check needs to know of an account, read in one go."""

    user: User
    record: PasswordRecord | None
    fault: str | None = None
    """Why there is no record although one is stored: what it was wrapped with does not open it."""


class Scope(StrEnum):
    """What a token is good for."""

    # ask whether a password is right
    CHECK = "check"
    # follow the change feed
    FEED = "feed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who may talk to the service: one token. Tokens of one name belong to one machine."""

    token_id: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    revoked_at: datetime | None = None
