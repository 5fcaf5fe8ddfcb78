"""Passwords of the profile `scale`, for the machines that have to know one another.

    python passwords.py password FILE              makes one, unless there is one
    python passwords.py scram FILE TARGET          what PostgreSQL keeps of it
    python passwords.py acl FILE TARGET RULES...   a user of Valkey with that password

Doing it again changes nothing.
"""

import os
import sys
from base64 import b64decode, b64encode
from hashlib import pbkdf2_hmac, sha256
from hmac import compare_digest, digest
from pathlib import Path
from secrets import token_bytes, token_urlsafe

# PostgreSQL's own number (scram_iterations). It protects against guessing, and nobody guesses this.
ITERATIONS = 4096


def make(file: Path) -> None:
    """Make a password of letters, digits, - and _."""
    if not file.exists():
        write(file, token_urlsafe(32))
        sys.stdout.write(f"made {file}\n")


def keep_scram(file: Path, target: Path) -> None:
    """Write the verifier (RFC 5803), unless the one that is there is of this password."""
    password = file.read_text()
    there = target.read_text() if target.exists() else ""
    try:
        salt = b64decode(there.split("$")[1].split(":")[1])
    except (IndexError, ValueError):
        salt = b""
    if not salt or not compare_digest(scram(password, salt), there):
        write(target, scram(password, token_bytes(16)))


def scram(password: str, salt: bytes) -> str:
    """Return what stands for a password in PostgreSQL: RFC 5802, section 3, with SHA-256."""
    salted = pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = sha256(digest(salted, b"Client Key", "sha256")).digest()
    server = digest(salted, b"Server Key", "sha256")
    text = [b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{text[0]}${text[1]}:{text[2]}"


def keep_acl(file: Path, target: Path, rules: list[str]) -> None:
    """Write who may do what in a Valkey: one user, and one that only asks whether it is there."""
    password = sha256(file.read_bytes()).hexdigest()
    name, *rest = rules
    text = (
        "user default off\n"
        "user health on nopass -@all +ping\n"
        f"user {name} on #{password} {' '.join(rest)}\n"
    )
    if not target.exists() or target.read_text() != text:
        write(target, text)


def write(path: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all, for its owner and the group."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w") as file:
        new.chmod(0o640)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def main(arguments: list[str]) -> None:
    """Do what the first one says."""
    match arguments:
        case ["password", file]:
            make(Path(file))
        case ["scram", file, target]:
            keep_scram(Path(file), Path(target))
        case ["acl", file, target, *rules] if rules:
            keep_acl(Path(file), Path(target), rules)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
