"""Whose files are: under sudo they would be root's, and the service could not read its own."""

import os
from pathlib import Path


def give_to_owner_of(folder: int | Path, descriptor: int) -> None:
    """Hand an open file to whoever owns a folder, if this is root.

    Args:
        folder: its path, or a descriptor.
        descriptor: the file.

    Raises:
        OSError: the file system knows no owners, say.
    """
    if os.geteuid() == 0:
        owner = folder.stat() if isinstance(folder, Path) else os.fstat(folder)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
