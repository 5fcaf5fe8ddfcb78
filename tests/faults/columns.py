"""What people, operators and homeservers do, each with what would be a wrong answer.

Whose account is changed has another one for each fault, so that nothing disturbs anything else.
"""

from abc import ABC, abstractmethod
from enum import StrEnum
from http.client import HTTPException
from typing import ClassVar, Final

from lalepass_service.core.errors import NoAnswer as OperatorsNoAnswer
from lalepass_service.faults import OutsideFault
from lalepass_wire import paths
from lalepass_wire.feed import AccountState
from tests.faults.site import Site
from tests.servers.asking import NoAnswer
from tools import web

FIRST: Final = "correct horse battery"
_SECOND: Final = "what it is since before the fault"
_WRONG: Final = "staple of somebody else"
_OK: Final = 200
_UNAVAILABLE: Final = 503
_TOO_MANY: Final = 429


class Said(StrEnum):
    """What came of one try, as the table has it."""

    OK = "ok"
    """What it would be on any day: yes, no, or done."""
    NONE = "none"
    """No answer, and said so: 503, or the command that failed."""
    WAIT = "wait"
    """Guesses at this account have to wait: 429. While Valkey is away, longer than otherwise."""


class Wrong(AssertionError):
    """An answer that must never be given."""


class Column(ABC):
    """One kind of thing that is done. `person` is an account with the password FIRST."""

    name: ClassVar[str]
    changes: ClassVar[bool] = False
    """Whether it is an act of an operator, which is another one each time."""

    def __init__(self, site: Site, person: str) -> None:
        self.site = site
        self.person = person

    def prepare(self) -> None:  # noqa: B027 - most have nothing to do
        """Do what has to be done before the fault."""

    @abstractmethod
    def ask(self, url: str) -> Said:
        """Try it once, at that replica if it is one that is asked.

        Raises:
            Wrong: the answer must never be given.
        """

    @property
    def places(self) -> list[str]:
        """Where it is tried."""
        return self.site.urls

    def verify(self, url: str) -> None:  # noqa: B027 - most change nothing
        """Look, when all is well, whether what was acknowledged is so, and nothing else.

        Raises:
            Wrong: it is not.
            NoAnswer: it can't be seen yet.
        """

    def check(self, url: str, password: str) -> bool:
        """Ask the replica about a password of the person."""
        with self.site.services.caller(url, timeout=20.0) as caller:
            return caller.check(self.person, password)


def of_service(error: NoAnswer) -> Said:
    """Return what it is in the table that the service gave no answer."""
    if error.status == _TOO_MANY:
        return Said.WAIT
    if error.status != _UNAVAILABLE:
        raise Wrong(f"no honest 503: {error}") from error
    return Said.NONE


class GoodCheck(Column):
    """Somebody logs in."""

    name = "good check"

    def ask(self, url: str) -> Said:
        """See `Column`."""
        try:
            if not self.check(url, FIRST):
                raise Wrong("the right password was refused")
        except NoAnswer as error:
            return of_service(error)
        return Said.OK


class WrongCheck(Column):
    """Somebody guesses: at each replica something else, so that each of them has to hash."""

    name = "wrong check"

    def ask(self, url: str) -> Said:
        """See `Column`."""
        try:
            if self.check(url, f"{_WRONG} {self.places.index(url)}"):
                raise Wrong("a wrong password was accepted")
        except NoAnswer as error:
            return of_service(error)
        return Said.OK


class OldCheck(Column):
    """Somebody tries a password that was changed and acknowledged before the fault."""

    name = "old password"

    def prepare(self) -> None:
        """See `Column`."""
        self.site.services.set_password(self.person, _SECOND)

    def ask(self, url: str) -> Said:
        """See `Column`."""
        try:
            if self.check(url, FIRST):
                raise Wrong("an old password was accepted")
        except NoAnswer as error:
            return of_service(error)
        return Said.OK

    def verify(self, url: str) -> None:
        """See `Column`."""
        if not self.check(url, _SECOND):
            raise Wrong("the new password was refused")


