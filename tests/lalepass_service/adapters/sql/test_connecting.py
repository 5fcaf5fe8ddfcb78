"""A connection can be cut from another thread, and nothing else is."""

import os
import socket
from typing import Any, cast

import pytest

from lalepass_service.adapters.sql.connecting import OpenSession


class Connection:
    """Has a line, as psycopg's connection does."""

    def __init__(self, line: socket.socket) -> None:
        self.pgconn = self
        self.socket = line.fileno()

    def close(self) -> None:
        pass


def opened(line: socket.socket) -> OpenSession:
    return OpenSession(cast("Any", Connection(line)))


def test_what_waits_for_an_answer_is_ended() -> None:
    mine, server = socket.socketpair()
    with mine, server:
        session = opened(mine)

        session.cut()

        assert mine.recv(1) == b""
        assert server.recv(1) == b""
        session.close()


def test_a_number_that_has_become_another_sockets_is_left_alone() -> None:
    """Libpq closes a broken line by itself, and the number is given to who opens one next."""
    mine, server = socket.socketpair()
    others, peer = socket.socketpair()
    with mine, server, others, peer:
        session = opened(mine)
        os.dup2(others.fileno(), mine.fileno())

        session.cut()

        others.send(b"x")
        assert peer.recv(1) == b"x"
        assert server.recv(1) == b""
        session.close()


@pytest.mark.parametrize("times", [1, 2])
def test_one_that_is_closed_is_not_cut(times: int) -> None:
    mine, server = socket.socketpair()
    with mine, server:
        session = opened(mine)
        for _ in range(times):
            session.close()

        session.cut()

        mine.send(b"x")
        assert server.recv(1) == b"x"
