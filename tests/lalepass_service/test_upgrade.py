"""Two versions of the program, one database."""

import os
import subprocess
import sys
from pathlib import Path

from alembic.script import ScriptDirectory

from lalepass_service.adapters.sql import migrate
from tests.lalepass_service.versions import SERVICE, make_next

_TIMEOUT = 60


def _lalepass(version: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "lalepass_service", *arguments],
        env=os.environ | {"PYTHONPATH": str(version)},
        cwd=version,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def test_a_database_is_never_changed_but_on_request(tmp_path: Path) -> None:
    next_version = make_next(tmp_path)
    there = tmp_path / "lalepass"
    config = ["--config", str(there / "lalepass.toml")]
    database = there / "lalepass.db"
    assert _lalepass(SERVICE, "init", "--directory", str(there))[0] == 0

    for command in (["serve"], ["user", "list"]):
        code, said = _lalepass(next_version, *config, *command)
        assert code == 4, said
        assert said == (
            f"lalepass: {database} is of an older lalepass: make a copy of it, "
            "then run `lalepass db migrate`"
        )
    assert _lalepass(next_version, *config, "db", "status") == (0, f"{database}: outdated")
    assert _lalepass(next_version, *config, "db", "migrate") == (
        0,
        f"{database} is up to date now",
    )
    assert _lalepass(next_version, *config, "user", "list")[0] == 0

    for command in (["serve"], ["user", "list"], ["db", "migrate"]):
        code, said = _lalepass(SERVICE, *config, *command)
        assert code == 4
        assert said.startswith(f"lalepass: {database} is of a newer lalepass")


def test_an_older_program_goes_on_where_the_newer_says_that_it_may(
    tmp_path: Path,
) -> None:
    """So that in a rolling upgrade a replica that is not yet replaced can be started again."""
    next_version = make_next(tmp_path, older_may_go_on=True)
    there = tmp_path / "lalepass"
    config = ["--config", str(there / "lalepass.toml")]
    database = there / "lalepass.db"
    assert _lalepass(next_version, "init", "--directory", str(there))[0] == 0
    assert _lalepass(next_version, *config, "db", "migrate")[0] == 0

    assert _lalepass(SERVICE, *config, "db", "status") == (0, f"{database}: compatible")
    assert _lalepass(SERVICE, *config, "user", "list")[0] == 0
    assert _lalepass(SERVICE, *config, "db", "migrate") == (
        0,
        f"{database} is of a newer lalepass, which this one can work with",
    )
    assert _lalepass(next_version, *config, "db", "status") == (0, f"{database}: current")


def test_each_migration_says_which_programs_may_go_on() -> None:
    scripts = ScriptDirectory(str(migrate.MIGRATIONS))
    known = [script.revision for script in scripts.walk_revisions()]
    for script in scripts.walk_revisions():
        if script.revision > "0003":
            assert script.module.oldest_program in known
            assert script.module.oldest_program <= script.revision
