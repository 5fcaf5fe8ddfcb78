"""What every store of sign-ins does: in memory, in SQLite and in PostgreSQL."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from lalepass_service.core.model import User, UserId
from lalepass_service.core.sign_ins import KEEP_PER_ACCOUNT, Report
from tests.lalepass_service.accounts import ACT, NOW, standing
from tests.lalepass_service.adapters.followed import ALICE, BOB, LATER, RECORD, Followed

pytestmark = pytest.mark.anyio


def a_report(number: int = 0, **more: object) -> Report:
    plain = Report(
        id=f"report-{number:010}",
        signed_in=True,
        localpart="alice",
        device_id="PHONE",
        at=NOW,
        ip="192.0.2.7",
        user_agent="Element",
    )
    return replace(plain, **more)  # type: ignore[arg-type] # of whatever type the field is


async def sessions(
    followed: Followed, user: User = ALICE
) -> list[tuple[str | None, datetime | None, datetime | None]]:
    found = await followed.sign_ins.recent(user.id, limit=99)
    return [(each.device_id, each.signed_in_at, each.signed_out_at) for each in found]


IN = a_report(1)
OUT = a_report(2, signed_in=False, at=LATER, ip=None, user_agent=None)


@pytest.mark.parametrize(
    "batches",
    [[[IN, OUT]], [[IN], [OUT]], [[OUT, IN]], [[OUT], [IN]], [[IN, IN, OUT], [OUT, IN]]],
    ids=["together", "in turn", "backwards", "the end first", "again and again"],
)
async def test_both_ends_of_a_session_find_each_other(
    followed: Followed, batches: list[list[Report]]
) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    for batch in batches:
        await followed.sign_ins.add(batch, caller="hs", now=LATER)

    (session,) = await followed.sign_ins.recent(ALICE.id, limit=9)

    assert (session.caller, session.device_id) == ("hs", "PHONE")
    assert (session.signed_in_at, session.signed_out_at) == (NOW, LATER)
    assert (session.ip, session.user_agent) == ("192.0.2.7", "Element")


async def test_what_does_not_belong_together_is_not_joined(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await followed.users.add(BOB, RECORD, reuse_name=False, act=ACT)
    await followed.sign_ins.add([IN], caller="hs", now=NOW)
    for number, other in enumerate(
        (
            replace(OUT, device_id="LAPTOP"),
            replace(OUT, at=NOW - timedelta(seconds=1)),
            replace(OUT, device_id=None),
            replace(OUT, localpart="bob"),
        )
    ):
        await followed.sign_ins.add([replace(other, id=f"other-{number}")], caller="hs", now=NOW)
    await followed.sign_ins.add([replace(OUT, id="elsewhere")], caller="another", now=NOW)

    assert ("PHONE", NOW, None) in await sessions(followed)
    assert len(await sessions(followed)) == 5
    assert await sessions(followed, BOB) == [("PHONE", None, LATER)]


async def test_sign_ins_without_a_device_are_kept_each_for_itself(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    nameless = [replace(a_report(n), device_id=None) for n in range(2)]
    await followed.sign_ins.add(nameless, caller="hs", now=NOW)

    assert await sessions(followed) == [(None, NOW, None)] * 2


async def test_the_newest_session_of_a_device_is_the_one_that_ends(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    soon = NOW + timedelta(minutes=1)
    await followed.sign_ins.add([IN, a_report(3, at=soon), OUT], caller="hs", now=LATER)

    assert await sessions(followed) == [("PHONE", soon, LATER), ("PHONE", NOW, None)]


async def test_a_report_about_nobody_is_left_out(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    reports = [a_report(1, localpart="nobody"), a_report(2)]
    await followed.sign_ins.add(reports, caller="hs", now=NOW)

    assert len(await sessions(followed)) == 1
    assert await followed.sign_ins.recent(UserId("id-nobody"), limit=9) in ((), [])


async def test_the_last_sessions_of_each_account_are_kept(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await followed.users.add(BOB, RECORD, reuse_name=False, act=ACT)
    await followed.sign_ins.add([a_report(999, localpart="bob")], caller="hs", now=NOW)
    for number in range(KEEP_PER_ACCOUNT + 5):
        report = a_report(number, device_id=f"D{number}", at=NOW + timedelta(seconds=number))
        await followed.sign_ins.add([report], caller="hs", now=NOW)

    kept = [device for device, _, _ in await sessions(followed)]

    assert kept == [f"D{number}" for number in range(KEEP_PER_ACCOUNT + 4, 4, -1)]
    assert len(await followed.sign_ins.recent(ALICE.id, limit=3)) == 3
    assert len(await sessions(followed, BOB)) == 1


async def test_sessions_are_forgotten_in_time_and_with_their_account(followed: Followed) -> None:
    await followed.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await followed.sign_ins.add([a_report(1)], caller="hs", now=NOW)
    await followed.sign_ins.add([a_report(2)], caller="hs", now=LATER)

    assert await followed.sign_ins.sweep(before=LATER) == 1
    assert len(await sessions(followed)) == 1
    await followed.users.delete(ALICE.id, now=standing(LATER), act=ACT)

    assert await sessions(followed) == []
