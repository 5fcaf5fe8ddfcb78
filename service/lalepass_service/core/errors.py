"""What can go wrong, each named for the fact.

A refused password is no error: see `check.Refusal`. The texts are for operators, and none of them
holds a secret. What a caller over HTTP learns is decided in one table, `http/problems.py`.

    LalepassError
    ├── InvalidInput            the request itself is wrong
    │   └── PasswordRejected    a new password breaks a rule
    │       ├── PasswordTooShort
    │       ├── PasswordTooLong
    │       ├── PasswordUntypable
    │       ├── PasswordPersonal    made of the account's own words
    │       ├── PasswordCommon      on a list of this machine
    │       └── PasswordBreached    known to the range host
    ├── Conflict                it is at odds with what is stored
    │   ├── AlreadyTaken
    │   ├── NameRetired
    │   └── TooManyTokens
    ├── NotFound
    │   ├── UserNotFound
    │   └── TokenNotFound
    ├── CursorUnknown           a place in the feed of another database
    ├── CallerUnknown           no token, a wrong one, a revoked one
    ├── ScopeMissing            a good token, but not for this
    └── NoAnswer                the service could not find out
        ├── Overloaded
        ├── Throttled           the guess may be made, but not yet
        ├── Leaving             another replica should be asked
        ├── StoreUnavailable
        ├── UnreadableRecord
        ├── BlocklistUnavailable
        └── BreachRangeUnavailable
"""


class LalepassError(Exception):
    """Root of everything that the service raises on purpose."""


class InvalidInput(LalepassError):
    """Something that was given can't be what it should be; the message says what and why."""


class PasswordRejected(InvalidInput):
    """A new password breaks a rule; the message names the rule and never the password."""


class PasswordTooShort(PasswordRejected):
    """It has too few code points."""

    def __init__(self, min_length: int) -> None:
        super().__init__(f"a password must have at least {min_length} characters")


class PasswordTooLong(PasswordRejected):
    """It has too many code points."""

    def __init__(self, max_length: int) -> None:
        super().__init__(f"a password can have at most {max_length} characters")


class PasswordUntypable(PasswordRejected):
    """It has characters that no keyboard makes, or none that can be seen."""

    def __init__(self) -> None:
        super().__init__("a password can only contain characters that can be typed and seen")


class PasswordPersonal(PasswordRejected):
    """It is nothing but words of the account or of the service: see `words`."""

    def __init__(self) -> None:
        super().__init__(
            "this password is easy to guess: it is made of the name, an address or a number "
            "of the account, or of the name of the service"
        )


class PasswordCommon(PasswordRejected):
    """It is on a blocklist."""

    def __init__(self) -> None:
        super().__init__("this password is easy to guess: many people have chosen it before")


class PasswordBreached(PasswordRejected):
    """The range host knows it."""

    def __init__(self) -> None:
        super().__init__("this password has been stolen elsewhere, and is known to attackers")


class Conflict(LalepassError):
    """The change is at odds with what is stored."""


class AlreadyTaken(Conflict):
    """Another account has this localpart, e-mail address or phone number."""

    def __init__(self, what: str) -> None:
        super().__init__(f"another account has this {what}")
        self.what = what


class NameRetired(Conflict):
    """The localpart belonged to a deleted account.

    Its Matrix account, with rooms and history, is still on the homeserver: whoever gets the name
    gets those, too. So it is given out again only when the operator says so.
    """

    def __init__(self, localpart: str) -> None:
        super().__init__(f"the name {localpart} belonged to an account that was deleted")


class TooManyTokens(Conflict):
    """A caller has as many live tokens as a rotation needs."""

    def __init__(self, *, name: str, limit: int) -> None:
        super().__init__(f"{name} has {limit} live tokens already: revoke one first")


class NotFound(LalepassError):
    """There is nothing of this name."""


class UserNotFound(NotFound):
    """No account has this localpart. Only operators ever see this."""

    def __init__(self, localpart: str) -> None:
        super().__init__(f"there is no user {localpart}")


class TokenNotFound(NotFound):
    """No token has this id."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"there is no token {token_id}")


class CursorUnknown(LalepassError):
    """The cursor is of another database, or of a later state of this one: a backup was restored."""

    def __init__(self) -> None:
        super().__init__("the cursor is of another database")


class CallerUnknown(LalepassError):
    """The caller showed no token, or one that is unknown or revoked."""

    def __init__(self) -> None:
        super().__init__("this needs a valid token")


class ScopeMissing(LalepassError):
    """The caller is known and may not do this."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"the token lacks the scope {scope}")


class NoAnswer(LalepassError):
    """The service could not find out. Never the same as no."""


class Overloaded(NoAnswer):
    """More checks wait than can be answered in time."""

    def __init__(self, *, retry_after: float) -> None:
        super().__init__("too many checks are waiting")
        self.retry_after = retry_after
        """Seconds."""


class Throttled(NoAnswer):
    """This account, source or caller has to wait before the next guess."""

    def __init__(self, *, retry_after: float) -> None:
        super().__init__("too many tries")
        self.retry_after = retry_after
        """Seconds."""


class Leaving(NoAnswer):
    """The service is about to end."""

    def __init__(self) -> None:
        super().__init__("the service is about to end")


class StoreUnavailable(NoAnswer):
    """The database did not answer, or not in time."""

    def __init__(self) -> None:
        super().__init__("the database is not available")


class UnreadableRecord(NoAnswer):
    """A stored password hash is of no known form, or costs more than the service allows."""

    def __init__(self, why: str) -> None:
        super().__init__(f"a stored password can't be read: {why}")
        self.why = why


class BlocklistUnavailable(NoAnswer):
    """A blocklist is missing, damaged, or no blocklist at all."""

    def __init__(self, why: str) -> None:
        super().__init__(f"a blocklist can't be used: {why}")


class BreachRangeUnavailable(NoAnswer):
    """The range host did not answer, not in time, or not in its own language."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the host that knows breached passwords gave no answer: {why}")
