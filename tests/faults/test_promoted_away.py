"""An old primary goes on beside the one that was promoted, and replicas are connected with it.

They would have the right password for what it was: somebody who pays in Valkey writes nothing, and
so does not notice that the old primary can't acknowledge anything any more.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from lalepass_service.config import Config, load
from lalepass_service.core.audit import Actor
from lalepass_service.core.model import Password
from lalepass_service.parts import open_directory
from lalepass_wire import paths
from tests.faults.site import Site, site, until
from tests.servers.asking import NoAnswer
from tests.servers.pair import Pair
from tests.servers.psql import url_of
from tests.servers.valkey import Valkey
from tools import web

pytestmark = pytest.mark.timeout(300)

ALICE: Final = "alice"
OLD: Final = "correct horse battery"
NEW: Final = "set at the new primary"
NEWER: Final = "set by a command"

FENCE: Final = 15.0
"""Seconds after a promotion until an old primary is left. On a quiet machine it is a second."""
ROUNDS: Final = 10


@pytest.fixture
def divided(postgres_pair: Pair, keeping_valkey: Valkey, tmp_path: Path) -> Iterator[Site]:
    """Replicas that are connected with the first host of their address, which is the primary."""
    with site(tmp_path, pair=postgres_pair, valkey=keeping_valkey, people={ALICE: OLD}) as made:
        made.heal()
        made.have_first_primary()
        made.pair.primary.require_standby(made.pair.standby)
        until(lambda: all(says(made, url, OLD) for url in made.urls), seconds=FENCE, what="well")
        yield made


def says(made: Site, url: str, password: str) -> bool | None:
    with made.services.caller(url, timeout=20.0) as caller:
        try:
            return caller.check(ALICE, password)
        except NoAnswer:
            return None


def change_at_new_primary(made: Site) -> None:
    """Set the password there, whatever a command would find by itself."""
    config: Config = load(made.services.config)
    url = url_of(made.link_of_primary.port, database=made.database.name)
    there = config.database.model_copy(update={"url": url, "replica_url": ""})
    only = config.model_copy(update={"database": there})

    async def change() -> None:
        async with open_directory(only, by=Actor(name="operator:tests")) as directory:
            await directory.set_password(ALICE, Password(NEW))

    asyncio.run(change())


def test_an_old_password_ends_though_the_old_primary_goes_on(divided: Site) -> None:
    divided.pair.promote_away()
    change_at_new_primary(divided)

    def is_over() -> bool:
        return all(says(divided, url, NEW) for url in divided.urls)

    took = until(is_over, seconds=FENCE, what="the new password works at every replica")
    print(f"\nan old primary was left after {took:.1f} s")  # noqa: T201 - for who ran it

    for _ in range(ROUNDS):
        for url in divided.urls:
            assert not says(divided, url, OLD), f"the old password works at {url}"
    for url in divided.urls:
        assert web.request("GET", f"{url}{paths.HEALTH_READY}").status == 200
        shown = web.request("GET", f"{url}{paths.METRICS}").body.decode()
        assert "lalepass_database_primaries 2.0" in shown
        assert "lalepass_database_split 0.0" in shown

    # Commands look before they change anything.
    divided.services.set_password(ALICE, NEWER)
    assert [says(divided, url, NEWER) for url in divided.urls] == [True, True]


def test_nobody_is_asked_when_only_the_old_one_is_left(divided: Site) -> None:
    divided.pair.promote_away()
    change_at_new_primary(divided)
    until(
        lambda: all(says(divided, url, NEW) for url in divided.urls),
        seconds=FENCE,
        what="it is seen",
    )
    divided.pair.primary.kill()

    # Whoever still believes the old one would accept it.
    for _ in range(3):
        assert [says(divided, url, OLD) for url in divided.urls] == [None, None]
    for url in divided.urls:
        assert web.request("GET", f"{url}{paths.HEALTH_READY}").status == 503

    divided.pair.primary.start()
    until(
        lambda: all(says(divided, url, NEW) for url in divided.urls),
        seconds=FENCE,
        what="it is back",
    )
