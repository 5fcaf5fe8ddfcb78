import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from lalepass_service import logs

SECRET = "canary-7f3a"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = before, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def _log_to(
    stream: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    *,
    level: str = "debug",
    style: Literal["console", "json"] = "json",
) -> structlog.stdlib.BoundLogger:
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(level=level, style=style)
    return structlog.stdlib.get_logger("lalepass_service.test")


def test_what_is_named_like_a_secret_is_blanked(monkeypatch: pytest.MonkeyPatch) -> None:
    log = _log_to(stream := io.StringIO(), monkeypatch)
    log.info("x", password=SECRET, new_password=SECRET, Authorization=SECRET, token_text=SECRET)

    line = json.loads(stream.getvalue())
    assert line["password"] == line["Authorization"] == "[redacted]"
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_traceback_shows_no_local_variables(
    monkeypatch: pytest.MonkeyPatch, style: Literal["console", "json"]
) -> None:
    log = _log_to(stream := io.StringIO(), monkeypatch, style=style)
    _fail_with(log, SECRET)

    assert "ZeroDivisionError" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def _fail_with(log: structlog.stdlib.BoundLogger, password: str) -> None:
    try:
        _ = len(password) / 0
    except ZeroDivisionError:
        log.exception("x")


@pytest.mark.parametrize(
    "name", ["aiosqlite", "sqlalchemy.engine.Engine", "alembic.runtime", "uvicorn.error", "asyncio"]
)
def test_libraries_say_nothing_at_debug(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _log_to(stream := io.StringIO(), monkeypatch)
    logging.getLogger(name).debug("executing %s", SECRET)

    assert stream.getvalue() == ""


def test_libraries_warn_in_our_format(monkeypatch: pytest.MonkeyPatch) -> None:
    _log_to(stream := io.StringIO(), monkeypatch)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")

    line = json.loads(stream.getvalue())
    assert line["logger"] == "uvicorn.error"
    assert line["level"] == "warning"
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("error", 1)])
def test_the_level_is_for_our_own_lines(
    monkeypatch: pytest.MonkeyPatch, level: str, expected: int
) -> None:
    log = _log_to(stream := io.StringIO(), monkeypatch, level=level)
    for method in (log.debug, log.info, log.warning, log.error):
        method("x")

    assert len(stream.getvalue().splitlines()) == expected


def test_a_terminal_gets_lines_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    log = _log_to(stream := _Terminal(), monkeypatch, style="json")
    log.info("ready", url="http://127.0.0.1:8220")

    assert "[info     ] ready" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
