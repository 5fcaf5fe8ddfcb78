"""What deploy/postgres promises: never two servers on the same files, never two primaries."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.servers.deployed import ROOT, Deployed, deployed
from tests.servers.fixtures import left_out_if_missing
from tests.servers.psql import Refused, installed, run_as_account
from tests.servers.server import program
from tests.test_deploy_synapse import module
from tools.processes import LOOPBACK

Both = tuple[Deployed, Deployed]


@pytest.fixture
def both() -> Iterator[Both]:
    with left_out_if_missing(), deployed() as servers:
        yield servers


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.1)  # noqa: TID251 - with a deadline


def make_small(server: Deployed) -> None:
    """Make a cluster as the official image does for the profile small, with a table in it."""
    directory = server.directory
    options = ("--username=synapse", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    run_as_account(installed("initdb"), "-D", str(server.data), *options, directory=directory)
    run_as_account(
        *("sh", "-euc", '"$1" --single -D "$2" postgres < "$3"', "sh"),
        *(installed("postgres"), str(server.data), str(_statements(directory, "postgres"))),
        directory=directory,
    )
    run_as_account(
        *("sh", "-euc", '"$1" --single -D "$2" synapse < "$3"', "sh"),
        *(installed("postgres"), str(server.data), str(_statements(directory, "synapse"))),
        directory=directory,
    )


def _statements(directory: Path, database: str) -> Path:
    texts = {"postgres": "CREATE DATABASE synapse\n", "synapse": "CREATE TABLE events (id int)\n"}
    path = directory / f"{database}.sql"
    path.write_text(texts[database])
    return path


class Small(Deployed):
    """The profile small's, on the files of another one."""

    def __init__(self, of: Deployed) -> None:  # no folders of its own
        self.__dict__.update(of.__dict__)
        self.name = "small"
        self._process = None
        tools = of.directory / of.name / "bin"
        tools.mkdir(exist_ok=True)
        # The image's: with what it is told, it becomes the server.
        entry = tools / "docker-entrypoint.sh"
        entry.write_text('#!/bin/sh\nexec "$@" -k "$PGHOST" -c listen_addresses=\n')
        entry.chmod(0o755)

    def command(self) -> list[str]:
        return self.script("small")

    def answers(self) -> bool:
        return self.sql_of_small("SELECT 1") == "1"

    def sql_of_small(self, text: str) -> str:
        done = subprocess.run(
            [installed("psql"), "-XqAt", "-U", "synapse", "-d", "synapse", "-c", text],
            env=os.environ | self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout.strip()


def prepare(server: Deployed, script: str, *arguments: str) -> str:
    """Run what prepares a profile, as far as it comes without the command `lalepass`."""
    scripts = server.directory / "prepare"
    scripts.mkdir(exist_ok=True)
    for path in (ROOT / "deploy" / "lalepass").iterdir():
        text = path.read_text().replace("/secrets/", f"{server.directory}/")
        text = text.replace("cd /var/lib/lalepass", "echo goes on; exit 0")
        text = text.replace("lock_authority() {", "lock_authority() { echo goes on; exit 0")
        (scripts / path.name).write_text(text.replace("/deploy/", f"{scripts}/"))
    done = subprocess.run(
        [program("sh"), str(scripts / script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def refused(server: Deployed) -> str:
    """Start it, and return what it said before it ended by itself."""
    server.start(wait=False)
    until(lambda: not server.alive)
    return server.said()


def test_the_profile_small_keeps_scale_away_from_its_files(both: Both) -> None:
    first, _ = both
    make_small(first)
    with Small(first) as small:
        process = (first.data / "postmaster.pid").read_text()

        assert "profile small: docker compose --profile small down" in refused(first)
        assert "since the profile small runs" in prepare(first, "scale.sh", "secrets")

        assert (first.data / "postmaster.pid").read_text() == process
        assert small.sql_of_small("SELECT count(*) FROM events") == "0"
        # Its own is done again at each start of the stack.
        assert prepare(first, "prepare.sh") == "goes on\n"
    assert prepare(first, "scale.sh", "secrets") == "goes on\n"


def test_the_profile_scale_keeps_small_away_from_its_files(both: Both) -> None:
    first, _ = both
    with first:
        process = (first.data / "postmaster.pid").read_text()

        assert "profile scale: docker compose --profile scale down" in refused(Small(first))
        assert "since the profile scale runs" in prepare(first, "prepare.sh")

        assert (first.data / "postmaster.pid").read_text() == process
        assert first.role() == "primary"
        assert prepare(first, "scale.sh", "secrets") == "goes on\n"
    assert prepare(first, "prepare.sh") == "goes on\n"


def test_small_does_not_serve_what_scale_has_had(both: Both) -> None:
    first, _ = both
    make_small(first)
    with first:
        assert first.sql("SELECT count(*) FROM events", user="synapse", database="synapse") == "0"

    assert "these files belong to the profile scale" in refused(Small(first))


def test_a_takeover_that_failed_is_said_and_done_the_next_time(both: Both) -> None:
    first, _ = both
    make_small(first)
    takeover = first.scripts / "takeover.sql"
    whole = takeover.read_text()
    takeover.write_text(whole + "SELECT nothing_of_that_name();\n")

    assert "roles and databases could not be made" in refused(first)
    assert not (first.data / ".ours").exists()

    takeover.write_text(whole)
    with first:
        owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'events'"
        assert first.sql(owner, database="synapse") == "synapse"
        assert first.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'synapse'") == "f"


def test_what_synapse_does_is_shown_to_nobody(both: Both) -> None:
    first, _ = both
    with first:
        statement = (
            "SELECT state || ' ' || query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        synapse = first.sql(statement, user="synapse", database="synapse")

        assert synapse.strip() == "disabled"
        with pytest.raises(Refused, match="permission denied"):
            first.sql("SET track_activities = on", user="synapse", database="synapse")
        # The way to it is open, which its standbys need.
        assert statement in first.sql(statement, user="lalepass", database="lalepass")
        may = "SELECT pg_has_role('pg_read_all_stats', 'USAGE')"
        assert first.sql(may, user="lalepass", database="lalepass") == "t"


_MEDIA = """
CREATE TABLE local_media_repository (media_id text, media_length int, created_ts bigint,
    last_access_ts bigint, url_cache text, upload_name text, user_id text);
CREATE TABLE remote_media_cache (media_origin text, media_id text, filesystem_id text,
    media_length int, created_ts bigint, last_access_ts bigint, upload_name text);
CREATE TABLE access_tokens (token text);
"""


def test_who_brings_media_to_s3_sees_nothing_else_of_synapses(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = both
    rights = module("media_rights")
    monkeypatch.setattr(rights, "SCALE", tmp_path / "scale.yaml")

    def look(statement: str, database: str = "synapse") -> str:
        return first.sql(statement, user="media", database=database)

    with first:
        reached = {
            "host": LOOPBACK,
            "port": first.port,
            "dbname": "synapse",
            "user": "synapse",
            "password": (first.directory / "synapse.password").read_text(),
            "sslmode": "require",
            "cp_max": 5,
        }
        (tmp_path / "scale.yaml").write_text(yaml.safe_dump({"database": {"args": reached}}))
        first.sql(_MEDIA, user="synapse", database="synapse")
        with pytest.raises(Refused, match="permission denied"):
            look("SELECT media_id FROM local_media_repository")

        rights.main()
        rights.main()

        for table, columns in rights.SEEN.items():
            assert look(f"SELECT {', '.join(columns)} FROM {table}") == ""
            for statement in (
                f"SELECT upload_name FROM {table}",
                f"DELETE FROM {table}",
            ):
                with pytest.raises(Refused, match="permission denied"):
                    look(statement)
        for statement in (
            "TABLE access_tokens",
            "CREATE TABLE mine ()",
            "CREATE TEMP TABLE mine ()",
        ):
            with pytest.raises(Refused, match="permission denied"):
                look(statement)
        with pytest.raises(Refused, match=r"no pg_hba\.conf entry"):
            look("SELECT 1", "lalepass")
        first.sql("DROP OWNED BY media; DROP ROLE media", database="synapse")
        with pytest.raises(SystemExit, match="no role media: restart the primary"):
            rights.main()


def test_no_role_can_take_every_connection(both: Both) -> None:
    first, _ = both
    homeserver = yaml.safe_load((ROOT / "deploy" / "synapse" / "scale.yaml").read_text())
    compose = (ROOT / "docker-compose.yml").read_text()
    processes = compose.count("<<: *synapse\n")
    with first:
        limits = dict(
            line.split("|")
            for line in first.sql(
                "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolconnlimit >= 0"
            ).splitlines()
        )
        most = int(first.sql("SHOW max_connections"))

    assert limits.keys() == {"synapse", "lalepass", "media"}
    assert int(limits["synapse"]) >= 2 * processes * homeserver["database"]["args"]["cp_max"]
    assert int(limits["lalepass"]) >= 2 * 2 * 9
    # For superusers, and for the other server.
    assert sum(map(int, limits.values())) <= most - 10


def test_roles_that_could_not_be_made_are_said(both: Both) -> None:
    first, _ = both
    roles = first.scripts / "roles.sql"
    roles.write_text(roles.read_text() + "SELECT nothing_of_that_name();\n")

    assert "roles and databases could not be made" in refused(first)
    assert not first.answers()


SLOTS = "SELECT string_agg(slot_name || ' ' || active, ', ') FROM pg_replication_slots"
FOLLOWED = "postgres_2 true"


@pytest.fixture
def pair(both: Both) -> Both:
    """A primary, and a standby that follows it by its own slot and no other."""
    first, second = both
    first.start()
    second.start()
    until(lambda: first.sql(SLOTS) == FOLLOWED)
    return both


def test_a_primary_that_is_lost_while_it_is_copied_starts_again(both: Both) -> None:
    first, second = both
    first.start()
    second.copy_slowly("1M")
    second.start(wait=False)
    until((second.data / ".copy" / "base").exists)

    first.kill()
    # Nobody can have been promoted.
    first.start()

    assert "waiting for" not in first.said()
    second.copy_slowly(None)
    second.wait_until_ready()
    until(lambda: first.sql(SLOTS) == FOLLOWED)


@pytest.mark.parametrize("made", [False, True])
def test_a_primary_that_is_lost_when_its_copy_is_whole_starts_again(
    pair: Both, *, made: bool
) -> None:
    first, second = pair
    second.kill()
    if not made:
        until(lambda: first.sql(SLOTS) == "postgres_2 false")
        first.sql("SELECT pg_drop_replication_slot('postgres_2')")
    mark = second.data / ".slotless"
    mark.touch()
    os.chown(mark, second.data.stat().st_uid, second.data.stat().st_gid)
    first.kill()

    second.start()
    with pytest.raises(Refused, match="does not know yet that this is its standby"):
        second.run_script("promote")
    first.start()

    until(lambda: first.sql(SLOTS) == FOLLOWED)
    until(lambda: not mark.exists())
    first.kill()
    assert "is the primary now" in second.run_script("promote")


def test_who_knows_that_the_primary_is_gone_promotes_a_copy(pair: Both) -> None:
    first, second = pair
    first.kill()
    mark = second.data / ".slotless"
    mark.touch()

    assert "is the primary now" in second.run_script("promote", "gone")

    assert second.role() == "primary"
    assert not mark.exists()


def test_a_standby_is_rebuilt_and_its_primary_waits_for_it_meanwhile_no_more(pair: Both) -> None:
    first, second = pair
    second.copy_slowly("1M")
    with subprocess.Popen(
        second.script("rebuild"), env=os.environ | second.environment(), cwd=second.directory
    ) as rebuild:
        until((second.data / ".copy" / "base").exists)
        assert "postgres_2 " not in first.sql(SLOTS)
        second.copy_slowly(None)
        first.kill()
        first.start()

        assert rebuild.wait(timeout=100) == 0
    assert "waiting for" not in first.said()
    until(lambda: first.sql(SLOTS) == FOLLOWED)


def test_nothing_is_kept_for_a_copy_that_is_given_up(both: Both) -> None:
    first, second = both
    first.start()
    second.copy_slowly("1M")
    second.start(wait=False)
    until((second.data / ".copy" / "base").exists)
    second.kill()

    first.run_script("go-alone")

    assert first.sql(SLOTS) == ""
