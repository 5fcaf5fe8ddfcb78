"""What nobody foresaw becomes a plain 500, and a log entry that can't hold a secret."""

import traceback
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lalepass_service.http.problems import answer_to

_log: Final = structlog.stdlib.get_logger(__name__)


class Unforeseen:
    """ASGI middleware: answers for exceptions that no other part answers for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and catch what comes back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # noqa: BLE001 - that is the purpose of this class
            report(error)
            # Half an answer can't be taken back: then the server hangs up.
            if not started:
                await answer_to(error)(scope, receive, send)


def report(error: BaseException) -> None:
    """Log a fault, without a word of what it is about."""
    _log.error("the service has a fault", error=chain(error), where=where(error))


def chain(error: BaseException) -> str:
    """Name an exception and its causes by their types.

    Without their texts: an unforeseen exception may quote what it choked on, and here that can be
    a password. The price is a thinner log; the lines in `where` have to make up for it.
    """
    names = [type(error).__qualname__]
    cause = error.__cause__ or error.__context__
    while cause is not None:
        names.append(type(cause).__qualname__)
        cause = cause.__cause__ or cause.__context__
    return " from ".join(names)


def where(error: BaseException) -> list[str]:
    """Return the lines that it came through, the innermost last."""
    return [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
