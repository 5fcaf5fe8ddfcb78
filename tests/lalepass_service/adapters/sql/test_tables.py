import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite

from lalepass_service.adapters.sql.tables import Instant
from tests.lalepass_service.accounts import NOW

DIALECT = sqlite.dialect()

_USER = "INSERT INTO users (id, localpart, state, admin, created_at) VALUES"


@pytest.mark.parametrize(
    "moment", [NOW, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)]
)
def test_a_moment_comes_back_as_it_was(moment: datetime) -> None:
    stored = Instant().process_bind_param(moment, DIALECT)

    assert Instant().process_result_value(stored, DIALECT) == moment


def test_stored_moments_sort_like_the_moments() -> None:
    east = timezone(timedelta(hours=9))
    moments = [NOW, NOW.replace(microsecond=0), NOW.astimezone(east) + timedelta(seconds=1)]

    stored = {str(Instant().process_bind_param(each, DIALECT)): each for each in moments}

    assert [stored[text] for text in sorted(stored)] == sorted(moments)


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        Instant().process_bind_param(NOW.replace(tzinfo=None), DIALECT)


@pytest.mark.parametrize(
    "statement",
    [
        f"{_USER} ('1', 'a', 'locked', 0, 'x')",
        f"{_USER} ('1', 'a', 'active', 2, 'x')",
        f"{_USER} ('1', 'a', 'active', 'no', 'x')",
        f"{_USER} (NULL, 'a', 'active', 0, 'x')",
        "INSERT INTO passwords (user_id, phc, changed_at) VALUES ('nobody', '$', 'x')",
        "INSERT INTO user_emails (user_id, position, address) VALUES ('nobody', 0, 'x@x')",
    ],
)
def test_the_file_itself_refuses_what_makes_no_sense(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")

        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
