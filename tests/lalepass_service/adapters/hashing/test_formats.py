"""What a record is, and what it may cost, found out without running it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_service.adapters.hashing.decoys import decoy
from lalepass_service.adapters.hashing.formats import foreign, identify
from lalepass_service.adapters.hashing.verifiers import VERIFIERS
from lalepass_service.core.errors import UnreadableRecord
from lalepass_service.core.model import NormalForm
from tests.lalepass_service.adapters.hashing.golden import GOLDEN

BCRYPT = GOLDEN["mkpasswd, bcrypt"]
ARGON2I = GOLDEN["argon2-cffi, argon2i"]
SCRYPT = GOLDEN["passlib, scrypt"]
DJANGO_SCRYPT = GOLDEN["Django, scrypt"]
PBKDF2 = GOLDEN["passlib, pbkdf2-sha256"]
DJANGO_PBKDF2 = GOLDEN["Django, pbkdf2_sha256"]
CRYPT = GOLDEN["mkpasswd, sha512-crypt with rounds"]
CRYPT_SCRYPT = GOLDEN["libsodium, scrypt"]
BCRYPT_SHA256 = GOLDEN["passlib, bcrypt-sha256 version 2"]
LDAP_PBKDF2 = GOLDEN["slappasswd, PBKDF2-SHA256"]
MD5_CRYPT = GOLDEN["openssl, md5-crypt"]
PHPASS = GOLDEN["WordPress, phpass"]
SSHA = GOLDEN["slappasswd, SSHA"]
ARGON2ID = GOLDEN["Django, argon2"]

HOSTILE = {
    "nothing": "",
    "a plain text": "correct horse",
    "1 MB": BCRYPT + "A" * 1_000_000,
    "a NUL": BCRYPT[:20] + "\0" + BCRYPT[21:],
    "a line feed behind": BCRYPT + "\n",
    "beyond ASCII": BCRYPT[:-1] + "\u0665",
    "a lone surrogate": BCRYPT[:-1] + "\ud800",
    "a bcrypt that was cut off": BCRYPT[:-1],
    "a bcrypt of days": BCRYPT.replace("$05$", "$31$"),
    "a bcrypt above the bound": BCRYPT.replace("$05$", "$16$"),
    "a bcrypt below its own": BCRYPT.replace("$05$", "$03$"),
    "a bcrypt with the bug": BCRYPT.replace("$2b$", "$2x$"),
    "Synapse's, but no bcrypt": "{SYNAPSE}" + PHPASS,
    "Synapse's in a wrapping": "{SYNAPSE}{CRYPT}" + BCRYPT,
    "a wrapping twice": "{CRYPT}{CRYPT}" + CRYPT,
    "a wrapping of nothing": "{CRYPT}",
    "terabytes of argon2": ARGON2I.replace("m=64", "m=4294967295"),
    "a million iterations": ARGON2I.replace("t=3", "t=1000000"),
    "seventeen lanes": ARGON2I.replace("p=1", "p=17").replace("m=64", "m=1024"),
    "less memory than the lanes need": ARGON2I.replace("p=1", "p=9"),
    "a scrypt of a gigabyte": SCRYPT.replace("ln=10", "ln=20"),
    "a scrypt of 2^63": SCRYPT.replace("ln=10", "ln=63"),
    "a scrypt of huge blocks": SCRYPT.replace("r=8", "r=1000000"),
    "a scrypt of many lanes": SCRYPT.replace("p=1", "p=1073741823"),
    "a scrypt that takes its time": SCRYPT.replace("ln=10", "ln=15").replace("p=1", "p=64"),
    "a scrypt of no power of two": DJANGO_SCRYPT.replace("$1024$", "$1023$"),
    "Django's scrypt of a gigabyte": DJANGO_SCRYPT.replace("$1024$", "$1048576$"),
    "a scrypt that goes on for longer than its blocks can say": SCRYPT.replace(
        "ln=10,r=8", "ln=16,r=1"
    ),
    "four billion rounds of pbkdf2": PBKDF2.replace("$1000$", "$4294967295$"),
    "no rounds of pbkdf2": PBKDF2.replace("$1000$", "$0$"),
    "a pbkdf2 of many blocks": DJANGO_PBKDF2[:-1] + "A" * 200,
    "Django's pbkdf2 of minutes": DJANGO_PBKDF2.replace("$1000$", "$999999999$"),
    "999999999 rounds of sha512-crypt": CRYPT.replace("=1500", "=999999999"),
    "too few rounds of sha512-crypt": CRYPT.replace("=1500", "=999"),
    "a number with a zero in front": CRYPT.replace("=1500", "=01500"),
    "a number of other digits": CRYPT.replace("=1500", "=1\u0665\u0660\u0660"),
    "2^30 rounds of phpass": PHPASS.replace("$P$B", "$P$S"),
    "2^0 rounds of phpass": PHPASS.replace("$P$B", "$P$."),
    "a digest that was cut off": "{SSHA512}" + GOLDEN["slappasswd, SSHA"][6:],
    "an endless salt": "{SSHA}" + "A" * 400,
    "a salt of md5-crypt that is too long": MD5_CRYPT.replace("$tR2cRc", "$tR2cRcX"),
    "an md5-crypt of another tag": MD5_CRYPT.replace("$1$", "$2$"),
    "an apr1 that was cut off": GOLDEN["htpasswd, apr1"][:-1],
    "a bcrypt-sha256 of days": BCRYPT_SHA256.replace("r=5", "r=31"),
    "a bcrypt-sha256 below bcrypt's own": BCRYPT_SHA256.replace("r=5", "r=3"),
    "a bcrypt-sha256 of a later version": BCRYPT_SHA256.replace("v=2", "v=3"),
    "a bcrypt-sha256 with the bug": BCRYPT_SHA256.replace("t=2b", "t=2x"),
    "an old bcrypt-sha256 of days": GOLDEN["passlib, bcrypt-sha256 of old"].replace(",5", ",31"),
    "a crypt(3) scrypt of a gigabyte": CRYPT_SCRYPT.replace("$7$8", "$7$I"),
    "a crypt(3) scrypt of 2^63": CRYPT_SCRYPT.replace("$7$8", "$7$z"),
    "a crypt(3) scrypt of 2^0": CRYPT_SCRYPT.replace("$7$8", "$7$."),
    "a crypt(3) scrypt of huge blocks": CRYPT_SCRYPT.replace("6..../", "zzzzz/"),
    "a crypt(3) scrypt of blocks of no size": CRYPT_SCRYPT.replace("6..../", "...../"),
    "a crypt(3) scrypt of many lanes": CRYPT_SCRYPT.replace("6..../....", "6....zzzzz"),
    "a crypt(3) scrypt of no lanes": CRYPT_SCRYPT.replace("6..../....", "6........."),
    "four billion rounds of LDAP's pbkdf2": LDAP_PBKDF2.replace("10000$", "4294967295$"),
    "no rounds of LDAP's pbkdf2": LDAP_PBKDF2.replace("10000$", "0$"),
    "LDAP's pbkdf2 of many blocks": LDAP_PBKDF2 + "A" * 200,
    "LDAP's pbkdf2 of another digest": LDAP_PBKDF2.replace("-SHA256", "-SHA512"),
    "LDAP's pbkdf2 in a wrapping": "{CRYPT}" + LDAP_PBKDF2,
    "a long s in a tag": SSHA.replace("{SSHA}", "{\u017fSHA}"),
    "the sign of Kelvin in a tag": LDAP_PBKDF2.replace("PBKDF2", "PB\u212aDF2"),
    "the sign of Kelvin for a tag's letter": LDAP_PBKDF2.replace("K", "\u212a"),
    "the sign of Kelvin in a digest": "{SSHA}" + "\u212a" * 32,
    "Django's md5": "md5$salt$67a1e09bb1f83f5007dc119c14d663aa",
    "Django's unusable": "!abcdef",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_is_refused_unseen(text: str) -> None:
    with pytest.raises(UnreadableRecord) as caught:
        identify(text)

    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None


def _changed(text: str, field: int, new: str) -> str:
    """Put something in the place of a part between dollar signs."""
    fields = text.split("$")
    fields[field] = new
    return "$".join(fields)


_CUT = {
    "a digest of 29 letters": "{SSHA}" + "A" * 29,
    "a digest without the sign at its end": "{SHA}" + "A" * 27,
    "a digest with a sign too many": "{SHA}" + "A" * 27 + "==",
    "an argon2 hash of 25 letters": _changed(ARGON2I, -1, "A" * 25),
    "an argon2 hash with a bit over": _changed(ARGON2I, -1, "A" * 42 + "B"),
    "an argon2 salt of 13 letters": _changed(ARGON2I, -2, "A" * 13),
    "an argon2 salt with a bit over": _changed(ARGON2I, -2, "A" * 21 + "B"),
    "a scrypt salt of 5 letters": _changed(SCRYPT, -2, "A" * 5),
    "a scrypt hash of 25 letters": _changed(SCRYPT, -1, "A" * 25),
    "Django's scrypt without a sign": DJANGO_SCRYPT[:-1],
    "a pbkdf2 salt of 5 letters": _changed(PBKDF2, -2, "A" * 5),
    "Django's pbkdf2 without a sign": DJANGO_PBKDF2[:-1],
    "LDAP's pbkdf2 with a salt of 5 letters": _changed(LDAP_PBKDF2, -2, "A.A.A"),
    "a bcrypt salt with a bit over": BCRYPT[:28] + "/" + BCRYPT[29:],
    "Django's bcrypt with a bit over": "bcrypt$" + BCRYPT[:28] + "z" + BCRYPT[29:],
    "Django's bcrypt of SHA-256 with a bit over": "bcrypt_sha256$"
    + BCRYPT[:28]
    + "9"
    + BCRYPT[29:],
    "a bcrypt-sha256 salt with a bit over": _changed(BCRYPT_SHA256, -2, "." * 21 + "/"),
}
"""Of a known format and within the bounds, and yet no library would read it."""


@pytest.mark.parametrize("text", _CUT.values(), ids=_CUT)
def test_what_no_library_would_read_is_not_taken_in(text: str) -> None:
    known = identify(text)
    if known.format.maker in VERIFIERS:
        with pytest.raises(ValueError, match=r"."):
            VERIFIERS[known.format.maker](known, b"correct horse")

    with pytest.raises(UnreadableRecord) as caught:
        foreign(text, form=NormalForm.NONE)

    assert text not in str(caught.value)
    assert caught.value.__cause__ is None


def test_of_argon2id_it_is_not_taken_in_either() -> None:
    for field, new in ((-1, "A" * 25), (-2, "A" * 13), (-2, "A" * 21 + "B")):
        with pytest.raises(UnreadableRecord, match="cut off"):
            foreign(_changed(ARGON2ID, field, new), form=NormalForm.NONE)


@pytest.mark.parametrize("tag", ["pbkdf2-sha256", "Pbkdf2-Sha256"])
def test_a_tag_of_ldap_has_no_case(tag: str) -> None:
    text = LDAP_PBKDF2.replace("PBKDF2-SHA256", tag)

    assert identify(text).scheme == "pbkdf2-sha256,rounds=10000"


@given(st.text(alphabet="$0123456789argon2idbcrypt{}SHA=,.+/\0\n ", max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    try:
        identify(text)
    except UnreadableRecord:
        return


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("Synapse", "synapse-bcrypt,cost=5"),
        ("htpasswd, bcrypt", "bcrypt,cost=5"),
        ("Django, bcrypt", "bcrypt,cost=5"),
        ("Django, argon2", "argon2id,m=102400,t=2,p=8"),
        ("passlib, pbkdf2-sha512", "pbkdf2-sha512,rounds=1000"),
        ("slappasswd, CRYPT", "sha512-crypt,rounds=5000"),
        ("WordPress, phpass", "phpass,log2=13"),
        ("htpasswd, SHA-1", "ldap-sha1"),
        ("htpasswd, apr1", "apr1"),
        ("openssl, md5-crypt", "md5-crypt"),
        ("passlib, bcrypt-sha256 version 2", "bcrypt-sha256,cost=5"),
        ("passlib, bcrypt-sha256 of old", "bcrypt-sha256,cost=5"),
        ("libsodium, scrypt", "scrypt,ln=10,r=8,p=1"),
        ("mkpasswd, scrypt", "scrypt,ln=13,r=32,p=1"),
        ("slappasswd, PBKDF2", "pbkdf2-sha1,rounds=10000"),
        ("slappasswd, PBKDF2-SHA512", "pbkdf2-sha512,rounds=10000"),
    ],
)
def test_a_scheme_is_a_hash_with_its_cost(name: str, scheme: str) -> None:
    assert foreign(GOLDEN[name], form=NormalForm.NONE).scheme == scheme


@pytest.mark.parametrize("text", GOLDEN.values(), ids=GOLDEN)
def test_the_decoy_of_a_scheme_costs_what_its_records_cost(text: str) -> None:
    genuine = identify(text)
    false = identify(decoy(genuine.scheme).phc)

    assert false.format.name == genuine.format.name
    assert false.synapse == genuine.synapse
    assert false.text != genuine.text
    # Django states N where passlib states its logarithm.
    if "n" not in genuine.costs:
        assert false.costs == genuine.costs


@pytest.mark.parametrize(
    "scheme", ["", "argon2id", "md5", "bcrypt", "bcrypt,cost=99", "bcrypt,cost=x", "bcrypt,m=12"]
)
def test_there_is_no_decoy_of_what_is_no_scheme(scheme: str) -> None:
    with pytest.raises(UnreadableRecord):
        decoy(scheme)


def test_synapses_records_have_synapses_normal_form() -> None:
    record = foreign(BCRYPT, form=NormalForm.NONE, synapse=True)

    assert record.phc == "{SYNAPSE}" + BCRYPT
    assert record.form is NormalForm.NFKC
    assert foreign(record.phc, form=NormalForm.NONE, synapse=True) == record


def test_what_is_known_of_a_record_has_no_print() -> None:
    assert "PN23Z9" not in repr(identify(BCRYPT))
