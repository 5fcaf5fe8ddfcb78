"""What is asked of a range host, and that nothing it does is taken for an answer by mistake."""

import asyncio
import threading
from contextlib import closing

import pytest

from lalepass_service.adapters.blocklist.hibp import HibpRange
from lalepass_service.core.errors import BreachRangeUnavailable
from lalepass_service.core.model import Password
from tests.lalepass_service.adapters.blocklist.hosts import (
    Behaviour,
    drips,
    floods,
    hangs,
    hosting,
    says,
)

pytestmark = pytest.mark.anyio

STOLEN = Password("password")
PREFIX, SUFFIX = "5BAA6", "1E4C9B93F3F0682250B6CF8331B7EE68FD8"
OTHER = "0" * 35
CHUNKED = "Transfer-Encoding: chunked\r\n"


async def asked(behaviour: Behaviour, password: Password = STOLEN, *, deadline: float = 5) -> bool:
    with hosting(behaviour) as host, closing(HibpRange(host.url, deadline=deadline)) as breaches:
        return await breaches.contains(password)


@pytest.mark.parametrize(
    ("body", "known"),
    [
        (f"{SUFFIX}:1", True),
        (f"{OTHER}:5\r\n{SUFFIX}:10434004\r\n", True),
        (f"{SUFFIX.lower()}:3\n", True),
        (f"{OTHER}:5\r\n", False),
        (f"{OTHER}:5\r\n{SUFFIX}:0\r\n", False),
        (f"{SUFFIX[:-1]}0:7", False),
    ],
    ids=["alone", "behind others", "small letters", "others only", "as padding", "a neighbour"],
)
async def test_a_password_is_known_if_its_digest_is_and_was_seen(body: str, known: bool) -> None:  # noqa: FBT001 - a column of the table
    assert await asked(says(body.encode())) is known


async def test_the_host_is_told_five_signs_of_the_digest_and_nothing_else() -> None:
    with hosting(says(f"{SUFFIX}:1".encode())) as host, closing(HibpRange(host.url)) as breaches:
        await breaches.contains(STOLEN)
        await breaches.contains(STOLEN)

    assert [request.split(b"\r\n")[0] for request in host.requests] == [
        f"GET /range/{PREFIX} HTTP/1.1".encode()
    ] * 2
    assert host.headers["add-padding"] == "true"
    assert not any(SUFFIX[:6].encode() in request.upper() for request in host.requests)
    assert SUFFIX not in repr(vars(breaches)).upper()


NO_ANSWERS: dict[str, tuple[Behaviour, str]] = {
    "a fault": (says(b"", status="500 Oops"), "it said 500"),
    "too many questions": (says(b"", status="429 Slow"), "it said 429"),
    "a redirect": (
        says(b"", status="302 There", extra="Location: http://127.0.0.1:1/range\r\n"),
        "it said 302",
    ),
    "nothing found": (says(b"", status="404 What"), "it said 404"),
    "an empty answer": (says(b""), "not of the kind"),
    "a web page": (says(b"<html>Log in to the hotel's network</html>"), "not of the kind"),
    "NTLM digests": (says(b"0123456789ABCDEF0123456789A:3"), "not of the kind"),
    "a list with a wrong line": (says(f"{SUFFIX}:1\n{OTHER}:x".encode()), "not of the kind"),
    "binary": (says(bytes(range(256))), "not of the kind"),
    "a hang-up": (lambda *_: None, "RemoteDisconnected"),
    "no HTTP": (lambda connection, _: connection.sendall(b"SSH-2.0\r\n"), "BadStatusLine"),
    "half an answer": (
        lambda connection, _: connection.sendall(
            f"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{OTHER}:1".encode()
        ),
        "its answer was cut off",
    ),
    "half a chunk": (
        lambda connection, _: connection.sendall(
            f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n30\r\n{OTHER}".encode()
        ),
        "IncompleteRead",
    ),
    "a huge head": (says(b"", extra="X: " + "y" * 70_000 + "\r\n"), "LineTooLong"),
    "a huge answer": (says(b"0" * 2_000_000), "its answer is too long"),
    "an endless answer": (floods, "its answer is too long"),
}


@pytest.mark.parametrize(("behaviour", "why"), NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_is_no_answer_is_not_taken_for_one(behaviour: Behaviour, why: str) -> None:
    with pytest.raises(BreachRangeUnavailable) as caught:
        await asked(behaviour)

    assert why in str(caught.value)
    assert "password" not in str(caught.value).replace("breached passwords", "")


@pytest.mark.parametrize("behaviour", [hangs, drips], ids=["silent", "a byte at a time"])
async def test_a_slow_host_is_given_up_and_its_thread_is_free_again(behaviour: Behaviour) -> None:
    with (
        hosting(behaviour) as host,
        closing(HibpRange(host.url, deadline=0.2)) as breaches,
    ):
        # More questions than threads, one after the other: a thread that hung would be missed.
        for _ in range(6):
            with pytest.raises(BreachRangeUnavailable, match="too long"):
                await breaches.contains(STOLEN)

    assert len(host.requests) == 6


async def test_more_questions_than_can_wait_are_not_asked() -> None:
    with hosting(hangs) as host, closing(HibpRange(host.url, deadline=0.5)) as breaches:
        # A thread that is free a moment before the others' time is over may ask once more, so how
        # many questions reach the host is not for a test to say.
        answers = await asyncio.gather(
            *(breaches.contains(STOLEN) for _ in range(20)), return_exceptions=True
        )

    assert sum("too many" in str(answer) for answer in answers) == 4
    assert sum("too long" in str(answer) for answer in answers) == 16


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/range", "http://nobody.invalid/range", f"http://{'a' * 70}.org/x"]
)
async def test_a_host_that_is_not_there_gives_no_answer(url: str) -> None:
    with closing(HibpRange(url)) as breaches, pytest.raises(BreachRangeUnavailable):
        await breaches.contains(STOLEN)


async def test_a_host_without_a_good_certificate_is_told_nothing() -> None:
    with hosting(says(f"{SUFFIX}:0".encode())) as host:
        url = host.url.replace("http", "https")
        with closing(HibpRange(url)) as breaches, pytest.raises(BreachRangeUnavailable):
            await breaches.contains(STOLEN)

    assert not any(PREFIX.encode() in request for request in host.requests)


async def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    for _ in range(3):
        await asked(says(f"{SUFFIX}:1".encode()))
    names = [thread.name for thread in threading.enumerate()]

    assert threading.active_count() <= before + 4, names
