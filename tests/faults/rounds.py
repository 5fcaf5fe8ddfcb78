"""Rounds: change a password, be told so, break something, look which password works."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from lalepass_service.config import load
from lalepass_service.core.audit import Actor
from lalepass_service.core.errors import NoAnswer as OperatorsNoAnswer
from lalepass_service.core.model import Password
from lalepass_service.parts import open_directory
from tests.faults.site import Site, until
from tests.servers.asking import NoAnswer
from tests.servers.services import Replica

if TYPE_CHECKING:
    from lalepass_service.core.directory import Directory

FENCE: Final = 60.0
"""Seconds for an answer after something was broken. A failover is promised within 30."""


class Operator:
    """Changes passwords, on connections that are kept over everything that is broken."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._directory: Directory | None = None

    def __enter__(self) -> Self:
        """Open the directory."""
        self._runner.run(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def set_password(self, person: str, password: str) -> None:
        """Change it; again, until it is acknowledged."""
        until(
            lambda: self._runner.run(self._set(person, password)),
            seconds=FENCE,
            what=f"the new password of {person} is acknowledged",
        )

    async def _open(self) -> None:
        config = load(self._site.services.config)
        self._directory = await self._stack.enter_async_context(
            open_directory(config, by=Actor(name="operator:rounds"))
        )

    async def _set(self, person: str, password: str) -> bool:
        assert self._directory is not None
        try:
            await self._directory.set_password(person, Password(password))
        except OperatorsNoAnswer:
            return False
        return True


class Rounds:
    """Breaks a site again and again. Each way of doing so is a method, with what is done later."""

    def __init__(self, site: Site, *, people: dict[str, str], seed: int) -> None:
        self.site = site
        self.done: Counter[str] = Counter()
        """How often something was broken, by its kind."""
        self.slowest: dict[str, float] = {}
        """Seconds until all that was asked had been answered rightly, by kind."""
        self._random = random.Random(seed)  # noqa: S311 - which part breaks is no secret
        self._passwords = dict(people)
        self._starting: list[Replica] = []

    def run(self, operator: Operator, *, rounds: int) -> None:
        """Do so many of them. May be called again.

        Raises:
            AssertionError: a password that should work does not, or one that should not does.
        """
        for breaks in self._kinds(rounds)[:rounds]:
            person = self._random.choice(list(self._passwords))
            old, new = self._passwords[person], f"number {self.done.total()} of {person}"
            operator.set_password(person, new)
            self._passwords[person] = new
            began = time.monotonic()
            kind, mend = breaks()
            for replica in self._ready():
                self._look(replica, person, old=old, new=new, after=kind)
            self.done[kind] += 1
            took = time.monotonic() - began
            self.slowest[kind] = max(took, self.slowest.get(kind, 0.0))
            mend()

    def _kinds(self, rounds: int) -> "list[Callable[[], tuple[str, Callable[[], None]]]]":
        """Return what is broken in each round: each kind in its share, and at least once."""
        shares = (
            (self._cut_connections, 0.45),
            (self._kill_replica, 0.30),
            (self._kill_valkey, 0.10),
            (self._kill_standby, 0.05),
            (self._kill_primary, 0.05),
            (self._fail_over, 0.05),
        )
        kinds = [kind for kind, share in shares for _ in range(max(1, int(rounds * share)))]
        kinds += [self._cut_connections] * (rounds - len(kinds))
        self._random.shuffle(kinds)
        return kinds

    def _look(self, replica: Replica, person: str, *, old: str, new: str, after: str) -> None:
        def says(password: str) -> bool:
            answers: list[bool] = []

            def is_answered() -> bool:
                try:
                    with self.site.services.caller(replica.url) as caller:
                        answers.append(caller.check(person, password))
                except NoAnswer:
                    return False
                return True

            until(is_answered, seconds=FENCE, what=f"{replica.name} answers after: {after}")
            return answers[0]

        assert says(new), f"{person} can't log in at {replica.name} after: {after}"
        assert not says(old), f"an old password works at {replica.name} after: {after}"

    def _ready(self) -> list[Replica]:
        """Return who answers, but for those that have only begun to start."""
        for replica in list(self._starting):
            if not replica.alive:
                # The database was not there in that moment: a supervisor would do the same.
                replica.start(wait=False)
            elif replica.answers():
                self._starting.remove(replica)
        return [
            one for one in self.site.services.replicas if one.alive and one not in self._starting
        ]

    def _cut_connections(self) -> tuple[str, Callable[[], None]]:
        for link in self.site.links:
            link.reset_once()
        return "connections cut", _nothing

    def _kill_replica(self) -> tuple[str, Callable[[], None]]:
        until(lambda: len(self._ready()) > 1, seconds=FENCE, what="there is one to spare")
        replica = self._random.choice(self._ready())
        replica.kill()

        def start() -> None:
            replica.start(wait=False)
            self._starting.append(replica)

        return "replica killed", start

    def _kill_valkey(self) -> tuple[str, Callable[[], None]]:
        self.site.valkey.kill()
        return "Valkey killed", self.site.valkey.start

    def _kill_standby(self) -> tuple[str, Callable[[], None]]:
        self.site.pair.standby.kill()
        return "synchronous standby killed", self.site.heal

    def _kill_primary(self) -> tuple[str, Callable[[], None]]:
        self.site.pair.primary.kill()
        self.site.pair.primary.start()
        return "primary killed and started", _nothing

    def _fail_over(self) -> tuple[str, Callable[[], None]]:
        self.site.pair.fail_over()
        return "primary killed, standby promoted", self.site.heal


def _nothing() -> None:
    """Leave it as it is."""
