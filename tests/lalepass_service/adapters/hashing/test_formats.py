"""What a record is, and what it may cost, found out without running it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_service.adapters.hashing.decoys import decoy
from lalepass_service.adapters.hashing.formats import foreign, identify
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
PHPASS = GOLDEN["WordPress, phpass"]

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
    "md5-crypt": "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
    "Django's md5": "md5$salt$67a1e09bb1f83f5007dc119c14d663aa",
    "Django's unusable": "!abcdef",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_is_refused_unseen(text: str) -> None:
    with pytest.raises(UnreadableRecord) as caught:
        identify(text)

    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None


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
