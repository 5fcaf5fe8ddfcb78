"""What every store of tokens does."""

from dataclasses import replace

import pytest

from lalepass_service.core.errors import TooManyTokens
from lalepass_service.core.ports import Callers
from tests.lalepass_service.accounts import ACT, NOW
from tests.lalepass_service.adapters.stores import DIGEST, LATER, a_caller

pytestmark = pytest.mark.anyio


async def test_a_token_comes_back_with_its_digest(callers: Callers) -> None:
    await callers.add(a_caller(), DIGEST, limit=2, act=ACT)

    assert await callers.find(a_caller().token_id) == (a_caller(), DIGEST)


async def test_an_unknown_token_is_not_found(callers: Callers) -> None:
    await callers.add(a_caller(), DIGEST, limit=2, act=ACT)

    for token_id in ("", "%", "00000000000_", "000000000002"):
        assert await callers.find(token_id) is None


async def test_tokens_are_listed_with_the_oldest_first(callers: Callers) -> None:
    third, first, second = a_caller(1, hours=2), a_caller(2, hours=0), a_caller(3, hours=1)
    for caller in (third, first, second):
        await callers.add(caller, DIGEST, limit=9, act=ACT)

    assert await callers.all() == (first, second, third)


async def test_a_name_has_no_more_live_tokens_than_the_limit(callers: Callers) -> None:
    await callers.add(a_caller(1), DIGEST, limit=2, act=ACT)
    await callers.add(a_caller(2), DIGEST, limit=2, act=ACT)

    with pytest.raises(TooManyTokens):
        await callers.add(a_caller(3), DIGEST, limit=2, act=ACT)

    assert await callers.find(a_caller(3).token_id) is None
    await callers.add(a_caller(4, name="Synapse"), DIGEST, limit=2, act=ACT)


async def test_revoked_tokens_leave_room_and_stay_known(callers: Callers) -> None:
    await callers.add(a_caller(1), DIGEST, limit=1, act=ACT)

    assert await callers.revoke(a_caller(1).token_id, at=LATER, act=ACT)

    await callers.add(a_caller(2), DIGEST, limit=1, act=ACT)
    revoked = replace(a_caller(1), revoked_at=LATER)
    assert await callers.find(revoked.token_id) == (revoked, DIGEST)


async def test_revoking_again_changes_nothing(callers: Callers) -> None:
    await callers.add(a_caller(), DIGEST, limit=2, act=ACT)

    assert await callers.revoke(a_caller().token_id, at=NOW, act=ACT)
    assert await callers.revoke(a_caller().token_id, at=LATER, act=ACT)

    assert await callers.all() == (replace(a_caller(), revoked_at=NOW),)


async def test_what_does_not_exist_is_not_revoked(callers: Callers) -> None:
    assert not await callers.revoke("000000000001", at=NOW, act=ACT)
