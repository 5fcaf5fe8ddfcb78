"""Which hash a stored record is of, and what it costs to verify, found out without running it.

Everything here is text: nothing is hashed, so a hostile record costs no more than a look. What
passes is within bounds that let one check take a few seconds and 256 MiB at the very most. What
several take together is for `admission` to bound.

A record's scheme is its hash with the cost, such as `bcrypt,cost=12`. Two records of one scheme
take the same time, which is what decoys need.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lalepass_service.adapters.hashing import kinds
from lalepass_service.adapters.hashing.kinds import Costs, Format
from lalepass_service.adapters.hashing.letters import readable
from lalepass_service.core.errors import UnreadableRecord
from lalepass_service.core.model import NormalForm, PasswordRecord

SYNAPSE: Final = "{SYNAPSE}"
"""In front of what Synapse made, which looks like any bcrypt: NFKC, then the pepper, then cut."""

_MAX_RECORD: Final = 512
"""The longest that is known, Django's scrypt, has less than half of it."""

FORMATS: Final = (
    kinds.argon2("id", version=r"v=19\$"),
    kinds.argon2("i", version=r"(?:v=(?:16|19)\$)?"),
    kinds.argon2("d", version=r"(?:v=(?:16|19)\$)?"),
    *kinds.bcrypt(),
    *kinds.scrypt(),
    *kinds.pbkdf2("sha1", spelling="pbkdf2", tags="PBKDF2|PBKDF2-SHA1", length=20),
    *kinds.pbkdf2("sha256", spelling="pbkdf2-sha256", tags="PBKDF2-SHA256", length=32),
    *kinds.pbkdf2("sha512", spelling="pbkdf2-sha512", tags="PBKDF2-SHA512", length=64),
    kinds.sha_crypt("sha256-crypt", number=5, length=43),
    kinds.sha_crypt("sha512-crypt", number=6, length=86),
    kinds.md5_crypt("md5-crypt", tag="1"),
    kinds.md5_crypt("apr1", tag="apr1"),
    kinds.ldap("sha1", tags="SSHA|SHA", length=20),
    kinds.ldap("sha256", tags="SSHA256|SHA256", length=32),
    kinds.ldap("sha512", tags="SSHA512|SHA512", length=64),
    kinds.phpass(),
)

_WRAPPINGS: Final = re.compile(
    # OpenLDAP's, around what crypt(3) or argon2 made; then Django's
    r"\{(?:CRYPT|ARGON2)\}(?=\$)|argon2(?=\$argon2)|bcrypt\$(?=\$2)",
    # Not without ASCII: the sign of Kelvin is a k otherwise, and the long s an s.
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A record whose format is known and whose cost is within the bounds."""

    format: Format
    text: str = field(repr=False)
    """Without what others have put around it, such as Django's `argon2` before `$argon2id`."""
    parts: Mapping[str, str] = field(repr=False)
    costs: Costs
    synapse: bool = False

    @property
    def scheme(self) -> str:
        """The hash with its cost."""
        name = f"synapse-{self.format.name}" if self.synapse else self.format.name
        return ",".join([name, *(f"{key}={value}" for key, value in self.costs.items())])

    @property
    def memory_kib(self) -> int:
        """How much memory it takes to verify it."""
        return self.format.memory_kib(self.costs)


def identify(text: str) -> Known:
    """Find out what a record is.

    Raises:
        UnreadableRecord: it is of no known format, or costs more than a check may cost.
    """
    if len(text) > _MAX_RECORD:
        raise UnreadableRecord("it is longer than any known hash")
    if not text.isascii():
        raise UnreadableRecord("it is of no known format")
    inner = text.removeprefix(SYNAPSE)
    synapse = inner != text
    if not synapse and (around := _WRAPPINGS.match(inner)):
        inner = inner[around.end() :]
    for each in FORMATS:
        if found := each.pattern.fullmatch(inner):
            return _within_bounds(each, found, synapse=synapse)
    raise UnreadableRecord("it is of no known format")


def _within_bounds(kind: Format, found: re.Match[str], *, synapse: bool) -> Known:
    if synapse and kind.name != "bcrypt":
        raise UnreadableRecord("Synapse makes bcrypt only")
    parts = {name: text for name, text in found.groupdict().items() if text is not None}
    stated = {name: parts.get(name) or kind.defaults[name] for name in kind.bounds}
    costs = kind.costs(stated)
    within = all(low <= costs[name] <= high for name, (low, high) in kind.bounds.items())
    if not (within and kind.affordable(costs)):
        raise UnreadableRecord("it costs more or less than a check may cost")
    return Known(format=kind, text=found.string, parts=parts, costs=costs, synapse=synapse)


def foreign(text: str, *, form: NormalForm, synapse: bool = False) -> PasswordRecord:
    """Return a record that another program made, as it is to be stored.

    Raises:
        UnreadableRecord: it is of no known format, costs more than a check may cost, or was cut off
            or changed in a way that no library would read.
    """
    if synapse and not text.startswith(SYNAPSE):
        text = SYNAPSE + text
    known = identify(text)
    if not readable(known.format.maker, text=known.text, parts=known.parts):
        raise UnreadableRecord("its salt or its hash was cut off or changed")
    form = NormalForm.NFKC if known.synapse else form
    return PasswordRecord(text, form=form, scheme=known.scheme)
