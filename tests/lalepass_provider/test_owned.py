"""Whose an account is: asked once in a while, and in doubt it is locked."""

from lalepass_provider.owned import Owned
from tests.lalepass_provider.fakes_lifecycle import FakeBackground


class Owning:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ours = {"@bob:hs.example"}
        self.fault: Exception | None = None
        self.background = FakeBackground()
        self.owned = Owned(self._is_ours, monotonic=self.background.clock.seconds)

    async def _is_ours(self, mxid: str) -> bool:
        self.asked.append(mxid)
        if self.fault is not None:
            raise self.fault
        return mxid in self.ours

    def __call__(self, mxid: str) -> bool:
        return self.background.do(self.owned(mxid))


def test_it_is_asked_once_in_a_while() -> None:
    it = Owning()
    assert [it("@bob:hs.example"), it("@bob:hs.example"), it("@admin:hs.example")] == [
        True,
        True,
        False,
    ]
    assert it.asked == ["@bob:hs.example", "@admin:hs.example"]

    it.ours.clear()
    it.background.turn(61)
    assert it("@bob:hs.example") is False


def test_what_can_not_be_found_out_is_a_yes_and_is_not_remembered() -> None:
    it = Owning()
    it.fault = RuntimeError("the database is away")
    assert it("@admin:hs.example") is True

    it.fault = None
    assert it("@admin:hs.example") is False


def test_what_is_remembered_has_a_bound() -> None:
    it = Owning()
    for number in range(10_001):
        it(f"@n{number}:hs.example")
    asked = len(it.asked)

    it("@n10000:hs.example")
    assert len(it.asked) == asked
    it("@n0:hs.example")
    assert len(it.asked) == asked + 1
