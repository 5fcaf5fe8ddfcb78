"""What docs/scaling.md types for a standby, on a real server."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.servers.pair import Pair
from tests.servers.postgres import SUPERUSER
from tests.servers.psql import installed, run_as_account
from tools.processes import LOOPBACK

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
COPIES = [
    line.partition("pg_basebackup")[2]
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("sudo -u postgres pg_basebackup ")
]
SETTINGS = re.findall(r"^(ALTER SYSTEM SET (\w+) = .*;)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("typed", "name"), list(zip(COPIES, ("moving", "standby1"), strict=True)))
def test_the_copy_is_a_standby_with_a_slot_and_a_name(
    postgres_pair: Pair, typed: str, name: str
) -> None:
    primary = postgres_pair.primary
    there = primary.directory / f"copy-{name}"
    words = dict(word.lstrip("-").partition("=")[::2] for word in shlex.split(typed))
    said = dict(each.split("=") for each in words.pop("dbname").split())
    # Servers of tests have no certificates.
    assert said.pop("sslmode") == "verify-full"
    assert said.pop("sslrootcert")
    said |= {"host": LOOPBACK, "port": str(primary.port), "user": SUPERUSER}
    words |= {
        "dbname": " ".join(f"{key}={value}" for key, value in said.items()),
        "pgdata": str(there),
    }
    options = [f"--{key}={value}" if value else f"--{key}" for key, value in words.items()]
    try:
        run_as_account(
            *(installed("pg_basebackup"), "--checkpoint=fast", "--no-sync", *options),
            directory=primary.directory,
        )
        slots = primary.sql("SELECT slot_name FROM pg_replication_slots").splitlines()
        settings = (there / "postgresql.auto.conf").read_text(encoding="utf-8")
    finally:
        primary.drop_slot(name)
        shutil.rmtree(there, ignore_errors=True)

    assert name in slots
    assert f"primary_slot_name = '{name}'" in settings
    assert ("application_name=standby1" in settings) == (name == "standby1")


def test_a_standby_takes_the_settings_too(postgres_pair: Pair) -> None:
    assert [name for _, name in SETTINGS] == [
        "max_slot_wal_keep_size",
        "synchronous_standby_names",
    ]
    try:
        for statement, _ in SETTINGS:
            postgres_pair.standby.sql(statement)
    finally:
        for _, name in SETTINGS:
            postgres_pair.standby.sql(f"ALTER SYSTEM RESET {name}")
