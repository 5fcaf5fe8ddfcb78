"""Names, addresses and the flag of an administrator follow Lalepass."""

import pytest

from lalepass_provider.policy import LocalUsers
from lalepass_wire import AcceptedUser
from lalepass_wire.feed import Account, AccountState
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.profiles import (
    ADDRESSES,
    BOB,
    FULL,
    MXID,
    NEVER,
    Parts,
    alice,
)


@on_reactor
async def test_a_deactivated_account_gets_nothing_back() -> None:
    # Synapse may have erased it.
    parts = Parts()
    parts.homeserver.change(MXID, deactivated=True)

    await parts.sync.apply(FULL)

    assert parts.homeserver.addresses == []
    assert parts.failed == []


@on_reactor
async def test_everything_that_is_said_is_written() -> None:
    parts = Parts()

    await parts.sync.apply(FULL)

    assert parts.name == "Alice"
    assert parts.homeserver.addresses == ADDRESSES
    assert parts.homeserver.admin(MXID)
    assert parts.failed == []


@on_reactor
async def test_what_is_so_already_is_not_written() -> None:
    parts = Parts()
    await parts.sync.apply(FULL)
    parts.homeserver.written.clear()

    await parts.sync.apply(FULL)
    await parts.sync.after_login(MXID, FULL, created=False)

    assert parts.homeserver.written == []


@on_reactor
async def test_what_lalepass_takes_back_is_taken_away() -> None:
    parts = Parts()
    await parts.sync.apply(FULL)

    await parts.sync.apply(alice(emails=("a@y.org",)))

    assert parts.name == "alice"  # as one who was never given a name
    assert parts.homeserver.addresses == [(MXID, "email", "a@y.org")]
    assert not parts.homeserver.admin(MXID)
    parts.homeserver.written.clear()
    await parts.sync.apply(alice(emails=("a@y.org",)))
    assert parts.homeserver.written == []


@on_reactor
async def test_what_lalepass_has_never_said_stays() -> None:
    parts = Parts()
    parts.homeserver.add_address(MXID, "email", "own@z.org")
    parts.homeserver.add_address(MXID, "msisdn", "49999999")
    parts.homeserver.change(MXID, admin=1)
    own = parts.homeserver.addresses

    await parts.sync.apply(alice())

    assert (parts.name, parts.homeserver.addresses) == ("alice", own)
    assert parts.homeserver.admin(MXID)
    assert parts.homeserver.written == []


@on_reactor
async def test_what_both_have_said_is_lalepasss() -> None:
    parts = Parts()
    parts.homeserver.add_address(MXID, "email", "alice@x.org")
    parts.homeserver.change(MXID, admin=1)

    await parts.sync.apply(FULL)
    await parts.sync.apply(alice())

    assert parts.homeserver.addresses == []
    assert not parts.homeserver.admin(MXID)


@on_reactor
async def test_a_name_that_the_person_has_chosen_is_not_taken_with_lalepasss() -> None:
    parts = Parts()
    await parts.sync.apply(alice(display_name="Alice"))
    parts.homeserver.database.execute("UPDATE profiles SET displayname = 'Ally'")

    await parts.sync.apply(alice())

    assert parts.name == "Ally"


@on_reactor
async def test_a_name_with_blanks_around_it_is_written_once() -> None:
    """Synapse strips them (`handlers/profile.py`, set_displayname)."""
    parts = Parts()
    for _ in range(3):
        await parts.sync.apply(alice(display_name=" Alice "))

    assert [row[1] for row in parts.homeserver.written].count("display name") == 1


@on_reactor
async def test_the_address_of_another_is_left_alone_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    parts = Parts()
    parts.homeserver.add_address(BOB, "email", "alice@x.org")

    await parts.sync.apply(FULL)

    assert parts.homeserver.addresses == [
        (MXID, "email", "a@y.org"),
        (MXID, "msisdn", "4917012345"),
        (BOB, "email", "alice@x.org"),
    ]
    assert f"{MXID} is not given the email alice@x.org, which {BOB} has" in caplog.text
    assert parts.failed == ["address_taken"]
    await parts.sync.apply(alice())
    assert parts.homeserver.addresses == [(BOB, "email", "alice@x.org")]


@on_reactor
async def test_an_address_that_moves_from_one_to_another_in_lalepass_moves() -> None:
    parts = Parts()
    await parts.homeserver.record_user_external_id("lalepass", "2", BOB)
    await parts.sync.apply(alice(emails=("team@x.org",)))

    await parts.sync.apply(alice())
    await parts.sync.apply(AcceptedUser(id="2", localpart="bob", emails=("team@x.org",)))

    assert parts.homeserver.addresses == [(BOB, "email", "team@x.org")]


@on_reactor
async def test_an_address_that_somebody_has_removed_comes_back() -> None:
    parts = Parts()
    await parts.sync.apply(FULL)
    await parts.homeserver.delete_local_threepid(MXID, "email", "a@y.org")

    await parts.sync.apply(FULL)

    assert parts.homeserver.addresses == ADDRESSES


@pytest.mark.parametrize("odd", ["", "no address", "a@b@c", "a\0@x.org", "x" * 300 + "@x.org"])
@on_reactor
async def test_what_is_no_address_is_left_out(odd: str) -> None:
    parts = Parts()

    await parts.sync.apply(alice(emails=(odd, "a@y.org"), phones=(odd, "4917012345")))

    assert parts.homeserver.addresses == [ADDRESSES[0], ADDRESSES[2]]


@on_reactor
async def test_never_is_never_and_costs_nothing() -> None:
    parts = Parts(policy=NEVER)
    asked: list[str] = []

    async def note(desc: str) -> None:
        asked.append(desc)

    parts.homeserver.before_reading = note
    await parts.sync.after_login(MXID, FULL, created=True)

    assert asked == []
    assert parts.homeserver.written == []


@on_reactor
async def test_a_user_without_an_account_is_no_fault() -> None:
    parts = Parts()

    await parts.sync.apply(AcceptedUser(id="unknown", localpart="alice", emails=("a@y.org",)))

    assert (parts.homeserver.written, parts.failed) == ([], [])


@on_reactor
async def test_a_local_user_keeps_what_the_homeserver_says() -> None:
    parts = Parts(local_users=LocalUsers(["al*"]))

    await parts.sync.apply(FULL)
    await parts.sync.after_login(MXID, FULL, created=False)

    assert parts.homeserver.written == []


@on_reactor
async def test_what_the_change_feed_says_is_written_as_well() -> None:
    parts = Parts()
    changed = Account(
        id="1", localpart="alice", state=AccountState.ACTIVE, display_name="A", emails=("a@y.org",)
    )
    await parts.sync.apply(changed)
    assert (parts.name, parts.homeserver.addresses) == ("A", [(MXID, "email", "a@y.org")])

    # Nothing is known of it any more: its addresses are free for others.
    await parts.sync.apply(Account(id="1", localpart="alice", state=AccountState.DELETED))
    assert parts.homeserver.addresses == []
