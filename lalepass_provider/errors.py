"""Why there was no answer. Never to be mixed up with a refusal, which is a value.

    NoAnswer
    ├── Unreachable      not connected, cut off, too slow, or answered 5xx
    │   ├── NotConnected nothing was sent
    │   ├── Lost         it ended before a byte of the answer had come
    │   ├── TooSlow      it did not come, or not to its end, in time
    │   └── Broken       an answer began that can't be used
    ├── Overloaded       the service (or this process) has more checks than it can do
    ├── Throttled        the service wants this account, source or caller to wait
    ├── CallerRejected   our token is not accepted: an operator has to act
    │   └── ScopeMissing it is, but not for this
    ├── CursorUnknown    the feed that we have followed is not this one: begin anew
    └── ContractBroken   something answered that is not a Lalepass service we understand
        └── NotServed    a Lalepass service that does not know, or not like this, what it was asked

The texts are for the operator's log. They hold no secret and nothing that a person typed.
"""

from typing import ClassVar


class NoAnswer(Exception):
    """The check could not be made, so nobody knows whether the password is right."""

    blames_endpoint: ClassVar[bool] = False
    """Whether another endpoint of the service may do better."""

    def __init__(self, why: str, *, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after
        """Seconds after which another try makes sense, if the service said so."""
        self.endpoint = ""
        """Which endpoint it was, host and port."""

    def __str__(self) -> str:
        why = super().__str__()
        return f"{self.endpoint}: {why}" if self.endpoint else why


class Unreachable(NoAnswer):
    """The service did not answer in time, or at all."""

    blames_endpoint = True


class NotConnected(Unreachable):
    """There was no connection, so nothing was sent. It costs nothing to ask somewhere else."""


class Lost(Unreachable):
    """The connection ended after the request was sent, before a byte of the answer had come."""


class TooSlow(Unreachable):
    """The request was sent, and time is up."""

    def __init__(self, why: str, *, begun: bool) -> None:
        super().__init__(why)
        self.begun = begun
        """Whether a part of the answer had come."""


class Broken(Unreachable):
    """An answer began, and was cut off, too long or no HTTP."""


class Overloaded(NoAnswer):
    """There are more checks under way than can be done in time."""


class Throttled(NoAnswer):
    """The service asks to wait."""


class CallerRejected(NoAnswer):
    """The service does not accept our token."""

    blames_endpoint = True


class ScopeMissing(CallerRejected):
    """The service accepts our token, but not for this."""

    blames_endpoint = False


class CursorUnknown(NoAnswer):
    """The place in the change feed is of another database, or of one that was restored."""


class ContractBroken(NoAnswer):
    """The answer makes no sense."""

    blames_endpoint = True


class NotServed(ContractBroken):
    """A Lalepass service has refused the request itself: it is of another version."""

    blames_endpoint = False
