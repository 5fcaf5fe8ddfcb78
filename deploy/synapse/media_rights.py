"""Lets the media-cleaner see in Synapse's database what it has to see: some columns of two tables.

Runs as Synapse, whose tables they are, when these are there. Doing it again changes nothing.
"""

import contextlib
import sys
from pathlib import Path

import psycopg2
import yaml
from psycopg2 import sql

SCALE = Path("/config/scale.yaml")
"""Where this reads how to reach PostgreSQL."""
ROLE = "media"
SEEN = {
    "local_media_repository": (
        *("media_id", "media_length", "created_ts", "last_access_ts", "url_cache"),
    ),
    "remote_media_cache": (
        *("media_origin", "media_id", "filesystem_id"),
        *("media_length", "created_ts", "last_access_ts"),
    ),
}
"""What media_cleaner.py and `s3_media_upload` ask for, and no names of people or files."""


def main() -> None:
    """Grant it."""
    given = yaml.safe_load(SCALE.read_text())["database"]["args"]
    # The rest is for Synapse's pool.
    options = {name: given[name] for name in given if not name.startswith("cp_")}
    connected = contextlib.closing(psycopg2.connect(**options))
    with connected as connection, connection, connection.cursor() as rows:
        rows.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
        if rows.fetchone() is None:
            sys.exit(f"there is no role {ROLE}: restart the primary, which makes it")
        for table, columns in SEEN.items():
            rows.execute(
                sql.SQL("GRANT SELECT ({}) ON {} TO {}").format(
                    sql.SQL(", ").join(map(sql.Identifier, columns)),
                    sql.Identifier(table),
                    sql.Identifier(ROLE),
                )
            )


if __name__ == "__main__":
    main()
