"""A service whose disk becomes full: nobody gets a guess for nothing, and it goes on by itself."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from lalepass_service import parts
from lalepass_service.config import Config, Database, Hashing
from lalepass_service.core.check import Accepted, Outcome
from lalepass_service.core.editing import NewUser
from lalepass_service.core.errors import StoreUnavailable, Throttled
from lalepass_service.core.guard import Attempt
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import Password
from tests.lalepass_service.accounts import BY
from tests.lalepass_service.disks import disk
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio

RIGHT, WRONG = Password("correct horse battery"), Password("battery staple")


def attempt(password: Password) -> Attempt:
    return Attempt(identifier=ByLocalpart("alice"), password=password, caller="homeserver")


async def ask(service: parts.Service, password: Password) -> Outcome | None:
    """Return the answer; None if there is none, or none yet."""
    try:
        return await service.check.check(attempt(password))
    except (StoreUnavailable, Throttled):
        return None


async def test_a_service_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as small:
        config = Config(
            database=Database(path=small.path / "lalepass.db", busy_timeout=1),
            hashing=Hashing(threads=1),
        )
        parts.migrate(config.database.path)
        async with parts.open_directory(config, by=BY) as directory:
            await directory.add(NewUser(localpart="alice"), RIGHT)

        async with parts.open_service(config) as service:
            answers = [await ask(service, RIGHT)]
            assert isinstance(answers[0], Accepted)
            await until(lambda: service.trail().waiting == 0)
            with small.full():
                # What was written before may leave room for a few, so not every one fails.
                right = [await ask(service, RIGHT) for _ in range(20)]
                wrong = [await ask(service, WRONG) for _ in range(20)]
                await service.database.ping(5)
            assert all(answer is None or isinstance(answer, Accepted) for answer in right)
            assert not any(isinstance(answer, Accepted) for answer in wrong)
            assert None in right + wrong

            answers += [*right, *wrong]
            async with asyncio.timeout(20):
                while not isinstance(answers[-1], Accepted):
                    answers.append(await ask(service, RIGHT))
            await until(lambda: service.trail().waiting == 0)
            assert service.trail().lost == 0

        async with parts.open_trail(config) as trail:
            outcomes: Counter[str] = Counter()
            for _, entry in await trail.entries():
                # Of those that were turned away some are counted.
                outcomes[entry.outcome] += int(entry.details.get("count", 1))
        none = outcomes["no_answer_StoreUnavailable"] + outcomes["throttled"]
        assert none == answers.count(None)
        assert outcomes["accepted"] == sum(isinstance(answer, Accepted) for answer in answers)
