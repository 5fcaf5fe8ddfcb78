"""User names as operators type them, and what they probably meant."""

from lalepass_service.core.errors import InvalidInput
from lalepass_service.core.identifiers import canonical_localpart


def localpart(typed: str) -> str:
    """Return a user name that is not obviously something else.

    Raises:
        InvalidInput: it is none; the text says what to type instead.
    """
    if typed.startswith("@"):
        name = typed.removeprefix("@").partition(":")[0].lower()
        # A name that would be refused in its turn is no advice.
        canonical_localpart(name)
        raise InvalidInput(f"{typed} is a Matrix ID: give the user name alone, {name}")
    meant = canonical_localpart(typed.lower())
    if typed != meant:
        raise InvalidInput(f"user names are lower case: did you mean {meant}?")
    return meant
