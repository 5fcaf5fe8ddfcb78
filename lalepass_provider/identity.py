"""From what a person typed to the account of this server that is meant, or to nobody.

Whatever is refused here never leaves the homeserver. Two spellings of one account become one
before the call, so that they share one budget of guesses.
"""

import re
from typing import Final

from lalepass_wire import EmailIdentifier, PhoneIdentifier, UserIdentifier, limits

_LOCALPART: Final = re.compile(limits.LOCALPART_PATTERN.removeprefix("^").removesuffix("$"))
_EMAIL: Final = re.compile(limits.EMAIL_PATTERN.removeprefix("^").removesuffix("$"))
_PHONE: Final = re.compile(limits.PHONE_PATTERN.removeprefix("^").removesuffix("$"))

# https://spec.matrix.org/v1.16/appendices/#user-identifiers
_MAX_MXID_BYTES: Final = 255


def user_identifier(typed: str, *, server_name: str) -> UserIdentifier | None:
    """Map a user name or an MXID to an account of this server.

    Capitals are folded, since historic MXIDs have them and people type them; only ASCII ones,
    because folding others would make two names into one (the Turkish dotless i, the Kelvin sign).
    The server name must be spelt exactly as this server spells it: Synapse would count failed
    logins of each other spelling by themselves (`handlers/auth.py`, validate_login).

    Returns:
        None for another server's MXID and for whatever can't be a localpart.
    """
    if len(typed) > _MAX_MXID_BYTES or not typed.isascii():
        return None
    localpart = typed
    if typed.startswith("@"):
        localpart, separator, domain = typed[1:].partition(":")
        if not separator or domain != server_name:
            return None
    localpart = localpart.lower()
    mxid_length = len(localpart) + len(server_name.encode()) + 2
    if not _LOCALPART.fullmatch(localpart) or mxid_length > _MAX_MXID_BYTES:
        return None
    return UserIdentifier(localpart=localpart)


def threepid_identifier(medium: str, address: str) -> EmailIdentifier | PhoneIdentifier | None:
    """Map a 3PID to the account that has it, which only the service knows.

    Returns:
        None for a medium that Lalepass does not know, and for whatever is no address or number.
    """
    if medium == "email":
        # As Synapse does (`util/threepids.py`): a domain's case is lowered and not folded, since
        # straße.de and strasse.de belong to different people.
        local, _, domain = address.partition("@")
        folded = f"{local.casefold()}@{domain.lower()}"
        if (
            len(folded) <= limits.MAX_EMAIL_LENGTH
            and _EMAIL.fullmatch(folded)
            and is_storable(folded)
        ):
            return EmailIdentifier(address=folded)
    if medium == "msisdn" and _PHONE.fullmatch(address):
        return PhoneIdentifier(number=address)
    return None


def can_be_password(text: str) -> bool:
    """Say whether this is worth a call: no known account can have any other password.

    Empty and blank ones are what an empty form sends. NUL and lone surrogates can't be typed,
    and hash functions treat them each in its own way.
    """
    return bool(text.strip()) and len(text) <= limits.MAX_PASSWORD_LENGTH and is_storable(text)


def is_storable(text: str) -> bool:
    """Say whether a database could hold this text: no NUL in it, and no lone surrogate."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
