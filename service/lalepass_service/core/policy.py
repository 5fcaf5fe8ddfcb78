"""Rules for new passwords, and the one form in which passwords reach a hash function."""

import unicodedata
from dataclasses import dataclass

from lalepass_service.core.errors import PasswordRejected
from lalepass_service.core.model import Password


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordPolicy:
    """NIST SP 800-63B-4, section 3.1.1.2: length, and no rules about composition."""

    min_length: int = 8
    max_length: int = 256

    def examine(self, password: Password) -> None:
        """Refuse a new password that breaks a rule.

        Raises:
            PasswordRejected: says which rule, in words for the person who chose it.
        """
        text = normal_form(password).reveal()
        # Blanks at the ends count, but a password of nothing else is a mistake of the hand.
        if not text.strip() or len(text) < self.min_length:
            raise PasswordRejected(f"a password has at least {self.min_length} characters")
        if len(text) > self.max_length:
            raise PasswordRejected(f"a password has at most {self.max_length} characters")
        if "\0" in text or any(unicodedata.category(c) == "Cs" for c in text):
            raise PasswordRejected("a password is made of characters that can be typed")


def normal_form(password: Password) -> Password:
    """Return the password in NFC: keyboards differ in how they compose the same letter.

    NFC and not NFKC, which would fold different characters into one and so weaken a password.
    """
    return Password(unicodedata.normalize("NFC", password.reveal()))
