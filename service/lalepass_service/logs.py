"""One stream of log lines, ours and those of the libraries, on standard error."""

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal

import structlog

_OURS: Final = "lalepass_service"
_FLOORS: Final[Mapping[str, int]] = {
    # These print SQL parameters at DEBUG, some at INFO: password records and addresses.
    "aiosqlite": logging.WARNING,
    "alembic": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    # Says in four lines what our line at the start says in one.
    "uvicorn": logging.WARNING,
}
_SECRETIVE: Final = ("password", "token", "secret", "authorization")


def configure(*, level: str, style: Literal["console", "json"]) -> None:
    """Send all logging through structlog. A terminal gets lines for people, whatever `style` says.

    The level is for our own lines. Libraries never get below INFO, since what they would say at
    DEBUG is not for us to promise.
    """
    chosen = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers = [_handler("console" if sys.stderr.isatty() else style)]
    root.setLevel(max(chosen, logging.INFO))
    logging.getLogger(_OURS).setLevel(chosen)
    for name, floor in _FLOORS.items():
        logging.getLogger(name).setLevel(max(chosen, floor))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def redact(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Blank what is named like a secret. The second fence: nothing should log one to begin with."""
    for key in event:
        if any(word in key.lower() for word in _SECRETIVE):
            event[key] = "[redacted]"
    return event


def _handler(style: Literal["console", "json"]) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(style),
        ],
    )
    handler.setFormatter(formatter)
    return handler


def _shared() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]


def _renderers(style: Literal["console", "json"]) -> list[structlog.typing.Processor]:
    if style == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
            # The default, rich's, shows local variables.
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]
