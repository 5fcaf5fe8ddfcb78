"""Fakes of the two blocklist ports: they keep state and can be told to fail."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lalepass_service.core.model import Password

if TYPE_CHECKING:
    from lalepass_service.core.errors import NoAnswer


class MemoryBlocklist:
    """Words in a set. Implements `core.ports.Blocklist`."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words = set(words)
        self.failure: NoAnswer | None = None
        """Raised by every call while it is set, such as BlocklistUnavailable."""

    def contains(self, text: str) -> bool:
        """Say whether exactly this text is on the list."""
        if self.failure is not None:
            raise self.failure
        return text in self.words


class MemoryBreaches:
    """Stolen passwords in a set. Implements `core.ports.BreachRange`."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words = set(words)
        self.failure: NoAnswer | None = None
        """Raised by every call while it is set, such as BreachRangeUnavailable."""

    async def contains(self, password: Password) -> bool:
        """Say whether the password is known."""
        if self.failure is not None:
            raise self.failure
        return password.reveal() in self.words
