"""What a homeserver reports. What the stores do is in `adapters/test_sign_ins.py`."""

from datetime import UTC, datetime

import httpx
import pytest

from lalepass_service.core.model import UserId
from lalepass_wire import paths
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.http.feeding import REPORT
from tests.lalepass_service.http.world import World

pytestmark = pytest.mark.anyio


async def test_reports_are_written_down_once(follower: httpx.AsyncClient, world: World) -> None:
    ended = REPORT | {"id": "f" * 16, "kind": "signed_out", "at": "2026-01-02T03:01:00Z"}
    for _ in range(2):
        answer = await follower.post(paths.REPORTS, json={"reports": [REPORT, ended]})
        assert answer.json() == {"result": "done"}

    (sign_in,) = await world.sign_ins.recent(UserId("id-alice"), limit=9)

    assert sign_in.caller == "follower"
    assert (sign_in.device_id, sign_in.ip) == ("PHONE", "2001:db8::1")
    assert sign_in.user_agent == "Element/1.11"
    assert sign_in.signed_in_at == datetime(2026, 1, 2, 3, tzinfo=UTC)
    assert sign_in.signed_out_at == datetime(2026, 1, 2, 3, 1, tzinfo=UTC)


async def test_a_report_about_nobody_is_no_mistake(follower: httpx.AsyncClient) -> None:
    answer = await follower.post(paths.REPORTS, json={"reports": [REPORT | {"localpart": "who"}]})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("at", "kept"),
    [
        ("9999-12-31T23:59:59Z", NOW),
        ("9999-12-31T23:59:59-14:00", NOW),
        ("2026-01-03T00:00:00+14:00", NOW),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("2025-09-01T00:00:00Z", None),
    ],
)
async def test_a_clock_that_is_wrong_does_no_harm(
    follower: httpx.AsyncClient, world: World, at: str, kept: datetime | None
) -> None:
    answer = await follower.post(paths.REPORTS, json={"reports": [REPORT | {"at": at}]})

    assert answer.status_code == 200, answer.text
    found = await world.sign_ins.recent(UserId("id-alice"), limit=9)
    assert [each.signed_in_at for each in found] == ([kept] if kept else [])


async def test_text_that_postgresql_does_not_have_is_written_down_another_way(
    follower: httpx.AsyncClient, world: World
) -> None:
    """Or the homeserver would send the same batch for ever."""
    odd = REPORT | {"device_id": "a\0b", "source": {"user_agent": "\0"}}
    answer = await follower.post(paths.REPORTS, json={"reports": [odd]})

    assert answer.status_code == 200, answer.text
    (sign_in,) = await world.sign_ins.recent(UserId("id-alice"), limit=9)
    assert (sign_in.device_id, sign_in.user_agent) == ("a\ufffdb", "\ufffd")
