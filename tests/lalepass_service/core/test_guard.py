"""What stands before a check: who is held up, what is paid, what is shared."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from lalepass_service.adapters.entrance import StagedEntrance
from lalepass_service.core.audit import MAX_USER_AGENT, Entry, Event
from lalepass_service.core.check import Accepted, Refusal, Refused
from lalepass_service.core.digests import Digests
from lalepass_service.core.errors import (
    NoAnswer,
    Overloaded,
    StoreUnavailable,
    Throttled,
    UnreadableRecord,
)
from lalepass_service.core.guard import Attempt, payer_of
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import Credentials, Password, PasswordRecord, UserId, UserState
from lalepass_service.core.softlock import STOP_AT, Bid, Ticket
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing
from tests.lalepass_service.core.guarded import ALICE, EVERY_NAME, RIGHT, World

pytestmark = pytest.mark.anyio


async def test_three_wrong_ones_and_then_a_wait_before_any_hash(world: World) -> None:
    for number in range(3):
        assert await world.check(f"wrong {number}") == Refused(Refusal.CREDENTIALS)

    with pytest.raises(Throttled):
        await world.check("wrong 4")
    with pytest.raises(Throttled):
        await world.check(RIGHT)
    assert world.hasher.calls == 3

    world.later(seconds=1)
    assert isinstance(await world.check(RIGHT), Accepted)
    assert await world.failures() == 0


async def test_every_name_of_an_account_has_one_budget(world: World) -> None:
    for number, identifier in enumerate(EVERY_NAME):
        await world.check(f"wrong {number}", identifier)

    for identifier in EVERY_NAME:
        with pytest.raises(Throttled):
            await world.check("wrong again", identifier)


@pytest.mark.parametrize(
    "nobody", [ByLocalpart("nobody"), ByEmail("nobody@example.org"), ByPhone("499999999")]
)
async def test_a_name_that_nobody_has_is_held_up_like_one_that_somebody_has(
    world: World, nobody: Identifier
) -> None:
    for number in range(3):
        assert await world.check(f"wrong {number}", nobody) == Refused(Refusal.CREDENTIALS)

    with pytest.raises(Throttled) as throttled:
        await world.check("wrong 4", nobody)
    assert throttled.value.retry_after == 1


async def test_a_telephone_with_an_old_password_locks_nobody_out(world: World) -> None:
    for _ in range(1000):
        assert await world.check("the old one") == Refused(Refusal.CREDENTIALS)
        world.later(seconds=30)

    assert await world.failures() == 1
    assert isinstance(await world.check(RIGHT), Accepted)


async def test_a_stranger_can_not_lock_out_who_was_there_before(world: World) -> None:
    assert isinstance(await world.check(RIGHT, ip="192.0.2.1"), Accepted)
    for number in range(STOP_AT):
        await world.check(f"wrong {number}", ip="198.51.100.9")
        world.later(hours=2)

    with pytest.raises(Throttled):
        await world.check(RIGHT, ip="198.51.100.9")
    assert isinstance(await world.check(RIGHT, ip="192.0.2.1"), Accepted)


async def test_the_right_password_of_a_disabled_account_is_no_wrong_one(world: World) -> None:
    for _ in range(10):
        assert await world.check(RIGHT, ByLocalpart("gone")) == Refused(Refusal.DISABLED)

    assert await world.failures("id-gone") == 0


@pytest.mark.parametrize("failure", [Overloaded(retry_after=1), StoreUnavailable()])
async def test_what_could_not_be_verified_costs_nothing(world: World, failure: NoAnswer) -> None:
    world.hasher.failure = failure
    for number in range(20):
        with pytest.raises(type(failure)):
            await world.check(f"wrong {number}")

    assert await world.failures() == 0


async def test_what_can_not_be_paid_for_is_not_hashed(world: World) -> None:
    world.locks.failure = StoreUnavailable()

    with pytest.raises(StoreUnavailable):
        await world.check(RIGHT)
    assert world.hasher.calls == 0


async def test_identical_checks_at_the_same_time_share_one_hash_and_one_debit(
    world: World,
) -> None:
    world.hasher.pause = asyncio.Event()
    wrong = [asyncio.create_task(world.check("wrong")) for _ in range(20)]
    right = [asyncio.create_task(world.check(RIGHT)) for _ in range(20)]
    await world.hashes(2)
    world.hasher.pause.set()

    assert await asyncio.gather(*wrong) == [Refused(Refusal.CREDENTIALS)] * 20
    assert all(isinstance(outcome, Accepted) for outcome in await asyncio.gather(*right))
    assert world.hasher.calls == 2


async def test_other_passwords_and_other_accounts_share_nothing(world: World) -> None:
    await asyncio.gather(
        world.check(RIGHT), world.check("wrong"), world.check(RIGHT, ByLocalpart("gone"))
    )

    assert world.hasher.calls == 3


async def test_the_throttle_counts_networks_and_not_addresses(world: World) -> None:
    await world.check(RIGHT, ip="2001:db8::1")
    await world.check(RIGHT)

    assert world.throttle.hits == [("2001:db8::/64", "synapse"), (None, "synapse")]


async def test_who_is_throttled_costs_nothing(world: World) -> None:
    world.throttle.failure = Throttled(retry_after=7)

    with pytest.raises(Throttled):
        await world.check(RIGHT)
    assert world.hasher.calls == 0
    assert await world.failures() == 0


async def test_every_decision_leaves_a_trail(world: World) -> None:
    await world.check(RIGHT, ip="192.0.2.1")
    for number in range(3):
        await world.check(f"wrong {number}", ip="198.51.100.9")
    with pytest.raises(Throttled):
        await world.check("wrong 4", ip="198.51.100.9")
    world.hasher.failure = Overloaded(retry_after=1)
    with pytest.raises(Overloaded):
        await world.check(RIGHT, ip="192.0.2.1")
    world.hasher.failure = None
    await world.check(RIGHT, ByLocalpart("gone"))

    told = [(entry.outcome, entry.localpart, entry.source_ip) for entry in world.trail.entries]
    assert told == [
        ("accepted", "alice", "192.0.2.1"),
        *[("refused_credentials", "alice", "198.51.100.9")] * 3,
        ("throttled", "alice", "198.51.100.9"),
        ("no_answer_Overloaded", "alice", "192.0.2.1"),
        ("refused_disabled", "gone", None),
    ]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, None),
        ("a" * MAX_USER_AGENT, "a" * MAX_USER_AGENT),
        ("a" * 512, "a" * (MAX_USER_AGENT - 1) + "\u2026"),
    ],
)
async def test_of_a_user_agent_no_more_is_kept_than_is_told_by_it(
    world: World, sent: str | None, kept: str | None
) -> None:
    """Who has no password chooses it, too, and each guess has one."""
    await world.guard.check(
        Attempt(identifier=ALICE, password=Password("wrong"), caller="synapse", user_agent=sent)
    )

    assert world.trail.entries[0].user_agent == kept


async def test_what_was_typed_where_nobody_is_is_not_written_down(world: World) -> None:
    """A person may have typed the password into the field for the name."""
    await world.check("x", ByLocalpart("my-secret-password"))

    assert "my-secret-password" not in repr(world.trail.entries)
    assert world.trail.entries[0].outcome == "refused_credentials"


async def test_who_asks_after_a_change_gets_no_answer_from_before_it(world: World) -> None:
    world.hasher.pause = asyncio.Event()
    before = asyncio.create_task(world.check(RIGHT))
    await world.hashes(1)
    await world.users.set_state(UserId("id-alice"), UserState.DISABLED, act=ACT)
    after = asyncio.create_task(world.check(RIGHT))
    await world.hashes(2)
    world.hasher.pause.set()

    # Two hashes: the second did not share the first one's, whose outcome is that of its end, too.
    assert await before == Refused(Refusal.DISABLED)
    assert await after == Refused(Refusal.DISABLED)
    assert world.hasher.calls == 2


async def test_overload_makes_no_guess_free(world: World) -> None:
    """The same guess from two addresses: one pays and is turned away, the other is verified."""
    world.hasher.pause = asyncio.Event()
    payer = asyncio.create_task(world.check("wrong", ip="192.0.2.1"))
    await world.hashes(1)
    rider = asyncio.create_task(world.check("wrong", ip="192.0.2.2"))
    await world.hashes(2)
    # The first one fails, the second one does not.
    world.hasher.fail_next = 1
    world.hasher.pause.set()

    with pytest.raises(Overloaded):
        await payer
    assert await rider == Refused(Refusal.CREDENTIALS)
    assert await world.failures() == 1


async def test_an_unreadable_record_is_no_free_guess(world: World) -> None:
    world.hasher.failure = UnreadableRecord("it is broken")
    for number in range(3):
        with pytest.raises(UnreadableRecord):
            await world.check(f"wrong {number}")

    with pytest.raises(Throttled):
        await world.check("wrong 4")


async def test_a_record_that_can_not_be_unwrapped_costs_a_guess_and_a_hash(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.spoil("it needs the key k1")
    for number in range(3):
        with pytest.raises(UnreadableRecord):
            await world.check(f"any {number}")

    assert world.hasher.calls == 3
    assert await world.failures() == 3
    with pytest.raises(Throttled):
        await world.check("any 4")
    # Once for the operator, and not once for each try.
    assert caplog.text.count("it needs the key k1") == 1
    assert "alice" in caplog.text
    assert "any" not in caplog.text


async def test_a_record_of_no_known_form_costs_a_hash(world: World) -> None:
    broken = PasswordRecord("$unknown$")
    await world.users.add(a_user("broken"), broken, reuse_name=False, act=ACT)
    world.hasher.calls = 0

    with pytest.raises(UnreadableRecord):
        await world.check(RIGHT, ByLocalpart("broken"))
    # One that fails at once, and then a decoy that takes its time.
    assert world.hasher.calls == 2
    assert await world.failures("id-broken") == 1


async def test_the_trail_has_all_that_is_known_of_a_check(world: World) -> None:
    attempt = Attempt(
        identifier=ALICE,
        password=Password(RIGHT),
        caller="synapse",
        ip="192.0.2.7",
        user_agent="Element/1.11",
        request_id="seventeen",
    )
    await world.guard.check(attempt)

    assert world.trail.entries[-1] == Entry(
        at=NOW,
        event=Event.CHECK,
        outcome="accepted",
        actor="synapse",
        user_id=a_user("alice").id,
        localpart="alice",
        source_ip="192.0.2.7",
        user_agent="Element/1.11",
        request_id="seventeen",
    )


async def test_each_source_that_was_right_has_a_lane_of_its_own(world: World) -> None:
    await world.check(RIGHT, ip="192.0.2.7")
    for number in range(3):
        await world.check(f"wrong {number}", ip="192.0.2.8")

    with pytest.raises(Throttled):
        await world.check(RIGHT, ip="192.0.2.8")
    assert isinstance(await world.check(RIGHT, ip="192.0.2.7"), Accepted)


async def test_a_bid_at_a_name_that_nobody_has_is_like_any_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a source, and what is read in its place is by digits that nobody can foretell."""
    digests = Digests(b"k" * 32)
    bids: list[Bid | None] = []
    near: list[str] = []

    class Noting:
        async def enter(self, identifier: Identifier, **asked: Any) -> Ticket | None:
            found = await world.users.credentials(identifier)
            near.append(asked["near"])
            bids.append(asked["bid"](found))
            raise StoreUnavailable

    monkeypatch.setattr(world.guard, "_entrance", Noting())
    for name in ("alice", "nobody"):
        with pytest.raises(StoreUnavailable):
            await world.check(RIGHT, ByLocalpart(name), ip="192.0.2.7")

    assert near == [digests.near("name:alice"), digests.near("name:nobody")]
    payers = ["id-alice", payer_of(None, near=near[1])]
    assert [bid and bid.account for bid in bids] == payers
    assert [bid and bid.source for bid in bids] == [
        digests.source(payer, "192.0.2.7") for payer in payers
    ]
    assert [bid and bid.guess for bid in bids] == [
        digests.guess(payer, Password(RIGHT)) for payer in payers
    ]


