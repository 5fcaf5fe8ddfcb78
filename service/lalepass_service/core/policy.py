"""Rules for new passwords, and the one form in which passwords reach a hash function.

NIST SP 800-63B-4, section 3.1.1.2: a length, a list of passwords that everybody tries first, and
words that belong to the account. No rules about composition, and no change unless there is a cause:
both make people choose worse passwords.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from lalepass_service.core.errors import (
    BreachRangeUnavailable,
    PasswordBreached,
    PasswordCommon,
    PasswordPersonal,
    PasswordTooLong,
    PasswordTooShort,
    PasswordUntypable,
)
from lalepass_service.core.model import Password, User
from lalepass_service.core.ports import Blocklist, BreachRange
from lalepass_service.core.unseen import is_no_text, is_seen, without_unseen
from lalepass_service.core.words import is_made_of, words_in

OUR_WORDS: Final = ("lalepass", "matrix")
"""What every account is about, whatever the operator's service is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Whose password it is to be: the words that a stranger who knows the person tries first."""

    localpart: str = ""
    display_name: str = ""
    emails: Sequence[str] = ()
    phones: Sequence[str] = ()

    @classmethod
    def of(cls, user: User) -> Self:
        """Return what is known of an account."""
        return cls(
            localpart=user.localpart,
            display_name=user.display_name or "",
            emails=user.emails,
            phones=user.phones,
        )

    def words(self) -> frozenset[str]:
        """Return the names, their parts, the labels of the mail domains and the numbers."""
        # "alice@mail.example.org" falls apart at its signs into alice, mail, example and org.
        texts = (self.localpart, self.display_name, *self.emails, *self.phones)
        return frozenset(word for text in texts for word in words_in(text))


NOBODY: Final = Context()
"""For a password that is nobody's yet."""


Unanswered = Callable[[BreachRangeUnavailable], None]


def _ignore(_: BreachRangeUnavailable) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordPolicy:
    """What a new password has to be."""

    min_length: int = 8
    max_length: int = 256
    words: Sequence[str] = ()
    """What the operator's service is about: its name, the organisation's."""
    blocklists: Sequence[Blocklist] = ()
    breaches: BreachRange | None = None
    unanswered: Unanswered = _ignore
    """Told when `breaches` gave no answer and the password was taken all the same."""

    async def examine(self, password: Password, *, about: Context = NOBODY) -> None:
        """Refuse a new password that breaks a rule.

        The rules are asked in the order of their price, and the first that is broken is named.

        Raises:
            PasswordRejected: says which rule, in words for the person who chose it.
            BlocklistUnavailable: a list of this machine can't be read. It was there at the start,
                so this is a fault to be mended, and no reason to take any password meanwhile.
        """
        text = normal_form(password).reveal()
        self._examine_length(text)
        if is_made_of(text, about.words().union(*map(words_in, (*OUR_WORDS, *self.words)))):
            raise PasswordPersonal
        if is_on(self.blocklists, password):
            raise PasswordCommon
        await self._examine_breaches(Password(text))

    def _examine_length(self, text: str) -> None:
        # Blanks at the ends count, but a password of nothing else is a mistake of the hand.
        if not text.strip() or len(text) < self.min_length:
            raise PasswordTooShort(self.min_length)
        if len(text) > self.max_length:
            raise PasswordTooLong(self.max_length)
        # Not what is only not assigned yet: an older Python would refuse the newest emoji.
        if any(map(is_no_text, text)) or not any(map(is_seen, text)):
            raise PasswordUntypable

    async def _examine_breaches(self, password: Password) -> None:
        """Ask the range host, and go on without its answer if there is none.

        The price of going on: as long as the host is away, a breached password that is on no list
        of this machine can be chosen. Otherwise somebody else's outage would keep people from
        changing a password that they know to be stolen.
        """
        if self.breaches is None:
            return
        try:
            breached = await self.breaches.contains(password)
        except BreachRangeUnavailable as exc:
            self.unanswered(exc)
            return
        if breached:
            raise PasswordBreached


def normal_form(password: Password) -> Password:
    """Return the password in NFC: keyboards differ in how they compose the same letter.

    NFC and not NFKC, which would fold different characters into one and so weaken a password.
    """
    return Password(unicodedata.normalize("NFC", password.reveal()))


def is_on(lists: Sequence[Blocklist], password: Password) -> bool:
    """Say whether a list has the password as it is, or the same without capitals.

    Or without what nobody sees: "password" with a soft hyphen in it is no better than without. The
    hash is of all that was typed.

    Lists that people make hold small letters, for the most part; "Password1" is no better than
    "password1". The other way round nothing is folded: a list that holds "PassWord1" says nothing
    about "password1". Only the whole password counts, never a part of it.

    Raises:
        BlocklistUnavailable: a list can't be read any more.
    """
    text = normal_form(password).reveal()
    seen = unicodedata.normalize("NFC", without_unseen(text))
    forms = {text, seen, *(unicodedata.normalize("NFC", each.casefold()) for each in (text, seen))}
    return any(each.contains(form) for each in lists for form in forms if form)
