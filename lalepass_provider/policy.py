"""What an operator may decide: who is not asked about, whose account is taken, what is in step.

Plain values without Synapse and without configuration files, so that each part can be handed its
own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lalepass_wire import limits

_PATTERN: Final = re.compile(r"[a-z0-9._=\-/+*]+")


class Unavailable(StrEnum):
    """What becomes of a login when there is no answer."""

    # the person is told that the password could not be checked
    ERROR = "error"
    # the homeserver's own database is asked; who is not in it is told "wrong password"
    TRY_LOCAL = "try_local"


class LinkExisting(StrEnum):
    """Which accounts that were there before Lalepass become those of its users of the same name."""

    NEVER = "never"
    # those that nobody else can log in to, with a password of the homeserver's or by single sign-on
    IF_NO_PASSWORD = "if_no_password"  # noqa: S105 - the name of a policy
    ALWAYS = "always"


class Keep(StrEnum):
    """How long Lalepass decides about a part of the profile."""

    NEVER = "never"
    # once, when the account is made; then it is the person's
    ON_CREATE = "on_create"
    ALWAYS = "always"


@dataclass(frozen=True, kw_only=True)
class ProfilePolicy:
    """For each part of the profile, how long Lalepass decides about it."""

    display_name: Keep = Keep.ON_CREATE
    emails: Keep = Keep.ALWAYS
    phones: Keep = Keep.ALWAYS
    admin: Keep = Keep.NEVER

    def parts(self, keep: Keep) -> frozenset[str]:
        """Return the parts that Lalepass decides about for so long."""
        return frozenset(part for part in _PARTS if getattr(self, part) is keep)

    @property
    def needs_profile(self) -> bool:
        """Say whether a login has to know how the profile is."""
        return bool(_PARTS - self.parts(Keep.NEVER))


_PARTS: Final = frozenset({"display_name", "emails", "phones", "admin"})


class LocalUsers:
    """Accounts that are the homeserver's alone: break-glass administrators and bots.

    A pattern is a localpart in which `*` stands for any characters, none included. It matches the
    whole of a name. There is nothing to be quoted and nothing that could take long: each piece
    between two stars is searched once.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
        self._pieces = tuple(pattern.split("*") for pattern in patterns if "*" in pattern)

    def __bool__(self) -> bool:
        return bool(self._exact or self._pieces)

    def match(self, localpart: str) -> bool:
        """Say whether the name is one of them. Capitals count as lower case."""
        name = localpart.lower()
        return name in self._exact or any(_fits(name, pieces) for pieces in self._pieces)

    def match_mxid(self, mxid: str) -> bool:
        """Say whether an account of this server is one of them."""
        return self.match(mxid.removeprefix("@").partition(":")[0])


def check_pattern(pattern: str) -> str:
    """Return the pattern.

    Raises:
        ValueError: it could not match any localpart, or would match each.
    """
    if not _PATTERN.fullmatch(pattern) or len(pattern) > limits.MAX_LOCALPART_LENGTH:
        raise ValueError(
            "is a localpart such as admin, in lower case and without @ and server name,"
            " in which * stands for any characters"
        )
    if not pattern.strip("*"):
        raise ValueError("matches everybody, so that nobody would be asked about")
    return pattern


def _fits(name: str, pieces: Sequence[str]) -> bool:
    first, *middle, last = pieces
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    # The leftmost place is always good enough: it leaves the most to those that follow.
    place, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True
