"""Which hash a stored record is of, and what it costs to verify, found out without running it.

Everything here is text: nothing is hashed, so a hostile record costs no more than a look. What
passes is within bounds that let one check take a few seconds and 256 MiB at the very most.

A record's scheme is its hash with the cost, such as `bcrypt,cost=12`. Two records of one scheme
take the same time, which is what decoys need.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from lalepass_service.core.errors import UnreadableRecord
from lalepass_service.core.model import NormalForm, PasswordRecord

MAX_ARGON2_MEMORY_KIB: Final = 256 * 1024
MAX_ARGON2_ITERATIONS: Final = 16
MAX_ARGON2_LANES: Final = 16
"""What one check may cost, whoever made the record: enough for both recommendations of RFC 9106
but the 2 GiB one, and a bound for what an import of hostile records can do to the machine."""

SYNAPSE: Final = "{SYNAPSE}"
"""In front of what Synapse made, which looks like any bcrypt: NFKC, then the pepper, then cut."""

_MAX_RECORD: Final = 512
"""The longest that is known, Django's scrypt, has less than half of it."""

_MAX_SCRYPT_MEMORY: Final = 256 * 1024 * 1024
_MAX_SCRYPT_WORK: Final = 1 << 22
"""N times r times p. Four times OWASP's strongest: about a second and a half."""

PHPASS_ALPHABET: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

Costs = Mapping[str, int]


def _always(_: Costs) -> bool:
    return True


