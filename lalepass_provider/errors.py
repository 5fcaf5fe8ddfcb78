"""Why there was no answer. Never to be mixed up with a refusal, which is a value.

    NoAnswer
    ├── Unreachable      not connected, cut off, too slow, or answered 5xx
    ├── Overloaded       the service (or this process) has more checks than it can do
    ├── Throttled        the service wants this account, source or caller to wait
    ├── CallerRejected   our token is not accepted: an operator has to act
    │   └── ScopeMissing it is, but not for this
    ├── CursorUnknown    the feed that we have followed is not this one: begin anew
    └── ContractBroken   something answered that is not a Lalepass service we understand

The texts are for the operator's log. They hold no secret and nothing that a person typed.
"""


class NoAnswer(Exception):
    """The check could not be made, so nobody knows whether the password is right."""

    def __init__(self, why: str, *, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after
        """Seconds after which another try makes sense, if the service said so."""


class Unreachable(NoAnswer):
    """The service did not answer in time, or at all."""


class Overloaded(NoAnswer):
    """There are more checks under way than can be done in time."""


class Throttled(NoAnswer):
    """The service asks to wait."""


class CallerRejected(NoAnswer):
    """The service does not accept our token."""


class ScopeMissing(CallerRejected):
    """The service accepts our token, but not for this."""


class CursorUnknown(NoAnswer):
    """The place in the change feed is of another database, or of one that was restored."""


class ContractBroken(NoAnswer):
    """The answer makes no sense."""
