"""Who logs in, and what they are told."""

import json
import time
from collections.abc import Callable
from typing import Final

from tests.docker.stack import SERVER_NAME, Stack
from tools.web import Answer

ALICE: Final = "wonderland-7"
BOB: Final = "builders-8"

IN: Final = (200, f"@alice:{SERVER_NAME}")
WRONG: Final = (403, "M_FORBIDDEN")
AWAY: Final = (503, "M_UNKNOWN")


def said(answer: Answer) -> tuple[int, str]:
    """Return the status and what kind of error it is, or who has logged in."""
    body = json.loads(answer.body)
    return answer.status, body.get("errcode", body.get("user_id"))


def logs_in_within(stack: Stack, seconds: float) -> None:
    """Wait until a login works. Until then, nobody is told that the password was wrong."""
    end = time.monotonic() + seconds
    while (told := said(stack.login("alice", ALICE))) != IN:
        assert told == AWAY
        assert time.monotonic() < end, f"no login within {seconds} s"


def whoami(stack: Stack, token: str) -> int:
    """Use a session."""
    return stack.call("GET", "/_matrix/client/v3/account/whoami", token=token).status


def until(fact: Callable[[], bool], *, seconds: float) -> None:
    """Wait for a fact."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.2)  # noqa: TID251 - the fact is in another container
