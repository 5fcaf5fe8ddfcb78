"""Which lanes are forgotten, where they are too many for one look."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from lalepass_service.adapters.sql import forgetting
from lalepass_service.adapters.sql.forgetting import forget_lanes
from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.retention import AT_ONCE
from lalepass_service.adapters.sql.session import Session, text_of
from lalepass_service.adapters.sql.users import SqlUsers
from tests.lalepass_service.accounts import ACT, NOW, a_user
from tests.lalepass_service.adapters.databases import fresh, opened

pytestmark = pytest.mark.anyio

ALICE = a_user("alice")
MINUTE = timedelta(minutes=1)
_INSERT = "INSERT INTO lanes (account, lane, failures, ring, changed_at) VALUES (?, ?, 1, ?, ?)"
Rows = Iterable[tuple[str, bytes, datetime]]


@pytest.fixture(params=["sqlite", "postgresql"])
async def hot(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Hot]:
    monkeypatch.setattr(forgetting, "PAUSE_SECONDS", 0.0)
    async with opened(fresh(request.param, request, tmp_path)) as at:
        await SqlUsers(at.database).add(ALICE, None, reuse_name=False, act=ACT)
        yield at.hot


def insert(session: Session, *, rows: Rows) -> None:
    session.run_many(
        _INSERT, [(account, lane, b"g" * 16, text_of(at)) for account, lane, at in rows]
    )


def everything(session: Session) -> set[tuple[str, bytes]]:
    return {(name, bytes(lane)) for name, lane in session.run("SELECT account, lane FROM lanes")}


async def test_over_many_looks_the_newest_names_stay(hot: Hot) -> None:
    count, kept = 3 * AT_ONCE, 2 * AT_ONCE + 17
    names: Rows = [(f"{number}:nobody", b"", NOW + number * MINUTE) for number in range(count)]
    sources: Rows = [(ALICE.id, b"%d" % number, NOW + number * MINUTE) for number in range(count)]
    await hot.write(partial(insert, rows=[*names, *sources, (ALICE.id, b"", NOW)]))
    before = NOW + (count - 10) * MINUTE

    forgotten = await forget_lanes(hot, before=before, names_kept=kept)

    stay = {(f"{number}:nobody", b"") for number in range(count - 10 - kept, count)}
    stay |= {(ALICE.id, b"%d" % number) for number in range(count - 10, count)}
    assert await hot.write(everything) == stay | {(ALICE.id, b"")}
    assert forgotten == 2 * count + 1 - len(stay) - 1
    assert await forget_lanes(hot, before=before, names_kept=kept) == 0


async def test_names_of_one_moment_are_all_kept_or_all_forgotten(hot: Hot) -> None:
    count = AT_ONCE + 5
    await hot.write(
        partial(insert, rows=[(f"{number}:nobody", b"", NOW) for number in range(count)])
    )

    assert await forget_lanes(hot, before=NOW + MINUTE, names_kept=3) == 0
    assert await forget_lanes(hot, before=NOW + MINUTE, names_kept=0) == count


async def test_names_as_they_were_typed_and_deleted_accounts_do_not_stay(hot: Hot) -> None:
    """Those of earlier versions, and those that were guessed at while they were deleted."""
    rows: Rows = [
        (account, b"", NOW) for account in ("name:hunter2", "email:a@b", "phone:49", "gone-id")
    ]
    await hot.write(partial(insert, rows=[*rows, ("1:nobody", b"", NOW), (ALICE.id, b"", NOW)]))

    assert await forget_lanes(hot, before=NOW, names_kept=9) == 0
    assert await forget_lanes(hot, before=NOW + MINUTE, names_kept=9) == len(list(rows))
    assert await hot.write(everything) == {("1:nobody", b""), (ALICE.id, b"")}
