import pytest

from lalepass_service.core.model import Password, UserState
from tests.lalepass_service.accounts import ACT, a_user
from tests.lalepass_service.core.guarded import RIGHT, World


@pytest.fixture
async def world() -> World:
    world = World()
    record = await world.hasher.hash(Password(RIGHT))
    alice = a_user("alice", emails=("alice@example.org",), phones=("491701234567",))
    await world.users.add(alice, record, reuse_name=False, act=ACT)
    await world.users.add(
        a_user("gone", state=UserState.DISABLED), record, reuse_name=False, act=ACT
    )
    world.hasher.calls = 0
    return world
