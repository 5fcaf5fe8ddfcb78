"""What work takes, by its kind: one that takes a second says nothing of one that takes a hundredth.

With one average for all, two foreign records with many rounds would make every hash of ours look as
if it took as long, and people would be turned away who could have been served at once.
"""

from typing import Final

OWN: Final = ""
"""The kind of our own hashes."""

_WEIGHT: Final = 0.1
"""Of the newest duration in the moving average: about the last twenty count."""

_MOST_KINDS: Final = 64
"""Some makers chose their rounds at random. The kinds that come later are one."""

_REST: Final = "rest"


class Kind:
    """What work of one kind takes, and how much of it there is."""

    __slots__ = ("_measured", "inside", "seconds")

    def __init__(self, expected: float | None) -> None:
        self.inside = 0
        """How many are waiting or at work."""
        self.seconds = expected or 0.0
        """The moving average."""
        self._measured = 0 if expected is None else 1

    def took(self, seconds: float) -> None:
        """Take a duration into the average. The first ones count for more: there are no others."""
        self._measured += 1
        self.seconds += max(_WEIGHT, 1 / self._measured) * (seconds - self.seconds)

    def may_take(self, seconds: float) -> bool:
        """Say whether it may take longer than that, as all may that was never measured."""
        return not self._measured or self.seconds > seconds


class Durations:
    """All kinds of work there are."""

    def __init__(self, *, own: float) -> None:
        """Begin with how many seconds a hash of ours takes."""
        self.own = Kind(own)
        self._kinds = {OWN: self.own}

    def of(self, name: str) -> Kind:
        """Return the kind of that name."""
        if name not in self._kinds:
            name = name if len(self._kinds) < _MOST_KINDS else _REST
        return self._kinds.setdefault(name, Kind(None))

    def ahead(self, *, coming: int) -> float:
        """Return how many seconds of work are inside, and so many that are like them."""
        inside, seconds = 0, 0.0
        for kind in self._kinds.values():
            inside += kind.inside
            seconds += kind.inside * kind.seconds
        each = seconds / inside if inside else self.own.seconds
        return seconds + coming * each
