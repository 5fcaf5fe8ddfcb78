"""The keys as files: one folder, one file for each key, one that names the active key.

    <id>.key    a version line, and 32 random bytes in base64
    active      the id of the key for new records
    digest      like a key; what keyed digests are derived from, left alone by rotation

Every file is made under another name, written to the disk and then renamed, so that whoever reads
finds the old file or the new one, also after a power cut. Those who change something take turns,
by a lock on the folder; those who read do not wait for them.
"""

import base64
import binascii
import fcntl
import os
import secrets
import stat
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lalepass_service.adapters.keys.ring import KEY_BYTES, KeyRing, is_key_id
from lalepass_service.adapters.owners import give_to_owner_of
from lalepass_service.core.errors import Conflict, NotFound
from lalepass_service.faults import OutsideFault

_SUFFIX: Final = ".key"
_ACTIVE: Final = "active"
_DIGEST: Final = "digest"
_UNFINISHED: Final = ".unfinished"
_VERSION_LINE: Final = "lalepass-key v1"
_MAX_BYTES: Final = 1024

_ID_LENGTH: Final = 6
_ID_LETTERS: Final = string.ascii_lowercase + string.digits


class BrokenKeys(OutsideFault):
    """The folder or a file in it is not as it has to be. The text names it, and no key."""