def test_who_pays_for_a_name_that_nobody_has_is_kept_like_an_account() -> None:
    """As long as an id, spread like ids, taken for none, and nothing of what was typed."""
    digests = Digests(b"k" * 32)
    payers = [payer_of(None, near=digests.near(f"name:hunter{number}")) for number in range(512)]

    assert {len(payer) for payer in payers} == {len(str(uuid4()))}
    assert all(":" in payer and "hunter" not in payer for payer in payers)
    assert len(set(payers)) == len(payers)
    assert {payer[0] for payer in payers} == set("0123456789abcdef")
    assert payer_of(None, near=digests.near("name:hunter2")) == payers[2]


async def test_what_was_typed_where_nobody_is_does_not_stand_in_a_lane(world: World) -> None:
    """People type their password into the field for the name."""
    lanes = world.locks._lanes  # noqa: SLF001 - what a database would hold
    for identifier in (ByLocalpart("hunter2"), ByEmail("hunter2@example.org"), ByPhone("4917022")):
        await world.check("wrong", identifier, ip="192.0.2.7")

    kept = repr(lanes)
    assert kept.count(":nobody") == 3
    assert "hunter2" not in kept
    assert "4917022" not in kept


async def test_a_bid_says_since_when_the_password_is_the_password_and_the_account_unlocked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bids: list[Bid] = []
    entrance = StagedEntrance(world.users, world.locks)

    class Noting:
        async def enter(self, identifier: Identifier, **asked: Any) -> Ticket | None:
            of = asked.pop("bid")

            def noted(credentials: Credentials | None) -> Bid | None:
                bid: Bid | None = of(credentials)
                if bid is not None:
                    bids.append(bid)
                return bid

            return await entrance.enter(identifier, bid=noted, **asked)

    monkeypatch.setattr(world.guard, "_entrance", Noting())
    await world.check(RIGHT)
    set_at = NOW + timedelta(days=1)
    record = await world.hasher.hash(Password("another"))
    await world.users.set_password(UserId("id-alice"), record, changed_at=set_at, act=ACT)
    await world.check(RIGHT)
    await world.check(RIGHT, ByLocalpart("nobody"))
    found = await world.users.credentials(ALICE)
    assert found is not None
    unlocked = replace(found, user=replace(found.user, unlocked_at=NOW))

    async def credentials(_: object) -> Credentials:
        return unlocked

    monkeypatch.setattr(world.users, "credentials", credentials)
    await world.check(RIGHT)

    assert [bid.since for bid in bids] == [NOW, set_at, None, set_at]
    assert [bid.unlocked for bid in bids] == [None, None, None, NOW]


