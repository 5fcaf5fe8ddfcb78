"""What stands before a password check: throttles, the join of identical checks, the soft-lock."""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from lalepass_service.core.audit import Entry, Event, Fact, shortened
from lalepass_service.core.check import (
    Accepted,
    CredentialCheck,
    Outcome,
    Refusal,
    Refused,
    account_of,
)
from lalepass_service.core.digests import Digests, source_prefix
from lalepass_service.core.errors import NoAnswer, Throttled, UnreadableRecord
from lalepass_service.core.identifiers import Identifier
from lalepass_service.core.joining import Joined
from lalepass_service.core.model import Credentials, Password
from lalepass_service.core.ports import Clock, Entrance, SoftLocks, Throttle, Trail
from lalepass_service.core.softlock import NOBODY, Bid, Ticket

_log: Final = logging.getLogger(__name__)

_LONGEST_SECONDS: Final = 300.0
"""For what goes on though nobody may wait for it any more. Each wait in it has an end of its own,
and no request may take longer (`server.request_timeout`)."""

_DIGITS: Final = 29
"""Of a digest in hexadecimal digits: with `NOBODY` it is as long as an account's id, a UUID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Somebody wants to know whether a password is right."""

    identifier: Identifier
    password: Password
    caller: str
    """The name of the token that asks."""
    ip: str | None = None
    """Where the person sits, as an authenticated caller says."""
    user_agent: str | None = None
    request_id: str | None = None


@dataclass(slots=True)
class _About:
    """Whom an attempt turned out to be about, and whether somebody is at the same thing."""

    credentials: Credentials | None = None
    account: str = ""
    theirs: "asyncio.Future[Outcome] | None" = None
    heard: bool = True
    """Whether the one who asked still waits."""


def payer_of(credentials: Credentials | None, *, near: str) -> str:
    """Return whose guesses count: an account's id, or what stands for a name that nobody has.

    That is as long as an id, and lies where `near` says: ids are random, so what is kept of both is
    spread alike, and neither is read from warmer pages. A colon tells it from an id. It is not what
    was typed, which may have been a password.
    """
    if credentials is not None:
        return str(credentials.user.id)
    return near[:_DIGITS] + NOBODY


