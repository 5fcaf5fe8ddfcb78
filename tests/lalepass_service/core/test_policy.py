"""What a new password has to be: one table, each row a password that somebody might choose."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_service.adapters.blocklist.memory import MemoryBlocklist, MemoryBreaches
from lalepass_service.core.errors import (
    BlocklistUnavailable,
    BreachRangeUnavailable,
    PasswordBreached,
    PasswordCommon,
    PasswordPersonal,
    PasswordRejected,
    PasswordTooLong,
    PasswordTooShort,
    PasswordUntypable,
)
from lalepass_service.core.model import Password
from lalepass_service.core.policy import Context, PasswordPolicy, normal_form
from tests.lalepass_service.accounts import a_user

pytestmark = pytest.mark.anyio

ALICE = Context(
    localpart="alice.smith42",
    display_name="Alice Müller-Smith \U0001f600",
    emails=("a.smith@mail.example.org", "bob@xy.example.net"),
    phones=("491701234567",),
)
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
"""One family on the screen, five code points."""


def policy() -> PasswordPolicy:
    return PasswordPolicy(
        min_length=8,
        max_length=16,
        words=("Acme Chat", "wir"),
        blocklists=[
            MemoryBlocklist(["password1", "PassWord2", "stra\u00dfe 12"]),
            MemoryBlocklist(
                ["strasse 13", "m\u00fcllerin!", "\u03c3\u03c3\u03c3\u03c3\u03c3\u03c3\u03c3\u03c3"]
            ),
        ],
        breaches=MemoryBreaches(["stolen horse"]),
    )


TAKEN = {
    "eight digits": "12345679",
    "the longest": "x" * 16,
    "a leading blank": " leading and",
    "Hebrew": "\u05e1\u05d9\u05e1\u05de\u05d4" + "\u05d0" * 3,
    "eight emoji": "\U0001f600" * 8,
    "families, ten code points": FAMILY * 2,
    "a heart, its kind chosen by a selector": "I \u2764\ufe0f tea!",
    "a flag spelt with tags": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e007f 4",
    "Persian with a joiner that is none": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "of a plane where nothing is assigned yet": "\U0003fff0" * 8,
    "private characters": "\ue000" * 8,
    "one that can be seen": "\u0301\u200b" * 4 + "q",
    "eight letters with accents, composed": "\u00fc\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc\u00e4",
    "the same, decomposed": "u\u0308a\u0308o\u0308u\u0308a\u0308o\u0308u\u0308a\u0308",
    "marks that compose with nothing": "q\u0308" * 4,
    "a sentence of three words": "alice likes tea",
    "a word that contains a name": "malice2024",
    "a name in a longer word": "alicexyzt",
    "a name and other letters": "alice.q.w",
    "a name and nine digits": "alice123456789",
    "a name between letters": "x-alice-y-smith",
    "a word of two letters, repeated": "xyxyxyxy",
    "a name that lacks a letter": "alic2024",
    "emoji are no ornament": "alice" + "\U0001f600" * 3,
    "letters between the digits": "a1l2i3c4e5",
    "a list's word with one sign more": "password1!",
    "part of a list's word": "password",
    "a list's word with capitals, in small letters": "password2",
    "a list's word with a blank behind": "password1 ",
}

REFUSED: dict[str, tuple[str, type[PasswordRejected]]] = {
    "nothing": ("", PasswordTooShort),
    "seven": ("1234567", PasswordTooShort),
    "blanks": (" " * 12, PasswordTooShort),
    "seven emoji, 28 bytes": ("\U0001f600" * 7, PasswordTooShort),
    "eight as typed, four in NFC": ("u\u0308" * 4, PasswordTooShort),
    "one family": (FAMILY, PasswordTooShort),
    "seventeen": ("x" * 17, PasswordTooLong),
    "seventeen in NFC, which takes two for one": ("\u0958" * 9, PasswordTooLong),
    "a NUL": ("nul\0nul\0nul", PasswordUntypable),
    "a surrogate": ("surrogate\ud800", PasswordUntypable),
    "a tab": ("a\tb\tc\td\te", PasswordUntypable),
    "a line end": ("one\ntwo\nthree", PasswordUntypable),
    "a carriage return": ("one two three\r", PasswordUntypable),
    "an escape": ("one \x1b[31m two", PasswordUntypable),
    "one of the upper controls": ("one two \x85 three", PasswordUntypable),
    "noncharacters": ("\uffff" * 8, PasswordUntypable),
    "one of them": ("correct \ufdd0 horse", PasswordUntypable),
    "one beyond the first plane": ("correct \U0010fffe horse", PasswordUntypable),
    "blanks of no width": ("\u200b" * 8, PasswordUntypable),
    "fillers, which count as letters": ("\u3164" * 8, PasswordUntypable),
    "empty Braille": ("\u2800" * 8, PasswordUntypable),
    "accents on nothing": ("\u0301" * 8, PasswordUntypable),
    "blanks and soft hyphens": (" \u00ad" * 4, PasswordUntypable),
    "on a list, with a blank of no width": ("password1\u200b", PasswordCommon),
    "on a list, with a soft hyphen": ("pass\u00adword1", PasswordCommon),
    "on a list, in capitals and with a selector": ("PASSWORD1\ufe0f", PasswordCommon),
    "on a list, with a filler": ("pass\u3164word1", PasswordCommon),
    "on a list, composed behind what is unseen": ("mu\u200b\u0308llerin!", PasswordCommon),
    "a name with a blank of no width": ("alice\u200b123", PasswordPersonal),
    "a name with selectors": ("a\ufe00l\ufe00ice1", PasswordPersonal),
    "the user name": ("alice.smith42", PasswordPersonal),
    "the user name, its parts glued": ("alicesmith", PasswordPersonal),
    "in capitals": ("ALICE.SMITH42", PasswordPersonal),
    "the other way round": ("SmithAlice", PasswordPersonal),
    "with a year": ("Alice2024", PasswordPersonal),
    "with a date": ("alice24.12.2024", PasswordPersonal),
    "with a year before": ("2024-Alice", PasswordPersonal),
    "with a year between": ("alice2024smith", PasswordPersonal),
    "with signs": ("!!alice!!", PasswordPersonal),
    "spelt with dots": ("a.l.i.c.e.1", PasswordPersonal),
    "repeated": ("alicealicealice", PasswordPersonal),
    "the display name's part": ("M\u00fcller99", PasswordPersonal),
    "the same, decomposed": ("Mu\u0308ller99", PasswordPersonal),
    "in full width": ("\uff21\uff2c\uff29\uff23\uff252024", PasswordPersonal),
    "the mail domain": ("example1!", PasswordPersonal),
    "the mail domain, whole": ("mail.example.org", PasswordPersonal),
    "the second address": ("bob@example.net", PasswordPersonal),
    "a short name, repeated": ("bobbobbob", PasswordPersonal),
    "the telephone number": ("+49 170 1234567", PasswordPersonal),
    "the operator's service": ("AcmeChat!1", PasswordPersonal),
    "our own name": ("lalepass1", PasswordPersonal),
    "a name with what it is for": ("alice@matrix", PasswordPersonal),
    "a short word of the operator": ("wirwirwir", PasswordPersonal),
    "on a list": ("password1", PasswordCommon),
    "on a list but for capitals": ("PassWORD1", PasswordCommon),
    "on a list with its capitals": ("PassWord2", PasswordCommon),
    "on the second list": ("strasse 13", PasswordCommon),
    "on a list once folded": ("Stra\u00dfe 13", PasswordCommon),
    "on a list as it is, though it folds to another": ("stra\u00dfe 12", PasswordCommon),
    "on a list, composed differently": ("mu\u0308llerin!", PasswordCommon),
    "on a list, with a final letter": ("\u03a3" * 8, PasswordCommon),
    "stolen": ("stolen horse", PasswordBreached),
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
async def test_what_breaks_no_rule_is_taken(text: str) -> None:
    await policy().examine(Password(text), about=ALICE)


@pytest.mark.parametrize(("text", "rule"), REFUSED.values(), ids=REFUSED)
async def test_a_rejection_names_the_rule_and_not_the_password(
    text: str, rule: type[PasswordRejected]
) -> None:
    with pytest.raises(PasswordRejected) as caught:
        await policy().examine(Password(text), about=ALICE)

    assert type(caught.value) is rule
    assert not text.strip() or text not in f"{caught.value} {caught.value!r}"


def test_what_is_known_of_an_account_is_what_its_password_is_held_against() -> None:
    user = replace(
        a_user("alice", emails=("a@mail.example.org",), phones=("49170",)),
        display_name="Alice M\u00fcller",
    )

    assert Context.of(user) == Context(
        localpart="alice",
        display_name="Alice M\u00fcller",
        emails=("a@mail.example.org",),
        phones=("49170",),
    )
    bare = a_user("bob")
    assert Context.of(bare) == Context(localpart="bob")
    assert Context.of(bare).words() == {"bob"}


async def test_what_is_personal_to_one_is_not_to_another() -> None:
    await policy().examine(Password("alicesmith"), about=Context(localpart="carol"))


async def test_a_password_that_is_found_elsewhere_in_capitals_is_another_one() -> None:
    await policy().examine(Password("Stolen Horse"), about=ALICE)


async def test_a_host_without_an_answer_is_told_of_and_stops_nobody() -> None:
    breaches = MemoryBreaches(["stolen horse"])
    breaches.failure = BreachRangeUnavailable("it took too long")
    told: list[Exception] = []
    rules = PasswordPolicy(breaches=breaches, unanswered=told.append)

    await rules.examine(Password("stolen horse"))

    assert told == [breaches.failure]


async def test_nobody_is_asked_about_what_is_refused_anyway() -> None:
    breaches = MemoryBreaches()
    breaches.failure = BreachRangeUnavailable("it must not be asked")
    told: list[Exception] = []
    rules = PasswordPolicy(
        breaches=breaches, unanswered=told.append, blocklists=[MemoryBlocklist(["password1"])]
    )
    for text in ("short", "matrix123", "password1"):
        with pytest.raises(PasswordRejected):
            await rules.examine(Password(text))

    assert told == []


async def test_a_list_that_can_not_be_read_is_a_fault_and_no_permission() -> None:
    broken = MemoryBlocklist()
    broken.failure = BlocklistUnavailable("list: it has been cut off")

    with pytest.raises(BlocklistUnavailable):
        await PasswordPolicy(blocklists=[broken]).examine(Password("correct horse"))


def test_the_same_letter_composed_differently_is_the_same_password() -> None:
    composed, decomposed = Password("M\u00fcller"), Password("Mu\u0308ller")

    assert normal_form(composed).reveal() == normal_form(decomposed).reveal()


def test_compatibility_characters_stay_different() -> None:
    assert normal_form(Password("\ufb01sh")).reveal() != normal_form(Password("fish")).reveal()


@given(st.text(max_size=40))
def test_the_normal_form_is_its_own_normal_form(text: str) -> None:
    once = normal_form(Password(text))

    assert once.reveal() == normal_form(once).reveal()
