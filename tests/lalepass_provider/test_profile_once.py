"""What is written once, when an account is made."""

from twisted.internet import defer

from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.profiles import (
    ADDRESSES,
    FULL,
    MXID,
    ON_CREATE,
    Parts,
    Stuck,
    alice,
)


@on_reactor
async def test_on_create_is_when_the_account_is_made_and_never_again() -> None:
    parts = Parts(policy=ON_CREATE)
    await parts.sync.apply(FULL)
    assert (parts.name, parts.homeserver.addresses) == ("alice", [])

    await parts.sync.after_login(MXID, FULL, created=True)
    await parts.sync.after_login(MXID, alice(display_name="B"), created=False)

    assert parts.name == "Alice"
    assert parts.homeserver.addresses == ADDRESSES
    assert parts.homeserver.admin(MXID)


@on_reactor
async def test_that_an_account_was_made_is_not_forgotten_in_the_queue() -> None:
    parts = Parts(policy=ON_CREATE)
    stuck = Stuck(parts.homeserver, "lalepass_profile")
    first = defer.ensureDeferred(parts.sync.after_login(MXID, alice(), created=True))
    made = defer.ensureDeferred(parts.sync.after_login(MXID, FULL, created=True))
    later = defer.ensureDeferred(parts.sync.after_login(MXID, FULL, created=False))

    while stuck.waiting:
        stuck.let_go()

    await defer.gatherResults([first, made, later])
    assert parts.homeserver.addresses == ADDRESSES
