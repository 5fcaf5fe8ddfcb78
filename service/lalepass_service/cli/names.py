"""User names as operators type them, and what they probably meant."""

from lalepass_service.core.errors import InvalidInput
from lalepass_service.core.identifiers import canonical_localpart


def localpart(typed: str) -> str:
    """Return a user name that is not obviously something else.

    Raises:
        InvalidInput: it is none; the text says what to type instead.
    """
    if typed.startswith("@"):
        name = typed.removeprefix("@").partition(":")[0]
        raise InvalidInput(f"{typed} is a Matrix ID: give the user name alone, {name.lower()}")
    if typed != typed.lower():
        raise InvalidInput(f"user names are lower case: did you mean {typed.lower()}?")
    return canonical_localpart(typed)
