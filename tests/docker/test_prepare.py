"""What runs before the service finds things half done, and brings them to an end."""

import json

import bcrypt
import pytest

from tests.docker.people import ALICE, BOB, WRONG, logs_in_within, said, until
from tests.docker.stack import SERVER_NAME, Stack

TOKEN = "/secrets/homeserver/token"


def _run(stack: Stack, *arguments: str) -> str:
    return stack.compose("run", "--rm", "-T", "lalepass-prepare", *arguments)


def _shell(stack: Stack, line: str, stdin: str = "") -> str:
    """Run a line of shell with the volumes of `lalepass-prepare`."""
    entry = ("--entrypoint", "sh")
    return stack.compose(
        "run", "--rm", "-T", *entry, "lalepass-prepare", "-eu", "-c", line, stdin=stdin
    )


CAROL = "caroling-9"
CREATE = "lalepass token create homeserver --scope check --scope feed --output"


def test_doing_it_again_changes_nothing(stack: Stack, one_token: str) -> None:
    said = _run(stack)

    assert "made" not in said
    assert stack.live_tokens() == {one_token}
    assert stack.token_in_use() == one_token


def test_a_token_that_was_made_and_not_put_in_its_place_is_taken_over(
    stack: Stack, one_token: str
) -> None:
    _shell(stack, f"{CREATE} {TOKEN}.new")
    (made,) = stack.live_tokens() - {one_token}

    assert "took over a token that was made before" in _run(stack)

    assert stack.token_in_use() == made
    assert _shell(stack, f"stat --format=%a {TOKEN}; ls /secrets/homeserver").split() == [
        "640",
        "ca.crt",
        "homeserver.crt",
        "homeserver.key",
        "token",
    ]
    logs_in_within(stack, 60)


def test_a_token_that_is_not_good_is_replaced(stack: Stack, one_token: str) -> None:
    stack.lalepass("token", "revoke", one_token)

    assert "made a token for the homeserver" in _run(stack)

    assert stack.live_tokens() == {stack.token_in_use()}
    logs_in_within(stack, 60)


@pytest.mark.parametrize("left", ["", "half a tok"])
def test_two_runs_that_were_interrupted_do_not_stop_the_third(
    stack: Stack, one_token: str, left: str
) -> None:
    # One is lost, another one is in the file; and something is left beside it.
    _shell(stack, f"{CREATE} /tmp/lost; printf %s '{left}' > {TOKEN}.new")
    (lost,) = stack.live_tokens() - {one_token}

    assert "made a token for the homeserver" in _run(stack, "token")

    assert stack.live_tokens() == {one_token, stack.token_in_use()}
    assert lost not in stack.live_tokens()
    logs_in_within(stack, 60)


def test_certificates_are_renewed_where_nobody_starts_the_stack(stack: Stack) -> None:
    crt = "/secrets/lalepass/lalepass.crt"

    def serial() -> str:
        return _shell(stack, f"cat {crt}")

    # As if it had been made long ago.
    _shell(
        stack,
        "lalepass certificate lalepass --directory /secrets/lalepass --authority /authority"
        " --mode 640 --host lalepass --host lalepass-1 --host lalepass-2 --host localhost"
        " --host 127.0.0.1 --days 1 --renew",
    )
    soon_over = serial()
    # As the engine does after a reboot.
    stack.compose("restart", "lalepass-renew")

    until(lambda: serial() != soon_over, seconds=60)
    logs_in_within(stack, 60)
    stack.compose("stop", "--timeout", "60", "lalepass-renew")
    assert stack.inspect("lalepass-renew")["State"]["ExitCode"] == 0
    stack.compose("start", "lalepass-renew")


def test_passwords_of_another_program_are_brought_along(stack: Stack) -> None:
    hashed = bcrypt.hashpw(CAROL.encode(), bcrypt.gensalt(4)).decode()
    line = json.dumps({"localpart": "carol", "hash": hashed})

    stack.lalepass("user", "import", "/dev/stdin", stdin=f"{line}\n")

    assert said(stack.login("carol", "not it")) == WRONG
    assert said(stack.login("carol", CAROL)) == (200, f"@carol:{SERVER_NAME}")


def test_all_of_it_moves_to_a_new_machine(stack: Stack) -> None:
    accounts = stack.compose("exec", "-T", "lalepass", "lalepass", "db", "backup", "-")
    keys = stack.compose("exec", "-T", "lalepass", "tar", "-C", "/var/lib/lalepass", "-c", "keys")
    stack.compose("down", "--volumes")

    stack.up()
    assert said(stack.login("alice", ALICE)) == WRONG
    stack.compose("stop", "lalepass")
    stack.compose(
        *("run", "--rm", "-T", "--entrypoint", "tar", "lalepass-prepare"),
        *("-C", "/var/lib/lalepass", "-x"),
        stdin=keys,
    )
    stack.compose(
        *("run", "--rm", "-T", "--entrypoint", "lalepass", "lalepass-prepare"),
        *("db", "restore", "--yes", "-"),
        stdin=accounts,
    )
    stack.up()

    logs_in_within(stack, 60)
    assert said(stack.login("bob", BOB)) == (200, f"@bob:{SERVER_NAME}")
    assert said(stack.login("alice", "not it")) == WRONG
