"""Who can read a file: Synapse has to, and not everybody should."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lalepass_provider.check.finding import Finding, error, ok, warning


@dataclass(frozen=True)
class Account:
    """An account of the operating system."""

    name: str
    uid: int
    gids: frozenset[int]

    @classmethod
    def named(cls, name: str) -> "Account":
        """Return the account of this name.

        Raises:
            KeyError: there is none.
        """
        entry = pwd.getpwnam(name)
        groups = {group.gr_gid for group in grp.getgrall() if name in group.gr_mem}
        return cls(name, entry.pw_uid, frozenset(groups | {entry.pw_gid}))

    @classmethod
    def mine(cls) -> "Account":
        """Return the account that this process runs as."""
        uid = os.geteuid()
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = str(uid)  # usual in containers
        return cls(name, uid, frozenset({os.getegid(), *os.getgroups()}))

    @classmethod
    def owner_of(cls, path: Path) -> "Account":
        """Return the account that owns a file.

        Raises:
            OSError: it can't be seen.
            KeyError: its owner has no name.
        """
        return cls.named(pwd.getpwuid(path.stat().st_uid).pw_name)


def look(path: Path, *, reader: Account, option: str, secret: bool = True) -> Iterator[Finding]:
    """Look at a file that Synapse has to read.

    By its mode: access lists and the rules of SELinux and AppArmor are not seen.
    """
    try:
        obstacle = _obstacle(path, reader)
        exposed = secret and _reachable_by_all(path)
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "no file can have this name"
        yield error(
            "unreadable-file",
            f"{path} can't be looked at: {why}.",
            fix="Make the file, or write its right path; run this check as root if it is there.",
            option=option,
        )
        return
    if obstacle is not None:
        yield error(
            "unreadable-file",
            f"{reader.name} can't read {path}, because of the mode of {obstacle}.",
            fix=f"chown {reader.name} {path}; chmod 600 {path}; and let it pass the folders.",
            option=option,
        )
    elif exposed:
        yield warning(
            "exposed-file",
            f"Every user of this machine can read {path}.",
            fix=f"chmod o= {path}",
            option=option,
        )
    else:
        yield ok("file", f"{reader.name} can read {path}.", option=option)


def look_at_folder(folder: Path, *, writer: Account, option: str) -> Iterator[Finding]:
    """Look at a folder that Synapse has to write in."""
    try:
        real = folder.resolve(strict=True)
        passable = all(_may(above.stat(), writer, stat.S_IXOTH) for above in real.parents)
        may = all(_may(real.stat(), writer, bit) for bit in (stat.S_IWOTH, stat.S_IXOTH))
    except (OSError, ValueError):  # the second for what can't be a path
        passable = may = False
    if passable and may:
        yield ok("folder", f"{writer.name} can write in {folder}.", option=option)
    else:
        yield error(
            "unwritable-folder",
            f"{writer.name} can't write in {folder}.",
            fix=f"Make the folder, and let it belong to {writer.name}: install -d -o {writer.name}"
            f" -m 700 {folder}",
            option=option,
        )


def _obstacle(path: Path, reader: Account) -> Path | None:
    """Return what keeps somebody from reading a file, if anything does."""
    # resolve(): the folders behind a symbolic link count, as Kubernetes mounts its secrets.
    real = path.resolve(strict=True)
    for folder in reversed(real.parents):
        if not _may(folder.stat(), reader, stat.S_IXOTH):
            return folder
    status = real.stat()
    if not stat.S_ISREG(status.st_mode):
        return path
    return None if _may(status, reader, stat.S_IROTH) else path


def _may(status: os.stat_result, reader: Account, bit: int) -> bool:
    if reader.uid == 0:
        return True
    if status.st_uid == reader.uid:
        return bool(status.st_mode & (bit << 6))
    if status.st_gid in reader.gids:
        return bool(status.st_mode & (bit << 3))
    return bool(status.st_mode & bit)


def _reachable_by_all(path: Path) -> bool:
    real = path.resolve(strict=True)
    way = all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    return way and bool(real.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