def _numbers(parts: Mapping[str, str]) -> dict[str, int]:
    return {name: int(text) for name, text in parts.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write down a hash."""

    name: str
    maker: str
    """Which function verifies it: `verifiers.VERIFIERS`."""
    pattern: re.Pattern[str]
    bounds: Mapping[str, tuple[int, int]]
    """The named groups of the pattern that are costs, with the least and the most of each."""
    sample: Callable[[Costs], str]
    """Makes a record that no password is right for."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """What a cost is that may be left out."""
    costs: Callable[[Mapping[str, str]], Costs] = _numbers
    affordable: Callable[[Costs], bool] = _always
    """What the bounds can't say because it takes two costs together."""


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


_SALT: Final = "c2FsdHNhbHRzYWx0c2FsdA"
_B64: Final = r"[A-Za-z0-9+/]"
_AB64: Final = r"[A-Za-z0-9./]"
_H64: Final = r"[A-Za-z0-9./]"
_DJANGO_SALT: Final = r"(?P<salt>[A-Za-z0-9+/=._-]{1,128})"
_NUMBER: Final = r"[1-9][0-9]{0,9}"


def _argon2(kind: str, version: str) -> Format:
    # libsodium reads 127 characters.
    return Format(
        name=f"argon2{kind}",
        maker=f"argon2{kind}",
        pattern=re.compile(
            rf"(?=.{{1,127}}\Z)\$argon2{kind}\${version}m=(?P<m>{_NUMBER}),t=(?P<t>{_NUMBER}),p=(?P<p>{_NUMBER})"
            rf"\${_B64}{{11,64}}\${_B64}{{22,86}}"
        ),
        bounds={
            "m": (8, MAX_ARGON2_MEMORY_KIB),
            "t": (1, MAX_ARGON2_ITERATIONS),
            "p": (1, MAX_ARGON2_LANES),
        },
        affordable=lambda costs: costs["m"] >= 8 * costs["p"],
        sample=lambda costs: (
            f"$argon2{kind}$v=19$m={costs['m']},t={costs['t']},p={costs['p']}${_SALT}${'A' * 43}"
        ),
    )


def _scrypt(maker: str, pattern: str, bounds: Mapping[str, tuple[int, int]]) -> Format:
    def affordable(costs: Costs) -> bool:
        n = costs["n"] if "n" in costs else 1 << costs["ln"]
        # OpenSSL, too, wants a power of two.
        power = n & (n - 1) == 0
        memory, work = 128 * n * costs["r"], n * costs["r"] * costs["p"]
        return power and memory <= _MAX_SCRYPT_MEMORY and work <= _MAX_SCRYPT_WORK

    def sample(costs: Costs) -> str:
        ln = costs["ln"] if "ln" in costs else costs["n"].bit_length() - 1
        return f"$scrypt$ln={ln},r={costs['r']},p={costs['p']}${_SALT}${'A' * 43}"

    return Format(
        name="scrypt",
        maker=maker,
        pattern=re.compile(pattern),
        bounds=bounds,
        sample=sample,
        affordable=affordable,
    )


def _pbkdf2(digest: str, spelling: str, length: int) -> tuple[Format, Format]:
    """Passlib's way to write it and Django's. The hash is never longer than the digest.

    A longer one would cost a multiple of its rounds.
    """
    name, bounds = f"pbkdf2-{digest}", {"rounds": (1, 5_000_000)}
    unpadded = -(-length * 8 // 6)
    rounds = rf"\$(?P<rounds>{_NUMBER})\$"

    def sample(costs: Costs) -> str:
        return f"${spelling}${costs['rounds']}${_SALT}${'A' * unpadded}"

    passlib = rf"\${spelling}{rounds}(?P<salt>{_AB64}{{2,128}})\$(?P<hash>{_AB64}{{{unpadded}}})"
    django = rf"pbkdf2_{digest}{rounds}{_DJANGO_SALT}\$(?P<hash>{_B64}{{{unpadded}}}=?=?)"
    return (
        Format(
            name=name,
            maker=f"passlib-{name}",
            pattern=re.compile(passlib),
            bounds=bounds,
            sample=sample,
        ),
        Format(
            name=name,
            maker=f"django-{name}",
            pattern=re.compile(django),
            bounds=bounds,
            sample=sample,
        ),
    )


def _sha_crypt(name: str, number: int, length: int) -> Format:
    return Format(
        name=name,
        maker=name,
        pattern=re.compile(
            rf"\${number}\$(?:rounds=(?P<rounds>{_NUMBER})\$)?{_H64}{{1,16}}\${_H64}{{{length}}}"
        ),
        bounds={"rounds": (1000, 1_000_000)},
        defaults={"rounds": "5000"},
        sample=lambda costs: f"${number}$rounds={costs['rounds']}$saltsaltsaltsalt${'.' * length}",
    )


def _ldap(digest: str, tags: str, length: int) -> Format:
    # The digest, then a salt of any length up to 64 bytes.
    least, most = -(-length * 8 // 6), -(-(length + 64) * 8 // 6)
    return Format(
        name=f"ldap-{digest}",
        maker=f"ldap-{digest}",
        pattern=re.compile(
            rf"\{{(?:{tags})\}}(?P<hash>{_B64}{{{least},{most}}}={{0,2}})", re.IGNORECASE
        ),
        bounds={},
        sample=lambda _: f"{{{tags.partition('|')[0]}}}{'A' * (4 * -(-length // 3) + 8)}",
    )


_BCRYPT: Final = rf"\$2[aby]\$(?P<cost>[0-9]{{2}})\${_H64}{{53}}"
_BCRYPT_BOUNDS: Final = {"cost": (4, 15)}

FORMATS: Final = (
    _argon2("id", r"v=19\$"),
    _argon2("i", r"(?:v=(?:16|19)\$)?"),
    _argon2("d", r"(?:v=(?:16|19)\$)?"),
    Format(
        name="bcrypt",
        maker="bcrypt",
        pattern=re.compile(_BCRYPT),
        bounds=_BCRYPT_BOUNDS,
        sample=lambda costs: f"$2b${costs['cost']:02}${'.' * 53}",
    ),
    Format(
        name="bcrypt-sha256",
        maker="bcrypt-sha256",
        pattern=re.compile(rf"bcrypt_sha256\$(?P<inner>{_BCRYPT})"),
        bounds=_BCRYPT_BOUNDS,
        sample=lambda costs: f"bcrypt_sha256$$2b${costs['cost']:02}${'.' * 53}",
    ),
    _scrypt(
        "passlib-scrypt",
        rf"\$scrypt\$ln=(?P<ln>{_NUMBER}),r=(?P<r>{_NUMBER}),p=(?P<p>{_NUMBER})"
        rf"\$(?P<salt>{_B64}{{2,128}})\$(?P<hash>{_B64}{{22,86}})",
        {"ln": (1, 20), "r": (1, 64), "p": (1, 64)},
    ),
    _scrypt(
        "django-scrypt",
        rf"scrypt\$(?P<n>{_NUMBER})\${_DJANGO_SALT}\$(?P<r>{_NUMBER})\$(?P<p>{_NUMBER})"
        rf"\$(?P<hash>{_B64}{{22,86}}={{0,2}})",
        {"n": (2, 1 << 20), "r": (1, 64), "p": (1, 64)},
    ),
    *_pbkdf2("sha1", "pbkdf2", 20),
    *_pbkdf2("sha256", "pbkdf2-sha256", 32),
    *_pbkdf2("sha512", "pbkdf2-sha512", 64),
    _sha_crypt("sha256-crypt", 5, 43),
    _sha_crypt("sha512-crypt", 6, 86),
    _ldap("sha1", "SSHA|SHA", 20),
    _ldap("sha256", "SSHA256|SHA256", 32),
    _ldap("sha512", "SSHA512|SHA512", 64),
    Format(
        name="phpass",
        maker="phpass",
        pattern=re.compile(rf"\$[PH]\$(?P<log2>{_H64}){_H64}{{8}}{_H64}{{22}}"),
        bounds={"log2": (7, 20)},
        costs=lambda parts: {"log2": PHPASS_ALPHABET.index(parts["log2"])},
        sample=lambda costs: f"$P${PHPASS_ALPHABET[costs['log2']]}saltsalt{'.' * 22}",
    ),
)

_WRAPPINGS: Final = re.compile(
    # OpenLDAP's, around what crypt(3) or argon2 made; then Django's
    r"\{(?:CRYPT|ARGON2)\}(?=\$)|argon2(?=\$argon2)|bcrypt\$(?=\$2)",
    re.IGNORECASE,
)


def identify(text: str) -> Known:
    """Find out what a record is.

    Raises:
        UnreadableRecord: it is of no known format, or costs more than a check may cost.
    """
    if len(text) > _MAX_RECORD:
        raise UnreadableRecord("it is longer than any known hash")
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
        UnreadableRecord: it is of no known format, or costs more than a check may cost.
    """
    if synapse and not text.startswith(SYNAPSE):
        text = SYNAPSE + text
    known = identify(text)
    form = NormalForm.NFKC if known.synapse else form
    return PasswordRecord(text, form=form, scheme=known.scheme)
