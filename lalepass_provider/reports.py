"""Tells the service who logged in and out, a few seconds later and in nobody's way."""

import itertools
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from pydantic import ValidationError

from lalepass_provider.background import Background, Backoff, Chore
from lalepass_provider.errors import ContractBroken, NoAnswer
from lalepass_provider.identity import is_storable
from lalepass_provider.metrics import Metrics
from lalepass_wire import Source, limits
from lalepass_wire.feed import Report, ReportKind

logger = logging.getLogger(__name__)

_MAX_WAITING: Final = 2000
"""About a megabyte at the most usual sizes; the oldest are dropped for newer ones."""

_GATHER: Final = 2.0
"""Seconds in which reports come together in a batch."""

_TRIES: Final = 3
"""For a batch that the service does not understand. While it is away, there is no limit."""

_HEAD: Final = b'{"reports":['
_TAIL: Final = b"]}"


class Recorder(Protocol):
    """What is told to the service."""

    async def report(self, reports: bytes) -> None:
        """Send the JSON of a `Reports`, or raise NoAnswer."""
        ...


class ReportQueue:
    """Takes what happened, and sends it in batches.

    A report has an id, so one that is sent twice after a failure counts once.
    """

    def __init__(
        self,
        *,
        service: Recorder,
        background: Background,
        metrics: Metrics,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._service = service
        self._background = background
        self._metrics = metrics
        self._wall = wall
        self._waiting: deque[bytes] = deque()
        self._batch: list[bytes] = []
        self._chore = Chore(background, "reports", self._work)
        self._backoff = Backoff(first=1.0, longest=30.0)
        # Random once for each process: new randomness is a system call, and a number is as unique.
        self._stem = secrets.token_urlsafe(16)
        self._numbers = itertools.count()
        self.dropped = 0
        """How many were not told, since this process began."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._batch)

    def add(
        self,
        kind: ReportKind,
        localpart: str,
        *,
        device_id: str | None,
        source: Source | None = None,
    ) -> None:
        """Note that something happened now. Never raises and never waits."""
        # A client may choose its device id, and so one that nobody can store.
        if device_id is not None and not (
            0 < len(device_id) <= limits.MAX_DEVICE_ID_LENGTH and is_storable(device_id)
        ):
            device_id = None
        try:
            report = Report(
                id=f"{self._stem}-{next(self._numbers)}",
                kind=kind,
                localpart=localpart,
                device_id=device_id,
                at=datetime.fromtimestamp(self._wall(), UTC),
                source=source,
            )
        except ValidationError:
            logger.debug("No report can be made of this, so none is")
            return
        content = report.model_dump_json(exclude_none=True).encode()
        if len(self._waiting) >= _MAX_WAITING:
            self._waiting.popleft()
            self._drop(1, "the service does not take them")
        self._waiting.append(content)
        self._chore.wake()

    async def flush(self) -> None:
        """Try once to send what waits, at the end of the process."""
        while self._batch or self._waiting:
            await self._send_a_batch()

    async def _work(self) -> None:
        await self._background.pause(_GATHER)
        failures = 0
        while self._batch or self._waiting:
            try:
                await self._send_a_batch()
            except NoAnswer as exc:
                failures += 1
                if failures == 1:
                    logger.warning("Logins and logouts can't be reported: %s", exc)
                if isinstance(exc, ContractBroken) and failures % _TRIES == 0:
                    dropped, self._batch = len(self._batch), []
                    self._drop(dropped, "the service does not understand them")
                await self._background.pause(self._backoff.failed(at_least=exc.retry_after))
            else:
                failures = 0
                self._backoff.reset()
                if len(self._waiting) < limits.MAX_REPORTS:
                    await self._background.pause(_GATHER)

    async def _send_a_batch(self) -> None:
        if not self._batch:
            self._batch = self._cut()
        await self._service.report(_HEAD + b",".join(self._batch) + _TAIL)
        self._batch = []

    def _cut(self) -> list[bytes]:
        """Take as many as one request may hold."""
        batch: list[bytes] = []
        size = len(_HEAD) + len(_TAIL)
        while self._waiting and len(batch) < limits.MAX_REPORTS:
            size += len(self._waiting[0]) + 1
            if batch and size > limits.MAX_REQUEST_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _drop(self, count: int, why: str) -> None:
        if not self.dropped:
            logger.warning("Reports of logins and logouts are dropped: %s", why)
        self.dropped += count
        self._metrics.reports_dropped(count)
