"""The locked accounts in a file, which a restarted homeserver reads before it serves anybody."""

import json
import os
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from lalepass_provider.locks import DIGEST_BYTES, KEY_BYTES, LockedNames

_FORMAT: Final = 1
_SUM_BYTES: Final = 32
_MAX_HEAD_BYTES: Final = 256 * 1024
_MAX_FILE_BYTES: Final = 256 * 1024 * 1024
"""Some thirty million locked accounts."""


class UnusableState(Exception):
    """There is a file, but it can't be used. Says why."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What a follower knows: enough to go on where it was."""

    cursor: str
    key: bytes
    digests: bytes
    """Of the names, as `LockedNames` gives them: a copy, so nobody changes it meanwhile."""
    orders_done: tuple[str, ...] = ()
    """The newest orders that were carried out; maybe the service does not know yet."""

    profiles: str | None = None
    """Up to where in the feed profiles were brought in step."""

    def locked(self) -> LockedNames:
        """Return the names."""
        return LockedNames.restore(key=self.key, digests=self.digests)


def written(state: State, *, server_name: str) -> bytes:
    """Return the file: a line of JSON, the digests as they are in memory, a checksum."""
    head = {
        "lalepass_state": _FORMAT,
        "server_name": server_name,
        "byte_order": sys.byteorder,
        "cursor": state.cursor,
        "profiles": state.profiles,
        "key": state.key.hex(),
        "locked": len(state.digests) // DIGEST_BYTES,
        "orders_done": state.orders_done,
    }
    content = json.dumps(head).encode() + b"\n" + state.digests
    return content + blake2b(content, digest_size=_SUM_BYTES).digest()


def save(path: Path, content: bytes) -> None:
    """Put the file there, whole or not at all, readable by its owner only. Blocks.

    Raises:
        OSError: it could not be written; what was there before is still there.
    """
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def load(path: Path, *, server_name: str) -> State | None:
    """Return what the file holds, or None if there is none.

    Raises:
        UnusableState: it can't be read, is damaged, or is not of this homeserver.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise UnusableState(f"it can't be read: {exc.strerror}") from exc
    if len(content) > _MAX_FILE_BYTES:
        raise UnusableState("it is too large")
    return _read(content, server_name=server_name)


def _read(content: bytes, *, server_name: str) -> State:
    body, checksum = content[:-_SUM_BYTES], content[-_SUM_BYTES:]
    if blake2b(body, digest_size=_SUM_BYTES).digest() != checksum:
        raise UnusableState("it is damaged, or something else than the state of this module")
    end = body.find(b"\n", 0, _MAX_HEAD_BYTES)
    try:
        head = json.loads(body[:end])
        if head["lalepass_state"] != _FORMAT or head["byte_order"] != sys.byteorder:
            raise UnusableState("it was written by another release or on another kind of machine")
        if head["server_name"] != server_name:
            raise UnusableState("it belongs to another homeserver")
        return _state(head, body[end + 1 :])
    except (ValueError, KeyError, TypeError) as exc:
        raise UnusableState("it is not understood") from exc


def _state(head: dict[str, Any], digests: bytes) -> State:
    key = bytes.fromhex(head["key"])
    if len(key) != KEY_BYTES or len(digests) != head["locked"] * DIGEST_BYTES:
        raise ValueError("the parts do not fit together")
    return State(
        cursor=str(head["cursor"]),
        profiles=None if head["profiles"] is None else str(head["profiles"]),
        key=key,
        digests=digests,
        orders_done=tuple(str(order) for order in head["orders_done"]),
    )