async def test_an_account_that_appears_in_between_leaves_nothing_to_its_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that is run again may see somebody where there was nobody."""
    entrance = StagedEntrance(world.users, world.locks)

    class Twice:
        async def enter(self, identifier: Identifier, **asked: Any) -> Ticket | None:
            asked["bid"](None)
            return await entrance.enter(identifier, **asked)

    with monkeypatch.context() as patched:
        patched.setattr(world.guard, "_entrance", Twice())
        assert isinstance(await world.check(RIGHT), Accepted)
    await world.users.delete(UserId("id-alice"), now=standing(NOW), act=ACT)

    assert await world.check(RIGHT) == Refused(Refusal.CREDENTIALS)


async def test_who_waits_for_one_who_then_joins_others_gets_what_they_get(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entrance = StagedEntrance(world.users, world.locks)
    begun = asyncio.Event()
    again = asyncio.Event()

    class Twice:
        async def enter(self, identifier: Identifier, **asked: Any) -> Ticket | None:
            first, begun_before = asked["bid"](None), begun.is_set()
            begun.set()
            if begun_before:
                # It has joined the one below.
                assert first is None
                return None
            await again.wait()
            return await entrance.enter(identifier, **asked)

    world.hasher.pause = asyncio.Event()
    leader = asyncio.create_task(world.check(RIGHT))
    await world.hashes(1)
    monkeypatch.setattr(world.guard, "_entrance", Twice())
    joins_later = asyncio.create_task(world.check(RIGHT))
    await begun.wait()
    waits = asyncio.create_task(world.check(RIGHT))
    for _ in range(5):
        await asyncio.sleep(0)
    again.set()
    for _ in range(5):
        await asyncio.sleep(0)
    world.hasher.pause.set()

    for outcome in await asyncio.gather(leader, joins_later, waits):
        assert isinstance(outcome, Accepted)
    assert world.hasher.calls == 1


async def test_a_right_password_whose_record_can_no_more_be_read_is_given_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is looked at once more after the hash, and by then it may need a key that is gone."""
    world.hasher.pause = asyncio.Event()
    checking = asyncio.create_task(world.check(RIGHT))
    await world.hashes(1)

    async def credentials(_: object) -> Credentials:
        raise UnreadableRecord("it needs the key k1")

    world.users.credentials = credentials  # type: ignore[method-assign,assignment]
    world.hasher.pause.set()

    with pytest.raises(NoAnswer) as caught:
        await checking
    assert not isinstance(caught.value, UnreadableRecord)
    assert await world.failures() == 0
    # The operator is told all the same.
    assert caplog.text.count("it needs the key k1") == 1