class KeyDirectory:
    """A folder with keys. Every method may raise OSError when it changes something.

    Those that do so wait for their turn in the calling thread, `patience` seconds at most, and
    then raise OutsideFault.
    """

    def __init__(self, path: Path, *, patience: float = 10.0) -> None:
        self.path = path
        self._patience = patience

    def load(self) -> KeyRing:
        """Read all keys.

        Raises:
            BrokenKeys: a file is missing, malformed or readable for others.
        """
        keys = {key_id: _secret(self._file_of(key_id)) for key_id in self._ids()}
        if not keys:
            raise BrokenKeys(f"{self.path} has no keys yet: run `lalepass keys add`")
        active = _read(self.path / _ACTIVE).strip()
        if active not in keys:
            raise BrokenKeys(f"{self.path / _ACTIVE} names a key that is not in {self.path}")
        return KeyRing(keys=keys, active=active, digest=_secret(self.path / _DIGEST))

    def stamp(self) -> object:
        """Return something that differs once anything in the folder has changed.

        Costs a system call for each file. The times alone would not do: they advance in steps of
        milliseconds, in which two changes have room.
        """
        try:
            with os.scandir(self.path) as entries:
                return frozenset(map(_stamp_of, entries))
        except OSError as error:
            return error.errno

    def has(self, key_id: str) -> bool:
        """Say whether the file of this key is there."""
        return self._file_of(key_id).is_file()

    def add(self) -> str:
        """Make a key and return its id. The folder is made, too, if it is not there.

        The very first key is active at once: without one nothing could be stored.
        """
        self.path.mkdir(mode=0o700, exist_ok=True)
        key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
        with self._changing() as folder:
            if self.has(key_id):
                raise FileExistsError(f"{self._file_of(key_id)} is there already")
            if not (self.path / _DIGEST).exists():
                self._write(folder, name=_DIGEST, text=_new_secret())
            self._write(folder, name=key_id + _SUFFIX, text=_new_secret())
            if not (self.path / _ACTIVE).exists():
                self._write(folder, name=_ACTIVE, text=f"{key_id}\n")
        return key_id

    def ensure(self) -> None:
        """Make what is missing for a first start, and nothing if all is there.

        Raises:
            BrokenKeys: something is there, and not as it has to be.
        """
        if not (self.path / _ACTIVE).exists():
            self.add()
        self.load()

    def promote(self, key_id: str) -> None:
        """Make a key the active one.

        Raises:
            NotFound: there is no such key.
            BrokenKeys: its file is not as it has to be.
        """
        with self._changing() as folder:
            self.require(key_id)
            # Read before it is trusted with every new record.
            _secret(self._file_of(key_id))
            self._write(folder, name=_ACTIVE, text=f"{key_id}\n")

    @contextmanager
    def retiring(self, key_id: str) -> Iterator[Callable[[], None]]:
        """Lend what removes a key. As long as the body runs nobody else changes the folder.

        If the body fails the key comes back. Killed in between, it is left under another name,
        `.<id>.retiring`, where nobody finds it but who looks for it.

        Raises:
            NotFound: there is no such key.
            Conflict: it is the active one.
            BrokenKeys: the folder is not as it has to be.
        """
        with self._changing() as folder:
            self.require(key_id)
            if key_id == self.load().active:
                raise Conflict(f"the key {key_id} is the active one: promote another one first")

            file, aside = self._file_of(key_id), self.path / f".{key_id}.retiring"

            def remove() -> None:
                file.rename(aside)
                os.fsync(folder)

            try:
                yield remove
            except BaseException:
                if aside.exists():
                    aside.rename(file)
                raise
            aside.unlink(missing_ok=True)
            os.fsync(folder)

    def require(self, key_id: str) -> None:
        """Find out that there is such a key.

        Raises:
            NotFound: there is none.
        """
        if not is_key_id(key_id) or not self.has(key_id):
            raise NotFound(f"there is no key {key_id} in {self.path}")

    def _file_of(self, key_id: str) -> Path:
        return self.path / f"{key_id}{_SUFFIX}"

    def _ids(self) -> list[str]:
        try:
            names = sorted(entry.name for entry in self.path.iterdir())
        except OSError as error:
            raise BrokenKeys(f"{self.path}: can't be read: {error.strerror}") from error
        # Files without the suffix are none of ours, such as what an editor or a backup leaves.
        ids = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
        for key_id in ids:
            if not is_key_id(key_id):
                raise BrokenKeys(f"{self._file_of(key_id)}: {key_id} can't be the id of a key")
        return ids

    @contextmanager
    def _changing(self) -> Iterator[int]:
        """Wait for one's turn. The lock is the folder's, and ends with the process."""
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._lock(folder)
            yield folder
        finally:
            os.close(folder)

    def _lock(self, folder: int) -> None:
        """Take the lock on the open folder. Who holds it may be stopped, so not for ever.

        The system has no time limit for this, and whoever asks again and again gets no turn among
        those who wait. So a thread waits, and is left behind if it takes too long; what it gets
        then is given back at once, since the folder has been closed.
        """
        failures: list[OSError] = []

        def wait() -> None:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
            except OSError as error:
                failures.append(error)

        waiting = threading.Thread(target=wait, name="keys", daemon=True)
        waiting.start()
        waiting.join(self._patience)
        if waiting.is_alive():
            raise OutsideFault(
                f"somebody else has been changing the keys in {self.path} for more than "
                f"{self._patience:g} seconds: try again when they are done"
            )
        if failures:
            raise failures[0]

    def _write(self, folder: int, *, name: str, text: str) -> None:
        """Make a file, or replace it, in one step. To be called with the lock."""
        unfinished = self.path / _UNFINISHED
        # left by somebody who was killed
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as opened:
                opened.write(text)
                opened.flush()
                give_to_owner_of(folder, descriptor)
                os.fsync(descriptor)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            # The system does not say which file was meant.
            raise OSError(error.errno, error.strerror, str(self.path / name)) from error
        unfinished.replace(self.path / name)
        os.fsync(folder)


def _stamp_of(entry: os.DirEntry[str]) -> tuple[str, ...]:
    try:
        # Follows links, by which Kubernetes mounts secrets.
        status = entry.stat()
    except OSError:
        return (entry.name,)
    facts = (status.st_ino, status.st_ctime_ns, status.st_size, status.st_mode)
    return (entry.name, *map(str, facts))


def _new_secret() -> str:
    return f"{_VERSION_LINE}\n{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n"


def _secret(file: Path) -> bytes:
    version, _, encoded = _read(file).rstrip("\n").partition("\n")
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if version != _VERSION_LINE or len(secret) != KEY_BYTES:
        # Neither chained nor quoted: the content may be a key that lacks a character.
        raise BrokenKeys(f"{file}: is not a key file of lalepass")
    return secret


def _read(file: Path) -> str:
    """Return the text of a file that nobody else can read or change.

    Raises:
        BrokenKeys: it can't be read, or others could.
    """
    try:
        with file.open("rb") as opened:
            if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
                raise BrokenKeys(f"{file}: others can read or change it: run `chmod 600` on it")
            return opened.read(_MAX_BYTES).decode("ascii", errors="replace")
    except OSError as error:
        raise BrokenKeys(f"{file}: can't be read: {error.strerror}") from error
