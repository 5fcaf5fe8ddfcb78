"""A homeserver with an account, what Lalepass says of it, and what brings the two in step."""

from dataclasses import dataclass, field
from typing import Any

from twisted.internet import defer
from twisted.internet.task import Clock

from lalepass_provider.policy import Keep, LocalUsers, ProfilePolicy
from lalepass_provider.profile import ProfileSync
from lalepass_provider.tables import Tables
from lalepass_provider.wanted import Person
from lalepass_wire import AcceptedUser
from tests.lalepass_provider.fakes import FakeHomeserver

MXID = "@alice:hs.example"
BOB = "@bob:hs.example"
ALWAYS = ProfilePolicy(
    display_name=Keep.ALWAYS, emails=Keep.ALWAYS, phones=Keep.ALWAYS, admin=Keep.ALWAYS
)
ON_CREATE = ProfilePolicy(
    display_name=Keep.ON_CREATE, emails=Keep.ON_CREATE, phones=Keep.ON_CREATE, admin=Keep.ON_CREATE
)
NEVER = ProfilePolicy(
    display_name=Keep.NEVER, emails=Keep.NEVER, phones=Keep.NEVER, admin=Keep.NEVER
)


def alice(**said: Any) -> Person:
    return AcceptedUser(id="1", localpart="alice", **said)


SAID: dict[str, Any] = {
    "display_name": "Alice",
    "emails": ("Alice@X.org", "a@y.org"),
    "phones": ("4917012345",),
    "admin": True,
}
FULL = alice(**SAID)
ADDRESSES = [
    (MXID, "email", "a@y.org"),
    (MXID, "email", "alice@x.org"),
    (MXID, "msisdn", "4917012345"),
]


@dataclass
class Parts:
    """A homeserver with alice's account, and what keeps it in step."""

    policy: ProfilePolicy = ALWAYS
    local_users: LocalUsers = field(default_factory=LocalUsers)
    homeserver: FakeHomeserver = field(default_factory=FakeHomeserver)
    clock: Clock = field(default_factory=Clock)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.homeserver.add(MXID, displayname="alice")
        self.homeserver.add(BOB)
        self.homeserver.record_user_external_id("lalepass", "1", MXID)
        self.sync = ProfileSync(
            homeserver=self.homeserver,
            tables=Tables(self.homeserver),
            policy=self.policy,
            local_users=self.local_users,
            clock=self.clock,
            failed=self.failed.append,
        )

    @property
    def name(self) -> str | None:
        return self.homeserver.accounts[MXID]


class Stuck:
    """Holds up each transaction of a kind until it is let go."""

    def __init__(self, homeserver: FakeHomeserver, kind: str) -> None:
        self.waiting: list[defer.Deferred[None]] = []
        self._kind = kind
        homeserver.before_reading = self

    async def __call__(self, desc: str) -> None:
        if desc == self._kind:
            gate: defer.Deferred[None] = defer.Deferred()
            self.waiting.append(gate)
            await gate

    def let_go(self) -> None:
        self.waiting.pop(0).callback(None)