async def test_the_shared_work_goes_on_when_the_one_who_began_it_has_gone(world: World) -> None:
    world.hasher.pause = asyncio.Event()
    first, second = (asyncio.create_task(world.check(RIGHT)) for _ in range(2))
    await world.hashes(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    third = asyncio.create_task(world.check(RIGHT))
    await asyncio.sleep(0)
    world.hasher.pause.set()

    assert isinstance(await second, Accepted)
    assert isinstance(await third, Accepted)
    assert world.hasher.calls == 1
    assert await world.failures() == 0


async def test_a_right_password_is_settled_though_nobody_waits_for_the_answer(
    world: World,
) -> None:
    world.hasher.pause = asyncio.Event()
    alone = asyncio.create_task(world.check(RIGHT, ip="192.0.2.1"))
    await world.hashes(1)
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    assert await world.failures() == 1
    world.hasher.pause.set()
    while await world.failures():  # noqa: ASYNC110 - a counter, and the loop turns at once
        await asyncio.sleep(0)

    # And a wrong one stays paid for.
    world.hasher.pause = asyncio.Event()
    wrong = asyncio.create_task(world.check("wrong"))
    await world.hashes(2)
    wrong.cancel()
    world.hasher.pause.set()
    await asyncio.gather(wrong, return_exceptions=True)
    assert await world.check("wrong") == Refused(Refusal.CREDENTIALS)
    assert await world.failures() == 1


async def test_work_that_does_not_end_is_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lalepass_service.core.guard._LONGEST_SECONDS", 0.01)
    world.hasher.pause = asyncio.Event()
    both = [asyncio.create_task(world.check("wrong")) for _ in range(2)]

    for outcome in await asyncio.gather(*both, return_exceptions=True):
        assert isinstance(outcome, NoAnswer)
    world.hasher.pause = None
    assert await world.check("wrong") == Refused(Refusal.CREDENTIALS)
    assert await world.failures() == 1


async def test_those_who_enter_are_counted_from_the_first_moment(world: World) -> None:
    """So that of many who come in one round of the loop, each sees all who came before."""
    world.hasher.pause = asyncio.Event()
    seen: list[int] = []

    async def come(number: int) -> object:
        seen.append(world.guard.entering)
        return await world.check(f"wrong {number}", ByLocalpart(f"nobody-{number}"))

    coming = [asyncio.create_task(come(number)) for number in range(5)]
    await world.hashes(5)

    assert seen == [0, 1, 2, 3, 4]
    assert world.guard.entering == 0
    world.hasher.pause.set()
    await asyncio.gather(*coming)
