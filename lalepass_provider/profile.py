"""What Lalepass says of a person is what the homeserver says: name, addresses, administrator.

Nothing is written that is so already. What Lalepass no longer says is taken away again, if it was
Lalepass that said it; what the person or an administrator has put there by other ways stays.

What is written once, when an account is made, is owed from then on until it is written. A part
about which somebody else has decided before that is taken for settled.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from synapse.logging.context import make_deferred_yieldable
from synapse.module_api import UserID
from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime

from lalepass_provider.homeserver import Homeserver
from lalepass_provider.policy import Keep, LocalUsers, ProfilePolicy
from lalepass_provider.tables import Profile, Tables
from lalepass_provider.wanted import Person, Wanted
from lalepass_provider.whose import localpart_of, misfit

logger = logging.getLogger(__name__)

_FENCE: Final = 3.0
"""Seconds that a login waits for its profile. What takes longer is done after it."""

_MAX_UNNOTED: Final = 1000
"""New accounts of which could not be noted what is owed to them; the oldest are forgotten."""


def _nothing(_step: str) -> None:
    pass


class ProfileSync:
    """Brings profiles in step, one at a time for each account and the newest state last.

    Never raises: a profile that can't be written is a line in the log and a call of `failed`, and
    is tried again at the next login or change.
    """

    def __init__(
        self,
        *,
        homeserver: Homeserver,
        tables: Tables,
        policy: ProfilePolicy,
        local_users: LocalUsers,
        clock: IReactorTime,
        failed: Callable[[str], None] = _nothing,
    ) -> None:
        """`failed` is called with the part that could not be written, for a metric."""
        self._homeserver = homeserver
        self._tables = tables
        self._always = policy.parts(Keep.ALWAYS)
        self._once = policy.parts(Keep.ON_CREATE)
        self._local_users = local_users
        self._clock = clock
        self._failed = failed
        self._next: dict[str, tuple[Wanted, bool]] = {}
        self._busy: set[str] = set()
        self._unnoted: dict[str, None] = {}
        self._write: Mapping[str, Callable[[str, Wanted, Profile], Awaitable[None]]] = {
            "display_name": self._display_name,
            "emails": self._emails,
            "phones": self._phones,
            "admin": self._admin,
        }

    async def after_login(
        self, mxid: str, person: Person, *, created: bool, now: Profile | None = None
    ) -> None:
        """Bring the profile in step, and go on without it if that takes long.

        Args:
            mxid: whose it is.
            person: what the service says.
            created: the account was made just now.
            now: how the profile was a moment ago. If it is as it should be, nothing is begun.
        """
        if self._local_users.match_mxid(mxid) or not (self._always or self._once):
            return
        wanted = Wanted.by(person)
        if now is not None and not created and self._is_in_step(mxid, wanted, now):
            return

        async def work() -> None:
            await self._bring_in_step(mxid, wanted, created=created)

        # In a logging context of its own: it may go on when the request is over.
        done = self._homeserver.run_as_background_process("lalepass_profile", work)
        if not await make_deferred_yieldable(_within(done, _FENCE, self._clock)):
            logger.warning("The profile of %s takes long: the login goes on without it", mxid)

    async def expect(self, mxid: str) -> None:
        """Note what a new account will be owed, before it is made.

        Else a process that is killed right after that would leave an account that is not known to
        be new. If it can't be noted now, `after_login` tries it once more.
        """
        if self._once and not self._local_users.match_mxid(mxid):
            await self._carefully("profile", mxid, self._tables.owe(mxid, self._once))

    async def forget(self, mxid: str) -> None:
        """Strike off what was expected: the account is not made."""
        if self._once:
            await self._carefully("profile", mxid, self._tables.owe(mxid, ()))

    async def apply(self, person: Person) -> None:
        """Bring the profile of a user in step who has changed, if there is an account of theirs.

        One that a login would be refused for is not theirs, whatever a link says.

        Of one who is deleted nothing is said any more, so that the addresses are free for others.
        Works in every process of the homeserver. Two that do so at once do no harm, but the older
        state may be what stays until the next login.
        """
        try:
            account = await self._tables.linked(person.id)
        except Exception:
            logger.exception("Whose profile has changed could not be found out")
            self._failed("account")
            return
        if account is None or account.deactivated:
            return  # Synapse may have erased the data of the latter: nothing of it comes back
        wrong = misfit(
            account,
            localpart=person.localpart,
            server_name=self._homeserver.server_name,
            local_users=self._local_users,
        )
        if wrong is not None:
            logger.error("A profile is let be: %s", wrong.fault)
            return
        await self._bring_in_step(account.mxid, Wanted.by(person), created=False)

    async def _bring_in_step(self, mxid: str, wanted: Wanted, *, created: bool) -> None:
        waiting = self._next.get(mxid)
        self._next[mxid] = (wanted, created or (waiting is not None and waiting[1]))
        if mxid in self._busy:
            return  # whoever is at it takes the newest next
        self._busy.add(mxid)
        try:
            while (job := self._next.pop(mxid, None)) is not None:
                await self._steps(mxid, job[0], created=job[1])
        finally:
            self._busy.discard(mxid)

    def _is_in_step(self, mxid: str, wanted: Wanted, now: Profile) -> bool:
        """Say whether there is nothing to do, if this is still how the profile is."""
        if mxid in self._busy or mxid in self._unnoted or now.owed:
            return False
        return not any(wanted.differs(part, now) for part in self._always)

    async def _steps(self, mxid: str, wanted: Wanted, *, created: bool) -> None:
        if not (self._always or self._once):
            return
        is_new = created or mxid in self._unnoted
        try:
            # Noted before anything is tried, so that it is done also if this process ends here.
            now = await self._tables.profile(mxid, owes=self._once if is_new else ())
        except Exception:
            logger.exception("The profile of %s could not be read", mxid)
            self._failed("profile")
            if is_new:
                self._remember(mxid)
            return
        self._unnoted.pop(mxid, None)
        owed = now.owed & self._once
        left = [
            part
            for part, write in self._write.items()
            if part in self._always | owed
            and wanted.differs(part, now)
            and (part in self._always or _is_undecided(part, mxid, wanted, now))
            and not await self._carefully(part, mxid, write(mxid, wanted, now))
        ]
        await self._settle(mxid, now.owed, left=owed & frozenset(left))

    async def _settle(self, mxid: str, owed: frozenset[str], *, left: frozenset[str]) -> None:
        if left != owed:
            await self._carefully("profile", mxid, self._tables.owe(mxid, left))

    def _remember(self, mxid: str) -> None:
        """Keep in mind that an account is new, as the database could not be told."""
        self._unnoted[mxid] = None
        if len(self._unnoted) > _MAX_UNNOTED:
            del self._unnoted[next(iter(self._unnoted))]

    async def _carefully(self, name: str, mxid: str, step: Awaitable[None]) -> bool:
        """Say whether it is done."""
        try:
            await step
        except Exception:
            logger.exception("The %s of %s could not be brought in step", name, mxid)
            self._failed(name)
            return False
        return True

    async def _display_name(self, mxid: str, wanted: Wanted, now: Profile) -> None:
        name = wanted.display_name
        kept = now.kept.get("display_name", frozenset())
        if name is None:
            if now.display_name in kept:
                await self._write_name(mxid, localpart_of(mxid))
            await self._tables.keep(mxid, "display_name", ())
            return
        if name != now.display_name:
            await self._write_name(mxid, name)
        if kept != {name}:
            await self._tables.keep(mxid, "display_name", (name,))

    async def _write_name(self, mxid: str, name: str) -> None:
        await self._homeserver.set_displayname(UserID.from_string(mxid), name)
        logger.info("Changed the display name of %s", mxid)

    async def _emails(self, mxid: str, wanted: Wanted, now: Profile) -> None:
        await self._addresses(mxid, "email", wanted.emails, now)

    async def _phones(self, mxid: str, wanted: Wanted, now: Profile) -> None:
        await self._addresses(mxid, "msisdn", wanted.phones, now)

    async def _addresses(
        self, mxid: str, medium: str, wanted: frozenset[str], now: Profile
    ) -> None:
        kept = now.kept.get(medium, frozenset())
        gone = kept - wanted
        for address in sorted(gone):
            await self._tables.remove_address(mxid, medium, address)
        if gone:
            # After the removal, so that it is done again if this process ends in between.
            await self._tables.keep(mxid, medium, kept & wanted)
            logger.info("Took %d addresses of kind %s from %s", len(gone), medium, mxid)
        missing = wanted - (kept & now.addresses.get(medium, frozenset()))
        if not missing:
            return
        others = await self._tables.add_addresses(mxid, medium, missing)
        for address, owner in others.items():
            logger.warning(
                "%s is not given the %s %s, which %s has: change it there or in Lalepass",
                mxid,
                medium,
                address,
                owner,
            )
            self._failed("address_taken")

    async def _admin(self, mxid: str, wanted: Wanted, now: Profile) -> None:
        if wanted.admin:
            if not now.admin:
                await self._homeserver.set_user_admin(mxid, admin=True)
                logger.warning("Made %s an administrator of this server", mxid)
            await self._tables.keep(mxid, "admin", ("true",))
        else:
            if now.admin:
                await self._homeserver.set_user_admin(mxid, admin=False)
                logger.warning("%s is no longer an administrator of this server", mxid)
            await self._tables.keep(mxid, "admin", ())


def _is_undecided(part: str, mxid: str, wanted: Wanted, now: Profile) -> bool:
    """Say whether a part of a new account is still as the homeserver made it.

    What Lalepass has put there before was put there by the try that is repeated now, and is the
    person's since. The price: who was made an administrator by a try whose end was not noted, and
    stopped being one by hand before the next login, becomes one again, once.
    """
    field = {"emails": "email", "phones": "msisdn"}.get(part, part)
    if now.kept.get(field):
        return False
    return part != "display_name" or now.display_name in {wanted.display_name, localpart_of(mxid)}


def _within(
    work: "defer.Deferred[None]", seconds: float, clock: IReactorTime
) -> "defer.Deferred[bool]":
    """Fire when the work is done, with True, or after so many seconds, with False.

    The work itself goes on: a database thread can't be taken back.
    """
    waited: defer.Deferred[bool] = defer.Deferred()
    timer = clock.callLater(seconds, lambda: waited.callback(False))  # noqa: FBT003 - a result

    def done(result: object) -> None:
        if timer.active():
            timer.cancel()
            waited.callback(True)  # noqa: FBT003 - a result
        del result  # a fault is in the log already

    work.addBoth(done)
    return waited
