"""Tokens, certificates and the program itself are replaced while people log in."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docker.people import ALICE, AWAY, IN, logs_in_within, said, until
from tests.docker.stack import ROOT, CommandFailed, Stack, docker

_SERIAL = (
    "import socket, ssl;"
    "c = ssl.create_default_context(cafile='/secrets/homeserver/ca.crt');"
    "own = '/secrets/homeserver/homeserver';"
    "c.load_cert_chain(own + '.crt', own + '.key');"
    "to = socket.create_connection(('lalepass', 8220), 5);"
    "s = c.wrap_socket(to, server_hostname='lalepass');"
    "print(s.getpeercert()['serialNumber'])"
)


@contextmanager
def people_logging_in(stack: Stack) -> Iterator[list[tuple[int, str]]]:
    """Log in again and again meanwhile, and take down what was said."""
    told: list[tuple[int, str]] = []
    over = threading.Event()

    def log_in() -> None:
        while not over.is_set():
            told.append(said(stack.login("alice", ALICE, timeout=30)))

    people = threading.Thread(target=log_in)
    people.start()
    try:
        yield told
    finally:
        over.set()
        people.join()


def _prepare(stack: Stack, what: str) -> None:
    stack.compose("run", "--rm", "-T", "lalepass-prepare", what)


def test_a_token_is_rotated_and_nobody_notices(stack: Stack, one_token: str) -> None:
    with people_logging_in(stack) as told:
        _prepare(stack, "token")
        stack.lalepass("token", "revoke", one_token)
        before = len(told)
        until(lambda: len(told) >= before + 5, seconds=60)

    assert set(told) == {IN}
    assert stack.live_tokens() == {stack.token_in_use()} != {one_token}


def test_certificates_are_renewed_and_nobody_notices(stack: Stack) -> None:
    def shown() -> str:
        return stack.compose("exec", "-T", "synapse", "python", "-c", _SERIAL).strip()

    before = shown()
    with people_logging_in(stack) as told:
        _prepare(stack, "certificates")
        until(lambda: shown() != before, seconds=60)
        count = len(told)
        until(lambda: len(told) >= count + 5, seconds=60)

    assert set(told) == {IN}


def test_what_can_not_be_made_anew_is_said(stack: Stack) -> None:
    with pytest.raises(CommandFailed, match="there is nothing called everything to make anew"):
        _prepare(stack, "everything")


_MIGRATION = '''"""A change of the tables that a later version brings."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    """Make a table."""
    op.create_table("later", sa.Column("id", sa.Integer(), primary_key=True), sqlite_strict=True)
'''


@pytest.fixture
def later(stack: Stack, tmp_path: Path) -> Iterator[Stack]:
    """The next version of the service: this one, with a migration more."""
    versions = ROOT / "service/lalepass_service/adapters/sql/migrations/versions"
    head = max(path.name for path in versions.glob("v*.py"))[1:5]
    (tmp_path / "v9999_later.py").write_text(_MIGRATION.format(head=head))
    inside = docker(
        *("run", "--rm", "--entrypoint", "python", f"lalepass:{stack.tag}", "-c"),
        "import lalepass_service.adapters.sql as s; print(s.__path__[0])",
    ).strip()
    (tmp_path / "Dockerfile").write_text(
        f"FROM lalepass:{stack.tag}\nCOPY v9999_later.py {inside}/migrations/versions/\n"
    )
    docker("build", "--quiet", "--tag", "lalepass:later", str(tmp_path))
    yield Stack(port=stack.port, tag="later")
    docker("image", "rm", "lalepass:later")


def test_the_service_is_upgraded_with_a_migration_while_people_log_in(
    stack: Stack, later: Stack
) -> None:
    backup = stack.compose("exec", "-T", "lalepass", "lalepass", "db", "backup", "-")
    try:
        with people_logging_in(stack) as told:
            later.compose("up", "--detach", "--wait", "lalepass")
            logs_in_within(stack, 60)
        # An upgrade of the only service takes a moment, in which nobody is told a lie.
        assert set(told) <= {IN, AWAY}
        assert json.loads(later.lalepass("db", "status", "--json"))["state"] == "current"
        later.add("since", "here-only-for-a-moment-1")
    finally:
        # And back, as docs/containers.md says.
        stack.compose("stop", "lalepass")
        stack.compose(
            *("run", "--rm", "-T", "--entrypoint", "lalepass", "lalepass-prepare"),
            *("db", "restore", "--yes", "-"),
            stdin=backup,
        )
        stack.up()
    logs_in_within(stack, 60)
    assert "since" not in stack.lalepass("user", "list")
