import pytest

from tests.lalepass_service.core.guarded import World


@pytest.fixture
async def world() -> World:
    world = World()
    await world.settle()
    return world
