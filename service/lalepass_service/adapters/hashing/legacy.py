"""Foreign records are verified in processes of their own, which can be killed.

Pure Python and code that holds the GIL would stall the event loop, and a thread that has begun
can't be stopped. A process can: after its time it is killed, and the next check starts another.

`verify` blocks, and is made for the threads of `Slots`. That is the whole admission: there are
never more processes at work than slots, and each takes the slot of the thread that waits for it.
The price is a process of about 30 MB for each slot, from the first foreign record on.
"""

import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Final

from lalepass_service.adapters.hashing import worker
from lalepass_service.core.errors import Overloaded, UnreadableRecord

_START_SECONDS: Final = 20.0
"""For a process to import what it needs. A fraction of a second, on a machine that is not lost."""

_END_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 5.0


class LegacyProcesses:
    """Verifies foreign records, and keeps the processes that do it."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._closed = False
        self._timed_out = 0
        self._died = 0

    @property
    def lost(self) -> Mapping[str, int]:
        """How many processes did not live to answer, since the start, and why."""
        return {"time": self._timed_out, "ended": self._died}

    def verify(self, text: str, octets: bytes) -> bool:
        """Say whether the record was made of these octets. Blocks until a process has answered.

        Raises:
            Overloaded: the process was killed by somebody else, could not be started or had too
                little memory.
            UnreadableRecord: the record can't be read, or took longer than a check may take.
        """
        chosen = self._take()
        answer = b""
        late = False
        try:
            chosen.wait_until_ready()
            answer = chosen.ask(text, octets, seconds=self._seconds)
        except TimeoutError:
            late = True
            raise UnreadableRecord("it takes longer than a check may take") from None
        except OSError as exc:
            raise _no_process() from exc
        finally:
            # Whatever has not answered is not asked again: its answer would be taken for another.
            # Nor is what had no memory, or a library's error: others' records may then fail in it,
            # which are as they should be.
            usable = answer in {worker.RIGHT, worker.WRONG}
            self._put_back(chosen, usable=usable, lost=not answer, late=late)
        return _meaning(answer)

    def pids(self) -> frozenset[int]:
        """Return the processes that are there."""
        with self._lock:
            return frozenset(each.pid for each in (*self._idle, *self._busy))

    def close(self) -> None:
        """End all processes, also those at work."""
        with self._lock:
            self._closed = True
            idle, busy = [*self._idle], [*self._busy]
            self._idle.clear()
        for each in busy:
            # Who waits for its answer sees it die, and ends it: nobody's pipe is closed under them.
            each.kill()
        for each in idle:
            each.end()

    def _take(self) -> "_Worker":
        with self._lock:
            if self._closed:
                raise _no_process()
            chosen = None
            while self._idle and chosen is None:
                # The last one that worked: what is seldom needed may be swapped out.
                candidate = self._idle.pop()
                chosen = candidate if candidate.alive() else None
            chosen = chosen or _start()
            self._busy.add(chosen)
            return chosen

    def _put_back(self, chosen: "_Worker", *, usable: bool, lost: bool, late: bool) -> None:
        with self._lock:
            self._busy.discard(chosen)
            if lost and not self._closed:
                self._timed_out += late
                self._died += not late
            keep = usable and not self._closed
            if keep:
                self._idle.append(chosen)
        if not keep:
            chosen.end()


class _Worker:
    """One process, and the two pipes to it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None  # noqa: S101 - both were asked for
        assert process.stdout is not None  # noqa: S101 - both were asked for
        self._process = process
        self._requests, self._answers = process.stdin, process.stdout
        self._ready = False
        self._ending = threading.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        if self._process.poll() is None:
            return True
        self.end()
        return False

    def wait_until_ready(self) -> None:
        """Wait for the start, which is not part of anybody's record.

        Raises:
            OSError: it did not start.
        """
        if self._ready:
            return
        try:
            answer = self._read(_START_SECONDS)
        except TimeoutError:
            raise OSError("a process did not start in time") from None
        if answer != worker.READY:
            raise OSError("a process did not start")
        self._ready = True

    def ask(self, text: str, octets: bytes, *, seconds: float) -> bytes:
        """Hand over a record and a password; nothing if the process has ended instead.

        Raises:
            TimeoutError: there was no answer in time.
            OSError: the process is gone.
        """
        record = text.encode("ascii")
        # Both together fit into the buffer of any pipe, so this does not wait.
        self._requests.write(worker.HEAD.pack(len(record), len(octets)) + record + octets)
        return self._read(seconds)

    def kill(self) -> None:
        """Make it stop, whatever it does."""
        self._process.kill()

    def end(self) -> None:
        """Kill it, if it is still there, and forget it. May be called twice, and by two threads."""
        with self._ending:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
            for pipe in (self._requests, self._answers):
                with suppress(OSError):
                    pipe.close()

    def _read(self, seconds: float) -> bytes:
        deadline = monotonic() + seconds
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        while (left := deadline - monotonic()) > 0:
            if poll.poll(1000 * left):
                return os.read(self._answers.fileno(), 1)
        raise TimeoutError


def _start() -> _Worker:
    # The environment of the service may hold secrets, and an argument is seen by everybody. All
    # that the process gets is where the modules are, who its parent is, and how to use memory.
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        # glibc: threads share one heap. Else it keeps 64 MiB of address space for each that
        # happened to need memory, of which `worker.MEMORY` has not enough for two.
        "MALLOC_ARENA_MAX": "1",
    }
    command = [sys.executable, "-s", "-X", "utf8", "-m", worker.__name__, str(os.getpid())]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # a traceback, which says nothing that the answer does not
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            # Ctrl-C in a terminal is for the service, which then finishes what it has begun.
            start_new_session=True,
        )
    except OSError as exc:
        raise _no_process() from exc
    return _Worker(process)


def _meaning(answer: bytes) -> bool:
    if answer in {worker.RIGHT, worker.WRONG}:
        return answer == worker.RIGHT
    if answer == worker.UNREADABLE:
        raise UnreadableRecord("its own library does not accept it")
    # No memory, or killed: neither says anything about the password.
    raise _no_process()


def _no_process() -> Overloaded:
    return Overloaded(retry_after=_RETRY_SECONDS)
