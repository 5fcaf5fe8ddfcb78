"""The ways to write down a hash: what each looks like, and what it may cost.

Functions, since most of them differ in a digest or a name only; `formats` has the list. A maker is
a program that writes hashes down in its own way: several of them have the same hash.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_ARGON2_MEMORY_KIB: Final = 256 * 1024
MAX_ARGON2_ITERATIONS: Final = 16
MAX_ARGON2_LANES: Final = 16
"""What one check may cost, whoever made the record: enough for both recommendations of RFC 9106
but the 2 GiB one, and a bound for what an import of hostile records can do to the machine. What
several checks may take at a time is `available.foreign_memory_kib`."""

_MAX_SCRYPT_MEMORY: Final = MAX_ARGON2_MEMORY_KIB * 1024
_MAX_SCRYPT_WORK: Final = 1 << 22
"""N times r times p. Four times OWASP's strongest: about a second and a half."""

_LONGEST: Final = 512
"""Octets of a password, for hashes that take all of it in again in each of their rounds: whoever
guesses would choose what the guess costs. It is what PAM lets through (`PAM_MAX_RESP_SIZE`), and
takes three times what a short one does; 2048 octets take ten times."""

CRYPT_ALPHABET: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""Six bits a character, as crypt(3) and its kin have them."""

Costs = Mapping[str, int]


def _always(_: Costs) -> bool:
    return True


def _hardly_any(_: Costs) -> int:
    return 0


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
    memory_kib: Callable[[Costs], int] = _hardly_any
    """How much it takes while it is verified."""
    longest: int | None = None
    """How many octets of a password are hashed, where each round takes time with the length."""


_SALT: Final = "c2FsdHNhbHRzYWx0c2FsdA"
_B64: Final = r"[A-Za-z0-9+/]"
_AB64: Final = r"[A-Za-z0-9./]"
_H64: Final = r"[A-Za-z0-9./]"
_DJANGO_SALT: Final = r"(?P<salt>[A-Za-z0-9+/=._-]{1,128})"
_NUMBER: Final = r"[1-9][0-9]{0,9}"


def argon2(kind: str, *, version: str) -> Format:
    """Argon2's own way. `version` is a pattern; libsodium reads 127 characters."""
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
        memory_kib=lambda costs: costs["m"],
        sample=lambda costs: (
            f"$argon2{kind}$v=19$m={costs['m']},t={costs['t']},p={costs['p']}${_SALT}${'A' * 43}"
        ),
    )


def scrypt() -> tuple[Format, ...]:
    """Passlib's way to write it, Django's, and that of crypt(3) and libsodium."""
    salt, lanes = rf"\$(?P<salt>{_B64}{{2,128}})", {"r": (1, 64), "p": (1, 64)}
    passlib = rf"\$scrypt\$ln=(?P<ln>{_NUMBER}),r=(?P<r>{_NUMBER}),p=(?P<p>{_NUMBER})"
    django = rf"scrypt\$(?P<n>{_NUMBER})\${_DJANGO_SALT}\$(?P<r>{_NUMBER})\$(?P<p>{_NUMBER})"
    crypt = rf"\$7\$(?P<ln>{_H64})(?P<r>{_H64}{{5}})(?P<p>{_H64}{{5}})(?P<salt>{_H64}{{0,86}})"
    digest = rf"\$(?P<hash>{_B64}{{22,86}}"
    return (
        _scrypt(
            "passlib-scrypt", pattern=rf"{passlib}{salt}{digest})", bounds={"ln": (1, 20), **lanes}
        ),
        _scrypt(
            "django-scrypt",
            pattern=rf"{django}{digest}={{0,2}})",
            bounds={"n": (2, 1 << 20), **lanes},
        ),
        _scrypt(
            "crypt-scrypt",
            pattern=rf"{crypt}\$(?P<hash>{_H64}{{43}})",
            bounds={"ln": (1, 20), **lanes},
            costs=_crypt_numbers,
        ),
    )


def _crypt_numbers(parts: Mapping[str, str]) -> dict[str, int]:
    return {name: crypt_number(text) for name, text in parts.items()}


def crypt_number(text: str) -> int:
    """Read a number of six bits a character, the lowest first."""
    return sum(CRYPT_ALPHABET.index(each) << 6 * place for place, each in enumerate(text))


def _scrypt(
    maker: str,
    *,
    pattern: str,
    bounds: Mapping[str, tuple[int, int]],
    costs: Callable[[Mapping[str, str]], Costs] = _numbers,
) -> Format:
    def table(costs: Costs) -> int:
        return costs["n"] if "n" in costs else 1 << costs["ln"]

    def affordable(costs: Costs) -> bool:
        n = table(costs)
        # OpenSSL, too, wants a power of two, and less than 2^(128 r / 8) (RFC 7914, 6).
        power = n & (n - 1) == 0 and n < 1 << 16 * costs["r"]
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
        costs=costs,
        affordable=affordable,
        memory_kib=lambda costs: 128 * table(costs) * costs["r"] // 1024,
    )


