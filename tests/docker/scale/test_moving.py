"""A small installation becomes one of the profile `scale`, on the volumes that it has."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.docker.people import until
from tests.docker.scale.asking import health, sql
from tests.docker.stack import CommandFailed, Stack

# One of each kind that Synapse makes: they belong to who made them.
_SYNAPSES = """
CREATE TABLE rooms (id bigserial PRIMARY KEY, name text);
INSERT INTO rooms (name) VALUES ('lobby');
CREATE SEQUENCE events_stream_seq;
CREATE FUNCTION check_rooms() RETURNS trigger AS 'BEGIN RETURN NEW; END' LANGUAGE plpgsql;
"""
_OWNERS = """
SELECT string_agg(DISTINCT pg_get_userbyid(owner), ',') FROM (
    SELECT relowner AS owner FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION SELECT proowner FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION SELECT datdba FROM pg_database WHERE datname = 'synapse') AS all_of_it
"""


# As Synapse has it.
_A_FILE = """
mkdir -p /data/media/local_content/AA/BB
echo a picture > /data/media/local_content/AA/BB/CC
"""
_KEYS = ("signing.key", "macaroon_secret", "form_secret", "registration_shared_secret")


@pytest.fixture
def small(scale: Stack) -> Iterator[Stack]:
    """The accounts and the database of a small installation, which is stopped."""
    stack = Stack(port=scale.port, project="lalepass-moving")
    moved = replace(stack, profile="scale", changes=scale.changes)
    moved.compose("down", "--volumes", "--timeout", "5")
    try:
        stack.up("postgres")
        lalepass = ("run", "--rm", "-T", "--entrypoint", "lalepass", "lalepass-prepare")
        stack.compose(*lalepass, "user", "add", "eve", "--password-stdin", stdin="pass-of-eve-1")
        psql = ("psql", "-q", "-X", "--username=synapse", "--set=ON_ERROR_STOP=1")
        stack.compose("exec", "-T", "postgres", *psql, stdin=_SYNAPSES)
        stack.compose("run", "--rm", "-T", "synapse-prepare")
        shell = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "synapse")
        stack.compose(*shell, "-euc", _A_FILE)
        stack.compose("down", "--timeout", "30")
        yield moved
    finally:
        moved.compose("down", "--volumes", "--timeout", "5")


def test_accounts_and_the_homeservers_database_come_along(small: Stack) -> None:
    def run(*arguments: str, entrypoint: tuple[str, ...] = ()) -> str:
        return small.compose("run", "--rm", "-T", *entrypoint, "scale-accounts", *arguments)

    def lalepass(*arguments: str) -> str:
        return run(*arguments, entrypoint=("--entrypoint", "lalepass"))

    small.compose("up", "--detach", "postgres-1")
    until(lambda: health(small, "postgres-1") == "healthy", seconds=120)
    with pytest.raises(CommandFailed, match="the profile small has accounts"):
        run()

    assert "made a token" not in run("move")

    assert '"eve"' in lalepass("user", "list", "--json")
    assert lalepass("token", "list", "--json").count('"homeserver"') == 1
    with pytest.raises(CommandFailed, match="nothing to move"):
        run("move")
    # Who owned all of it could do everything, and may not any more.
    assert sql(small, "postgres-1", "SELECT name FROM rooms", database="synapse") == "lobby"
    assert sql(small, "postgres-1", _OWNERS, database="synapse") == "synapse"
    mighty = "SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE rolsuper"
    assert sql(small, "postgres-1", f"{mighty} AND rolcanlogin") == "postgres"

    # Doing it again changes nothing, also where it was interrupted before that was written down.
    small.compose("exec", "-T", "postgres-1", "sh", "-c", "rm $PGDATA/.ours")
    small.compose("restart", "postgres-1")
    until(lambda: health(small, "postgres-1") == "healthy", seconds=120)
    assert sql(small, "postgres-1", _OWNERS, database="synapse") == "synapse"


def test_keys_go_where_no_media_are_and_media_stay_where_they_are(small: Stack) -> None:
    def sh(service: str, line: str, profile: str = "scale") -> str:
        stack = replace(small, profile=profile)
        run = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", service)
        return stack.compose(*run, "-euc", line)

    def prepare(service: str, *arguments: str, profile: str = "scale") -> str:
        stack = replace(small, profile=profile)
        return stack.compose("run", "--rm", "-T", "--no-deps", service, *arguments)

    sums = f"sha256sum {' '.join(_KEYS)}"
    before = sh("synapse-prepare", f"cd /data; {sums}", "small")
    picture = "cat /data/media/local_content/AA/BB/CC"

    prepare("scale-homeserver")

    assert sh("synapse-main", f"cd /secrets/synapse; {sums}") == before
    for service in ("media-cleaner", "synapse-media"):
        assert sh(service, picture) == "a picture\n"
    # All that the cleaner finds beside the media says only where the keys are.
    assert sh("media-cleaner", "ls -A /data").split() == ["generated.yaml", "media"]
    assert sh("media-cleaner", "ls -A /secrets/synapse") == ""
    # Whoever starts the other profile again by mistake gets no other keys.
    with pytest.raises(CommandFailed, match="the keys are the profile scale's"):
        prepare("synapse-prepare", profile="small")

    prepare("scale-homeserver", "back")

    prepare("synapse-prepare", profile="small")
    assert sh("synapse-prepare", f"cd /data; {sums}", "small") == before
    assert sh("synapse", picture, "small") == "a picture\n"
