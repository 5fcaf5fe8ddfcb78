"""What is logged about a request, and what never is."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import httpx
import pytest
import structlog

from lalepass_service import logs
from lalepass_wire import paths
from tests.lalepass_service.http.world import World, a_check, all_logged, check

pytestmark = pytest.mark.anyio

CANARY = "canary-7f3a"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The whole log of the service, at its most talkative."""
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    monkeypatch.setattr(sys, "stderr", stream)
    # The client of these tests, which is no part of the service.
    monkeypatch.setattr(logging.getLogger("httpx"), "disabled", True)
    logs.configure(level="debug", style="json")
    yield stream
    root.handlers, root.level = before, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def _lines(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def test_a_request_is_one_line(log: io.StringIO, client: httpx.AsyncClient) -> None:
    await check(client, headers={"X-Request-ID": "seventeen"})

    (line,) = _lines(log)
    assert line["event"] == "request"
    assert line["method"] == "POST"
    assert line["route"] == paths.CHECK_CREDENTIALS
    assert line["status"] == 200
    assert line["caller"] == "homeserver"
    assert line["request_id"] == "seventeen"
    assert isinstance(line["ms"], float)
    assert line["level"] == "info"


@pytest.mark.parametrize("path", [paths.HEALTH_LIVE, paths.HEALTH_READY, paths.METRICS])
async def test_what_machines_ask_all_day_is_shown_at_debug_only(
    log: io.StringIO, client: httpx.AsyncClient, path: str
) -> None:
    await client.get(path)

    assert [line["level"] for line in _lines(log)] == ["debug"]


async def test_a_path_that_does_not_exist_is_not_repeated(
    log: io.StringIO, client: httpx.AsyncClient
) -> None:
    await client.get(f"/{CANARY}?{CANARY}={CANARY}")

    (line,) = _lines(log)
    assert line["route"] is None
    assert CANARY not in log.getvalue()


_TYPED = [
    a_check(password=CANARY),
    # the password, typed into the field for the name
    a_check(localpart=CANARY),
    {"identifier": {"kind": "email", "address": f"{CANARY}@example.org"}, "password": CANARY},
    a_check(password=CANARY, source={"user_agent": CANARY}),
    {CANARY: CANARY},
    a_check(password=CANARY, source={"ip": CANARY}),
    f'{{"password":"{CANARY}',
    f'{{"password":"{CANARY}\\ud800"}}',
]


@pytest.mark.parametrize("body", _TYPED, ids=range(len(_TYPED)))
@pytest.mark.parametrize("fault", [None, ValueError, KeyError, UnicodeError])
async def test_nothing_that_was_typed_is_ever_logged(
    log: io.StringIO,
    caplog: pytest.LogCaptureFixture,
    world: World,
    body: object,
    fault: type[Exception] | None,
) -> None:
    if fault is not None:
        _break(world, fault)
    content = body if isinstance(body, str) else json.dumps(body)
    headers = {"Content-Type": "application/json", "X-Canary": CANARY}
    with caplog.at_level(logging.DEBUG):
        async with world.client() as client:
            answer = await client.post(paths.CHECK_CREDENTIALS, content=content, headers=headers)

    assert log.getvalue()
    ours = [record for record in caplog.records if record.name.startswith("lalepass")]
    for text in (log.getvalue(), all_logged(ours), answer.text):
        assert CANARY not in text
        assert world.token not in text


def _break(world: World, fault: type[Exception]) -> None:
    """Let the hasher fail with an exception that quotes the password, and its cause, too."""

    async def fail(password: object, _record: object, *, account: str) -> bool:  # noqa: ARG001 - of the port
        raise RuntimeError(CANARY) from fault(password.reveal())  # type: ignore[attr-defined]

    world.hasher.verify = fail  # type: ignore[method-assign,assignment]


async def test_a_fault_is_logged_with_the_lines_that_it_came_through(
    log: io.StringIO, world: World
) -> None:
    _break(world, ValueError)
    async with world.client() as client:
        await check(client)

    fault = next(line for line in _lines(log) if line["level"] == "error")
    assert fault["error"] == "RuntimeError from ValueError"
    assert "fail" in str(fault["where"])
    assert fault["request_id"]
