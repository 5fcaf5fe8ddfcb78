"""An installation moves to a server with `lalepass db copy`, and nobody notices afterwards."""

from pathlib import Path

import pytest

from lalepass_wire.feed import AccountState
from tests.servers.asking import NoAnswer
from tests.servers.postgres import Database
from tests.servers.services import services
from tools.service import CommandRefused

OLD, NEW = "correct horse battery", "staple of the battery"


def test_a_service_on_the_copy_answers_the_same(
    tmp_path: Path, postgres_database: Database
) -> None:
    url, password = postgres_database.url, postgres_database.server.password_path
    with services(tmp_path, count=1, settings={}, people={"alice": OLD, "bob": OLD}) as one:
        (replica,) = one.replicas
        folder = tmp_path / "lalepass"
        where = ("--from", f"sqlite:{folder / 'lalepass.db'}", "--to", url)
        copy = ("db", "copy", *where, "--password-file", str(password))
        with one.caller() as caller:
            assert not caller.check("alice", "a wrong one")
            cursor = caller.locked().cursor
            one.disable("bob")
            with pytest.raises(CommandRefused, match="in use: stop the service first"):
                one.run(*copy)
        failures = one.failures("alice")
        assert replica.stop() == 0

        said = one.run(*copy)
        assert said.startswith(f"{url} has all of it: ")
        config = folder / "lalepass.toml"
        there = f'[database]\nurl = "{url}"\npassword_path = "{password}"\n'
        config.write_text(config.read_text().replace("[database]\n", there))
        replica.start()
        with one.caller() as caller:
            assert caller.check("alice", OLD)
            assert not caller.check("bob", OLD)
            # who followed the file goes on where it was
            found, end = caller.accounts(cursor)
            assert found["bob"].state is AccountState.DISABLED
            one.set_password("alice", NEW)
            one.enable("bob")
            assert caller.check("alice", NEW)
            assert set(caller.accounts(end)[0]) >= {"bob"}
        assert failures > 0
        assert one.run("db", "status") == f"{url}: current\n"
        with pytest.raises(NoAnswer), one.caller() as caller:
            caller.changes("no cursor")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("sqlite:a.db", "sqlite:b.db"),
        ("postgresql://a@localhost/a", "postgresql://a@localhost/b"),
    ],
)
def test_two_of_a_kind_have_other_ways(tmp_path: Path, source: str, target: str) -> None:
    with services(tmp_path, count=0, settings={}, people={}) as none:
        with pytest.raises(CommandRefused, match="from a file to a server or back"):
            none.run("db", "copy", "--from", source, "--to", target)
        with pytest.raises(CommandRefused, match="an address is sqlite:PATH"):
            none.run("db", "copy", "--from", "sqlite:a.db", "--to", "postgresql://a:b@localhost/c")
