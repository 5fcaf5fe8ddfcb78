"""What becomes of guesses when a name gets an account, or loses it."""

import pytest

from lalepass_service.core.check import Accepted, Refusal, Refused
from lalepass_service.core.errors import (
    Throttled,
)
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import Password, UserId
from lalepass_service.core.softlock import STOP_AT
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing
from tests.lalepass_service.core.guarded import RIGHT, World

pytestmark = pytest.mark.anyio


async def test_guesses_at_a_name_that_nobody_had_are_no_guesses_at_who_gets_it(
    world: World,
) -> None:
    """Or a stranger could close the accounts of people who are still to come."""
    for number in range(STOP_AT):
        await world.check(f"wrong {number}", ByLocalpart("bob"))
        world.later(hours=2)
    with pytest.raises(Throttled):
        await world.check("wrong", ByLocalpart("bob"))

    record = await world.hasher.hash(Password(RIGHT))
    await world.users.add(a_user("bob"), record, reuse_name=False, act=ACT)

    assert isinstance(await world.check(RIGHT, ByLocalpart("bob")), Accepted)
    for number in range(3):
        await world.check(f"wrong {number}", ByLocalpart("bob"))
    with pytest.raises(Throttled):
        await world.check(RIGHT, ByLocalpart("bob"))


async def test_a_name_that_lost_its_account_is_held_up_as_before(world: World) -> None:
    """Guesses at it tell nothing, and what stood against the account is no help to anybody."""
    await world.users.delete(UserId("id-alice"), now=standing(NOW), act=ACT)

    for number in range(3):
        assert await world.check(f"wrong {number}") == Refused(Refusal.CREDENTIALS)
    with pytest.raises(Throttled):
        await world.check(RIGHT)
