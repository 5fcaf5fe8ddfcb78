"""Alembic runs this for every command. The connection and its transaction come from `migrate`."""

from alembic import context

from lalepass_service.adapters.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite undoes changes of the schema like any other; Alembic assumes that it does not.
    transactional_ddl=True,
)
context.run_migrations()
