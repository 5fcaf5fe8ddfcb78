from collections.abc import AsyncIterator

import httpx
import pytest

from tests.lalepass_service.http.world import World


@pytest.fixture
async def world() -> World:
    world = World()
    await world.settle()
    return world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client() as client:
        yield client


@pytest.fixture
async def follower(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.follower() as client:
        yield client
