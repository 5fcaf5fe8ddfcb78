"""The feed, orders and sign-ins in dictionaries."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from lalepass_service.adapters.memory.stores import MemoryUsers
from lalepass_service.core.changes import Change, LockedNames, SignOutOrder, Stretch
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import UserId
from lalepass_service.core.sign_ins import KEEP_PER_ACCOUNT, Report, SignIn


class MemoryChanges:
    """The feed of accounts in a dictionary. Implements `core.changes.Changes`."""

    def __init__(self, users: MemoryUsers) -> None:
        self._users = users
        self.failure: Exception | None = None
        """Raised by every call while it is set, such as StoreUnavailable."""
        self.looks = 0
        """How often somebody asked for the head."""

    async def database_id(self) -> str:
        """Return the name of this database."""
        self._answer()
        return "memory"

    async def head(self) -> int:
        """Return the place of the newest change."""
        self.looks += 1
        self._answer()
        return self._users.followers.head

    async def behind(self, seq: int, *, limit: int) -> Stretch:
        """Return up to `limit` changes behind a place, the oldest first."""
        self._answer()
        places = sorted(
            (place, name, user_id)
            for user_id, (place, name) in self._users.followers.places.items()
            if place > seq
        )
        changes = [
            Change(seq=place, user_id=user_id, localpart=name, user=self._users.by_id(user_id))
            for place, name, user_id in places[:limit]
        ]
        return Stretch(head=self._users.followers.head, changes=changes)

    async def locked(self, *, after: str | None, limit: int) -> LockedNames:
        """Return up to `limit` names behind `after`: not active, or retired."""
        self._answer()
        names = [name for name in self._users.locked() if after is None or name > after]
        return LockedNames(head=self._users.followers.head, localparts=names[:limit])

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure


class MemorySignOutOrders:
    """Orders in a dictionary. Implements `core.changes.SignOutOrders`."""

    def __init__(self, users: MemoryUsers) -> None:
        self._orders = users.followers.orders
        self._done: set[tuple[str, str]] = set()

    async def pending(self, caller: str, *, after: int = 0, limit: int) -> tuple[SignOutOrder, ...]:
        """Return up to `limit` orders that this caller has not acknowledged, the oldest first."""
        orders = (
            each
            for each in self._orders.values()
            if each.seq > after and (caller, each.id) not in self._done
        )
        return tuple(orders)[:limit]

    async def acknowledge(self, ids: Sequence[str], *, caller: str) -> None:
        """Don't show these orders to this caller again."""
        self._done |= {(caller, each) for each in ids}

    async def sweep(self, *, before: datetime) -> int:
        """Forget orders from before this time. Returns how many."""
        old = [user_id for user_id, each in self._orders.items() if each.ordered_at < before]
        for user_id in old:
            del self._orders[user_id]
        return len(old)


@dataclass(slots=True)
class _Session:
    user_id: UserId
    sign_in: SignIn
    reported_at: datetime
    ids: set[str] = field(default_factory=set)


class MemorySignIns:
    """Sign-ins in a list. Implements `core.sign_ins.SignIns`."""

    def __init__(self, users: MemoryUsers) -> None:
        self._users = users
        self._sessions: list[_Session] = []
        self.failure: Exception | None = None
        """Raised by `add` while it is set, such as StoreUnavailable."""

    async def add(self, reports: Sequence[Report], *, caller: str, now: datetime) -> None:
        """Take down a batch."""
        if self.failure is not None:
            raise self.failure
        for report in reports:
            user = await self._users.find(ByLocalpart(report.localpart))
            if user is not None and not any(report.id in each.ids for each in self._sessions):
                session = self._session(user.id, report, caller, now)
                session.ids.add(report.id)
                session.reported_at = now
                self._prune(user.id)

    async def recent(self, user_id: UserId, *, limit: int) -> tuple[SignIn, ...]:
        """Return up to `limit` sessions of an account, the newest first."""
        if self._users.by_id(user_id) is None:
            return ()
        own = [each.sign_in for each in reversed(self._sessions) if each.user_id == user_id]
        own.sort(key=lambda each: str(each.signed_in_at or each.signed_out_at), reverse=True)
        return tuple(own[:limit])

    async def sweep(self, *, before: datetime) -> int:
        """Forget sessions that nothing was reported of since. Returns how many."""
        count = len(self._sessions)
        self._sessions = [each for each in self._sessions if each.reported_at >= before]
        return count - len(self._sessions)

    def _session(self, user_id: UserId, report: Report, caller: str, now: datetime) -> _Session:
        """Return the session that a report is about, with what it says."""
        blank = SignIn(
            caller=caller,
            device_id=report.device_id,
            signed_in_at=None,
            signed_out_at=None,
            ip=None,
            user_agent=None,
        )
        own = [
            each
            for each in self._sessions
            if (each.user_id, each.sign_in.caller, each.sign_in.device_id)
            == (user_id, caller, report.device_id)
            and report.device_id is not None
            and _fits(each.sign_in, report)
        ]
        found = own[0 if report.signed_in else -1] if own else _Session(user_id, blank, now)
        if not own:
            self._sessions.append(found)
        if report.signed_in:
            found.sign_in = replace(
                found.sign_in,
                signed_in_at=report.at,
                ip=report.ip,
                user_agent=report.user_agent,
            )
        else:
            found.sign_in = replace(found.sign_in, signed_out_at=report.at)
        return found

    def _prune(self, user_id: UserId) -> None:
        own = [each for each in self._sessions if each.user_id == user_id]
        for old in own[:-KEEP_PER_ACCOUNT]:
            self._sessions.remove(old)


def _fits(sign_in: SignIn, report: Report) -> bool:
    """Whether a report is about the other end of a session."""
    if report.signed_in:
        ended = sign_in.signed_out_at
        return sign_in.signed_in_at is None and ended is not None and ended >= report.at
    began = sign_in.signed_in_at
    return sign_in.signed_out_at is None and began is not None and began <= report.at
