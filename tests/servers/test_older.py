"""A standby that lacked the last changes takes over, and Valkey knows of all of them."""

import time
from contextlib import suppress
from pathlib import Path

from tests.servers.asking import Caller, NoAnswer
from tests.servers.pair import Pair
from tests.servers.postgres import Database
from tests.servers.services import Settings, services
from tests.servers.valkey import Valkey
from tools.processes import LOOPBACK

OLD, NEW = "correct horse battery", "staple of the battery"
_FENCE = 60.0


def soon(caller: Caller, password: str) -> bool:
    """Check as soon as there is an answer."""
    deadline = time.monotonic() + _FENCE
    while time.monotonic() < deadline:
        with suppress(NoAnswer):
            return caller.check("alice", password)
        time.sleep(0.1)  # noqa: TID251 - with a deadline
    return caller.check("alice", password)


def test_the_passwords_that_it_has_are_right_once_all_is_counted_anew(
    tmp_path: Path, postgres_pair: Pair, pair_database: Database, breakable_valkey: Valkey
) -> None:
    settings: Settings = {
        **postgres_pair.settings(pair_database.name),
        "valkey": {"url": f"redis://{LOOPBACK}:{breakable_valkey.port}", "timeout": 5},
        "hashing": {"threads": 1},
    }
    with services(tmp_path, count=2, settings=settings, people={"alice": OLD, "bob": OLD}) as two:
        urls = [replica.url for replica in two.replicas]
        with two.caller(urls[0]) as one, two.caller(urls[1]) as other:
            two.disable("bob")
            postgres_pair.standby.wait_for_replay(postgres_pair.primary)
            postgres_pair.standby.kill()
            two.set_password("alice", NEW)
            assert one.check("alice", NEW)
            for number in range(3):
                assert not soon(other, f"a wrong one {number}")
            postgres_pair.primary.kill()
            postgres_pair.standby.start()
            postgres_pair.promote_away()

            said = two.run("db", "restored")

            assert said.rstrip().endswith(", and Valkey counts anew")
            assert soon(one, OLD)
            assert soon(other, OLD)
            assert not soon(one, NEW)
            assert not one.check("bob", OLD)
            assert two.failures("alice") == 1
