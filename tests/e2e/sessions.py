"""Sessions of people, as a Matrix client has them, and what becomes of them."""

import sqlite3
from contextlib import closing
from typing import Any

import httpx

from tests.e2e.parts import SERVER_NAME, Client
from tests.e2e.waiting import until
from tools.service import Service

CLIENT = "/_matrix/client/v3"


def mxid(name: str) -> str:
    return f"@{name}:{SERVER_NAME}"


def log_in(homeserver: Client, name: str, password: str) -> dict[str, Any]:
    answer = homeserver.log_in(name, password)
    assert answer.status_code == 200, answer.text
    session: dict[str, Any] = answer.json()
    return session


def who_am_i(homeserver: Client, session: dict[str, Any]) -> httpx.Response:
    return homeserver.call("GET", f"{CLIENT}/account/whoami", token=session["access_token"])


def wait_for(homeserver: Client, session: dict[str, Any], status: int) -> httpx.Response:
    until(lambda: who_am_i(homeserver, session).status_code == status, what=f"an answer {status}")
    return who_am_i(homeserver, session)


def assert_locked(answer: httpx.Response) -> None:
    assert answer.status_code == 401, answer.text
    assert answer.json()["errcode"] == "M_USER_LOCKED"
    assert answer.json()["soft_logout"] is True


def set_password(service: Service, name: str, password: str) -> None:
    """Replace a password, which orders to sign out everywhere."""
    service.run("user", "set-password", name, "--password-stdin", password=f"{password}\n")


def gone(homeserver: Client, session: dict[str, Any]) -> bool:
    """Whether the session is over for good."""
    answer = who_am_i(homeserver, session)
    return answer.status_code == 401 and answer.json()["errcode"] == "M_UNKNOWN_TOKEN"


def orders_waiting(service: Service, caller: str) -> int:
    """How many orders a homeserver, by the name of its token, has not acknowledged."""
    with closing(sqlite3.connect(service.directory / "lalepass.db", timeout=10)) as database:
        (count,) = database.execute(
            "SELECT count(*) FROM sign_outs AS o WHERE o.seq > coalesce((SELECT seq FROM"
            " order_marks WHERE caller = ?1), 0) AND NOT EXISTS (SELECT 1 FROM"
            " acknowledged AS a WHERE a.caller = ?1 AND a.order_id = o.id)",
            (caller,),
        ).fetchone()
    return int(count)