class GuardedCheck:
    """Checks passwords, and bounds how often anybody may."""

    def __init__(
        self,
        *,
        check: CredentialCheck,
        entrance: Entrance,
        locks: SoftLocks,
        throttle: Throttle,
        digests: Digests,
        trail: Trail,
        clock: Clock,
    ) -> None:
        self._check = check
        self._entrance = entrance
        self._locks = locks
        self._throttle = throttle
        self._digests = digests
        self._trail = trail
        self._clock = clock
        self._joined: Joined[Outcome] = Joined()
        self._entering = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def entering(self) -> int:
        """How many are on their way to a hash, and not yet there."""
        return self._entering

    async def check(self, attempt: Attempt) -> Outcome:
        """Decide about one password.

        Identical checks that run at the same time share one debit and one hash: clients retry, and
        twenty of a person's devices log in at once.

        Who is cancelled gives up waiting for the answer. The guess goes on to its end: it is paid
        for, and has to be settled or given back.

        Raises:
            Throttled: the caller, the source or the account has to wait.
            NoAnswer: it could not be found out. The guess has cost nothing then, unless the
                record itself can't be read.
        """
        prefix = source_prefix(attempt.ip)
        # Not in the trail: who asks too often would fill it, and each line costs more than the no.
        self._throttle.hit(source=prefix, caller=attempt.caller)
        about = _About()
        try:
            return await self._share(attempt, prefix, about)
        except asyncio.CancelledError:
            about.heard = False
            raise

    async def finish(self, *, seconds: float) -> None:
        """Wait for what goes on though nobody waits for it any more, and then stop it.

        So that the trail, which is closed after this, has it all. What is stopped stays paid for:
        nobody knows whether the guess was wrong.

        Args:
            seconds: to wait, at most; and as long again for what is stopped to notice.
        """
        for _ in range(2):
            if self._tasks:
                await asyncio.wait(tuple(self._tasks), timeout=seconds)
            for task in self._tasks:
                task.cancel()

    async def _share(self, attempt: Attempt, prefix: str | None, about: _About) -> Outcome:
        """Have the check done, or wait for the one who is at the same one.

        What is done belongs to nobody: others may wait for it when the one who asked has gone, and
        what was paid for is settled or given back.
        """
        mine: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        # Here and not in the task, which begins later: those who come in between have to see it.
        self._entering += 1
        task = asyncio.create_task(self._work(attempt, prefix, about, mine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await _outcome_of(mine)

    async def _work(
        self,
        attempt: Attempt,
        prefix: str | None,
        about: _About,
        mine: "asyncio.Future[Outcome]",
    ) -> None:
        """Bring about an outcome, whatever it is, and write it down.

        Here and not where it was asked for: who was cut off by a timeout would leave an entry that
        says that nothing came of it, while the guess goes on, and is paid for or comes in.
        """
        ended: Outcome | BaseException = NoAnswer()
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                ended = await self._decide(attempt, prefix, about, mine)
        except TimeoutError:
            _log.error("a check was given up that had not ended in %s seconds", _LONGEST_SECONDS)
        except asyncio.CancelledError as exc:
            ended = exc
            raise
        except Exception as exc:  # noqa: BLE001 - all who wait for it get it
            ended = exc
        finally:
            self._joined.end(mine, ended)
            self._record(attempt, about, ended)

    async def _decide(
        self,
        attempt: Attempt,
        prefix: str | None,
        about: _About,
        mine: "asyncio.Future[Outcome]",
    ) -> Outcome:
        ticket = await self._enter(attempt, prefix, about, mine)
        if about.theirs is not None:
            # Also for those who had joined in here, before this one joined others.
            return await _outcome_of(about.theirs)
        return await self._guess(attempt.password, about, cast("Ticket", ticket))

    async def _enter(
        self,
        attempt: Attempt,
        prefix: str | None,
        about: _About,
        mine: "asyncio.Future[Outcome]",
    ) -> Ticket | None:
        try:
            near = self._digests.near(account_of(attempt.identifier, None))
            return await self._entrance.enter(
                attempt.identifier,
                bid=partial(self._bid, attempt, prefix, about, mine, near),
                near=near,
                now=self._clock.now(),
            )
        finally:
            self._entering -= 1

    def _bid(
        self,
        attempt: Attempt,
        prefix: str | None,
        about: _About,
        mine: "asyncio.Future[Outcome]",
        near: str,
        credentials: Credentials | None,
    ) -> Bid | None:
        """Say what is to be paid for; nothing if somebody is at the very same check already.

        Nor is anything if nobody waits for this one any more. The same means: the password to the
        letter, the source, and all that was read of the account. Who asks after a change must not
        get an answer from before it.
        """
        about.credentials, about.account = credentials, account_of(attempt.identifier, credentials)
        account = payer_of(credentials, near=near)
        source = self._digests.source(account, prefix)
        name = self._digests.attempt(account, attempt.password, source=source)
        about.theirs = self._joined.claim(name, credentials, mine)
        guess = self._digests.guess(account, attempt.password)
        if about.theirs:
            return None
        if credentials is None:
            return Bid(account=account, guess=guess, source=source)
        return Bid(
            account=account,
            guess=guess,
            source=source,
            since=credentials.user.password_changed_at,
            unlocked=credentials.user.unlocked_at,
        )

    def _record(self, attempt: Attempt, about: _About, ended: Outcome | BaseException) -> None:
        user = about.credentials.user if about.credentials else None
        self._trail.record(
            Entry(
                at=self._clock.now(),
                event=Event.CHECK,
                outcome=_name(ended),
                actor=attempt.caller,
                user_id=user.id if user else None,
                localpart=user.localpart if user else None,
                source_ip=attempt.ip,
                user_agent=shortened(attempt.user_agent),
                request_id=attempt.request_id,
                details=_details(ended, heard=about.heard),
            )
        )

    async def _guess(self, password: Password, about: _About, ticket: Ticket) -> Outcome:
        credentials = about.credentials
        try:
            outcome = await self._check.decide(credentials, password, account=about.account)
        except UnreadableRecord:
            # Not given back: nobody's guesses are free for as long as it takes to mend a record.
            raise
        except NoAnswer:
            await self._give_back(ticket)
            raise
        if credentials is not None and _right(outcome):
            self._locks.settle(ticket, user_id=credentials.user.id, now=self._clock.now())
        elif not ticket.paid:
            # It rode on the debit of another one, which may have been given back meanwhile.
            await self._locks.charge(ticket, now=self._clock.now())
        return outcome

    async def _give_back(self, ticket: Ticket) -> None:
        """Undo the debit if that is possible; what is not known is worth more than the cause."""
        try:
            await self._locks.give_back(ticket, now=self._clock.now())
        except NoAnswer:
            return


async def _outcome_of(work: "asyncio.Future[Outcome]") -> Outcome:
    """Wait for an outcome; who stops waiting does not end it for the others."""
    await asyncio.wait((work,))
    return work.result()


def _name(ended: Outcome | BaseException) -> str:
    match ended:
        case Accepted():
            return "accepted"
        case Refused():
            return f"refused_{ended.reason}"
        case Throttled():
            return "throttled"
    return f"no_answer_{type(ended).__name__}"


def _details(ended: Outcome | BaseException, *, heard: bool) -> dict[str, Fact]:
    from_cache = isinstance(ended, Accepted) and ended.from_cache
    return {
        **({"from_cache": True} if from_cache else {}),
        # Cut off by a timeout, a hang-up or the end of the service: nobody was let in by this.
        **({} if heard else {"heard": False}),
    }


def _right(outcome: Outcome) -> bool:
    """Whether the password was right, whatever the account's state made of it."""
    return isinstance(outcome, Accepted) or outcome.reason is not Refusal.CREDENTIALS