def pbkdf2(digest: str, *, spelling: str, tags: str, length: int) -> tuple[Format, ...]:
    """Passlib's way to write it, Django's, and OpenLDAP's. The hash is as long as the digest.

    A longer one would cost a multiple of its rounds.
    """
    unpadded = -(-length * 8 // 6)
    rounds, salt = rf"(?P<rounds>{_NUMBER})\$", rf"(?P<salt>{_AB64}{{2,128}})"
    adapted = rf"{rounds}{salt}\$(?P<hash>{_AB64}{{{unpadded}}})"
    patterns = {
        "passlib": rf"\${spelling}\${adapted}",
        "django": rf"pbkdf2_{digest}\${rounds}{_DJANGO_SALT}\$(?P<hash>{_B64}{{{unpadded}}}=?=?)",
        "ldap": rf"\{{(?i:{tags})\}}{adapted}",
    }
    return tuple(
        Format(
            name=f"pbkdf2-{digest}",
            maker=f"{maker}-pbkdf2-{digest}",
            pattern=re.compile(pattern, re.ASCII),
            bounds={"rounds": (1, 5_000_000)},
            sample=lambda costs: f"${spelling}${costs['rounds']}${_SALT}${'A' * unpadded}",
        )
        for maker, pattern in patterns.items()
    )


def sha_crypt(name: str, *, number: int, length: int) -> Format:
    """crypt(3) with SHA-2. `length` is that of the hash as it is written."""
    return Format(
        name=name,
        maker=name,
        pattern=re.compile(
            rf"\${number}\$(?:rounds=(?P<rounds>{_NUMBER})\$)?{_H64}{{1,16}}\${_H64}{{{length}}}"
        ),
        bounds={"rounds": (1000, 1_000_000)},
        defaults={"rounds": "5000"},
        longest=_LONGEST,
        sample=lambda costs: f"${number}$rounds={costs['rounds']}$saltsaltsaltsalt${'.' * length}",
    )


def ldap(digest: str, *, tags: str, length: int) -> Format:
    """One round: the digest, then a salt of any length up to 64 bytes, both in one base64."""
    least, most = -(-length * 8 // 6), -(-(length + 64) * 8 // 6)
    return Format(
        name=f"ldap-{digest}",
        maker=f"ldap-{digest}",
        pattern=re.compile(
            rf"\{{(?:{tags})\}}(?P<hash>{_B64}{{{least},{most}}}={{0,2}})",
            re.IGNORECASE | re.ASCII,
        ),
        bounds={},
        sample=lambda _: f"{{{tags.partition('|')[0]}}}{'A' * (4 * -(-length // 3) + 8)}",
    )


def bcrypt() -> tuple[Format, ...]:
    """Of the password, and of its SHA-256: Django's way to write that, and the two of passlib."""
    inner = rf"\$2[aby]\$(?P<cost>[0-9]{{2}})\${_H64}{{53}}"
    halves = rf"\$(?P<salt>{_H64}{{22}})\$(?P<hash>{_H64}{{31}})"
    first = rf"\$bcrypt-sha256\$(?P<ident>2[ab]),(?P<cost>{_NUMBER}){halves}"
    second = rf"\$bcrypt-sha256\$v=2,t=(?P<ident>2b),r=(?P<cost>{_NUMBER}){halves}"
    sample = "$2b${cost:02}$" + "." * 53
    of_digest = "bcrypt_sha256$" + sample
    return (
        _bcrypt("bcrypt", maker="bcrypt", pattern=inner, sample=sample),
        _bcrypt(
            "bcrypt-sha256",
            maker="django-bcrypt-sha256",
            pattern=rf"bcrypt_sha256\$(?P<inner>{inner})",
            sample=of_digest,
        ),
        _bcrypt("bcrypt-sha256", maker="passlib-bcrypt-sha256-v1", pattern=first, sample=of_digest),
        _bcrypt(
            "bcrypt-sha256", maker="passlib-bcrypt-sha256-v2", pattern=second, sample=of_digest
        ),
    )


def _bcrypt(name: str, *, maker: str, pattern: str, sample: str) -> Format:
    return Format(
        name=name,
        maker=maker,
        pattern=re.compile(pattern),
        bounds={"cost": (4, 15)},
        sample=lambda costs: sample.format(cost=costs["cost"]),
    )


def md5_crypt(name: str, *, tag: str) -> Format:
    """A thousand rounds, always. `tag` is `1` for crypt(3), `apr1` for htpasswd."""
    return Format(
        name=name,
        maker=name,
        pattern=re.compile(rf"\${tag}\${_H64}{{0,8}}\${_H64}{{22}}"),
        bounds={},
        longest=_LONGEST,
        sample=lambda _: f"${tag}$saltsalt${'.' * 22}",
    )


def phpass() -> Format:
    """The one of PHP's older programs: `$P$`, and `$H$` in phpBB."""
    return Format(
        name="phpass",
        maker="phpass",
        pattern=re.compile(rf"\$[PH]\$(?P<log2>{_H64}){_H64}{{8}}{_H64}{{22}}"),
        bounds={"log2": (7, 20)},
        longest=_LONGEST,
        costs=_crypt_numbers,
        sample=lambda costs: f"$P${CRYPT_ALPHABET[costs['log2']]}saltsalt{'.' * 22}",
    )