class Ready(Column):
    """A balancer asks whether it should send anybody there."""

    name = "ready"

    def ask(self, url: str) -> Said:
        """See `Column`."""
        try:
            status = web.request("GET", f"{url}{paths.HEALTH_READY}", timeout=20.0).status
        except (OSError, HTTPException) as error:
            raise Wrong(f"no answer at all: {error!r}") from error
        if status not in {_OK, _UNAVAILABLE}:
            raise Wrong(f"neither ready nor not: {status}")
        return Said.OK if status == _OK else Said.NONE


class _Act(Column):
    """What an operator does. One at a time; it is tried at no replica."""

    changes: ClassVar = True

    def __init__(self, site: Site, person: str) -> None:
        super().__init__(site, person)
        self.acknowledged = 0

    @property
    def places(self) -> list[str]:
        """See `Column`."""
        return [""]

    def ask(self, url: str) -> Said:
        """See `Column`."""
        del url
        try:
            self.act()
        except (OperatorsNoAnswer, OutsideFault):
            return Said.NONE
        self.acknowledged += 1
        return Said.OK

    @abstractmethod
    def act(self) -> None:
        """Do it.

        Raises:
            NoAnswer, OutsideFault: it is not known whether it is done.
        """


class PasswordChange(_Act):
    """An operator sets a password; each time another one."""

    name = "password change"

    def __init__(self, site: Site, person: str) -> None:
        super().__init__(site, person)
        self._tried = [FIRST]
        self._good = {FIRST}
        """What may be the password now: the last that was acknowledged, or one tried after it."""

    def act(self) -> None:
        """See `_Act`."""
        new = f"a new one, number {len(self._tried)}"
        self._tried.append(new)
        self._good.add(new)
        self.site.services.set_password(self.person, new)
        self._good = {new}

    def verify(self, url: str) -> None:
        """See `Column`."""
        # The last first, since wrong ones make the next one wait.
        working = {word for word in reversed(self._tried[-3:]) if self.check(url, word)}
        if len(working) != 1 or not working <= self._good:
            raise Wrong(f"{working} work, and it should be one of {self._good}")


class Disable(_Act):
    """An operator disables an account."""

    name = "disable"

    def act(self) -> None:
        """See `_Act`."""
        self.site.services.disable(self.person)

    def verify(self, url: str) -> None:
        """See `Column`."""
        accepted = self.check(url, FIRST)
        if accepted and self.acknowledged:
            raise Wrong("who was disabled gets in")


class Unlock(_Act):
    """An operator helps somebody who has mistyped their password."""

    name = "unlock"

    def prepare(self) -> None:
        """See `Column`."""
        for number in range(2):
            if self.check(self.site.urls[0], f"{_WRONG} {number}"):
                raise Wrong("a wrong password was accepted")
        if self.site.services.failures(self.person) != 2:
            raise Wrong("the wrong passwords were not counted")

    def act(self) -> None:
        """See `_Act`."""
        self.site.services.unlock(self.person)

    def verify(self, url: str) -> None:
        """See `Column`."""
        del url
        try:
            left = self.site.services.failures(self.person)
        except (OperatorsNoAnswer, OutsideFault) as error:
            raise NoAnswer(str(error)) from error
        if left not in ({0} if self.acknowledged else {0, 2}):
            raise Wrong(f"{left} wrong passwords are counted")


class Feed(Column):
    """A homeserver asks what has changed."""

    name = "feed"

    def __init__(self, site: Site, person: str) -> None:
        super().__init__(site, person)
        self._cursor = ""

    def prepare(self) -> None:
        """See `Column`."""
        with self.site.services.caller() as caller:
            self._cursor = caller.locked().cursor
            # The cursor is at the start of what will change, wherever the page has ended.
            _, self._cursor = caller.accounts(self._cursor)

    def ask(self, url: str) -> Said:
        """See `Column`."""
        try:
            with self.site.services.caller(url, timeout=20.0) as caller:
                caller.changes(self._cursor)
        except NoAnswer as error:
            return of_service(error)
        return Said.OK

    def states(self, url: str) -> dict[str, AccountState]:
        """Return what the replica has to tell since `prepare`."""
        with self.site.services.caller(url) as caller:
            found, _ = caller.accounts(self._cursor)
        return {name: account.state for name, account in found.items()}


COLUMNS: Final[tuple[type[Column], ...]] = (
    GoodCheck,
    WrongCheck,
    OldCheck,
    PasswordChange,
    Disable,
    Unlock,
    Feed,
    Ready,
)
