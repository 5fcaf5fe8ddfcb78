"""What Lalepass wants a profile to be, and what is different from it now."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lalepass_provider.identity import is_storable, threepid_identifier
from lalepass_provider.tables import Profile
from lalepass_wire import EmailIdentifier, limits

logger = logging.getLogger(__name__)


class Person(Protocol):
    """What the service says of somebody, in the answer to a check or in the change feed."""

    @property
    def id(self) -> str:
        """Stable for the life of the account at Lalepass."""
        ...

    @property
    def localpart(self) -> str:
        """Their name, in lower case."""
        ...

    @property
    def display_name(self) -> str | None:
        """None for nothing said."""
        ...

    @property
    def emails(self) -> Sequence[str]:
        """Addresses, in any case."""
        ...

    @property
    def phones(self) -> Sequence[str]:
        """Numbers, E.164 without the plus."""
        ...

    @property
    def admin(self) -> bool:
        """Whether this is an administrator."""
        ...


def acceptable_name(person: Person) -> str | None:
    """Return the display name if a homeserver can keep it; PostgreSQL, for one, takes no NUL."""
    name = (person.display_name or "").strip()
    if not name or len(name) > limits.MAX_DISPLAY_NAME_LENGTH or not is_storable(name):
        return None
    return name


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A profile as the service says it, in the spelling of the homeserver."""

    display_name: str | None
    emails: frozenset[str]
    phones: frozenset[str]
    admin: bool

    @classmethod
    def by(cls, person: Person) -> "Wanted":
        """Read it off what the service says. What is no address is left out, with a WARNING."""
        return cls(
            display_name=acceptable_name(person),
            emails=_addresses("email", person.emails),
            phones=_addresses("msisdn", person.phones),
            admin=person.admin,
        )

    def differs(self, part: str, now: Profile) -> bool:
        """Say whether something has to be written about a part, by its name in the policy."""
        if part == "display_name":
            kept = now.kept.get(part, frozenset())
            if self.display_name is None:
                return bool(kept)
            return self.display_name != now.display_name or kept != {self.display_name}
        if part == "admin":
            kept = now.kept.get(part, frozenset())
            return not (now.admin and kept) if self.admin else bool(kept)
        medium, wanted = ("email", self.emails) if part == "emails" else ("msisdn", self.phones)
        kept = now.kept.get(medium, frozenset())
        return kept != wanted or not wanted <= now.addresses.get(medium, frozenset())


def _addresses(medium: str, said: Sequence[str]) -> frozenset[str]:
    return frozenset(address for text in said if (address := _canonical(medium, text)) is not None)


def _canonical(medium: str, text: str) -> str | None:
    identifier = threepid_identifier(medium, text)
    if identifier is None:
        logger.warning("Lalepass names an address of kind %s that is none", medium)
        return None
    return identifier.address if isinstance(identifier, EmailIdentifier) else identifier.number
