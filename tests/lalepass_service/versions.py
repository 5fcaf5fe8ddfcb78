"""A version of the program that is not there yet."""

import shutil
from pathlib import Path
from typing import Final

from alembic.script import ScriptDirectory

from lalepass_service.adapters.sql import migrate

SERVICE: Final = Path(migrate.__file__).parents[3]
"""What is on the path for the program that is tested."""

_NEXT: Final = """
revision = "the_next_one"
down_revision = "{head}"
{more}
from alembic import op


def upgrade() -> None:
    op.execute("CREATE TABLE of_the_next_version (id INTEGER)")
"""


NAME: Final = "of the next version"
"""What a program says at its start that `make_newer` has made."""


def head() -> str:
    """Return the last migration of the program that is tested."""
    last = ScriptDirectory(str(migrate.MIGRATIONS)).get_current_head()
    assert last is not None
    return last


def make_next(folder: Path, *, older_may_go_on: bool = False) -> Path:
    """Return a copy of the program that has one migration more, and says so or not."""
    copy = folder / "next"
    shutil.copytree(SERVICE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    migrations = copy / migrate.MIGRATIONS.relative_to(SERVICE)
    more = f'oldest_program = "{head()}"\n' if older_may_go_on else ""
    (migrations / "versions" / "zz_next.py").write_text(_NEXT.format(head=head(), more=more))
    return copy


def make_newer(folder: Path) -> Path:
    """Return a version that says who it is, and whose tables are good for ours."""
    newer = make_next(folder, older_may_go_on=True)
    main = newer / "lalepass_service" / "__main__.py"
    main.write_text(f"print({NAME!r}, flush=True)\n{main.read_text()}")
    return newer
