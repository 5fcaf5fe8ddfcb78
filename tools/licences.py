"""Which licences the locked packages have, against what `requirements/licences.toml` allows.

What users install (provider, service) has to be under a licence that asks for nothing but its own
notice. An exception is for one package, and says why and in which locks it may be.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict

from tools.locks import DEV, PARTS, ROOT, pins

_SOURCES: Final = ("License-Expression", "License-Classifier", "License-Metadata")
"""Where a package may state its licence, the most exact first."""
_UNKNOWN: Final = "UNKNOWN"


class Exemption(BaseModel):
    """A package that may have a licence which is not allowed in general."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    licence: str
    """As the package states it: when that changes, somebody should look again."""
    locks: frozenset[str]
    reason: str


class Policy(BaseModel):
    """What `requirements/licences.toml` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allowed: frozenset[str]
    """SPDX identifiers."""
    spellings: dict[str, str]
    """What packages write in place of an SPDX identifier, and which it is."""
    packages: dict[str, Exemption]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it from a file."""
        return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))

    def allows(self, stated: str) -> bool:
        """Say whether a licence, or an expression of several, is allowed for every package."""
        if " OR " in stated and " AND " in stated:
            return False  # Nobody needed this yet; an exemption for the one package will do.
        if " OR " in stated:
            return any(self._is_allowed(name) for name in stated.split(" OR "))
        # Classifiers stand side by side without saying how: both are taken to hold.
        return all(self._is_allowed(name) for name in re.split(r" AND |; ", stated))

    def _is_allowed(self, name: str) -> bool:
        return self.spellings.get(name, name) in self.allowed


@dataclass(frozen=True)
class Audit:
    """What came out."""

    complaints: list[str]
    packages: int
    not_installed: list[str]
    """Locked for other systems only, so that their licence can't be read here."""


def examine(
    policy: Policy, locks: Mapping[str, Mapping[str, str]], stated: Mapping[str, str]
) -> Audit:
    """Hold the packages of each lock against the policy."""
    locked = {package for pinned in locks.values() for package in pinned}
    complaints = [
        complaint
        for lock, pinned in locks.items()
        for package in pinned
        if package in stated
        for complaint in _complaints(policy, lock, package, stated[package])
    ]
    complaints += [
        f"licences.toml has an exemption for {package}, which is in no lock"
        for package in sorted(policy.packages.keys() - locked)
    ]
    return Audit(complaints, len(locked), sorted(locked - stated.keys()))


def _complaints(policy: Policy, lock: str, package: str, licence: str) -> Iterator[str]:
    exemption = policy.packages.get(package)
    if exemption is None:
        if not policy.allows(licence):
            yield f"{lock}.txt: {package} is under {licence}, which licences.toml does not allow"
    elif exemption.licence != licence:
        yield f"{package} is under {licence}; its exemption is for {exemption.licence}"
    elif lock not in exemption.locks:
        yield f"{lock}.txt: the exemption for {package} is not for this lock"


def installed_licences() -> dict[str, str]:
    """Return what each installed package states, by its canonical name."""
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=all", "--with-system"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {canonicalize_name(entry["Name"]): _stated(entry) for entry in json.loads(done.stdout)}


def _stated(entry: Mapping[str, str]) -> str:
    found = (entry[source] for source in _SOURCES if entry[source] != _UNKNOWN)
    # Some put the whole text there. Its first line says what it is.
    return next(found, _UNKNOWN).strip().split("\n", maxsplit=1)[0]


def main() -> int:
    """Print what is wrong and return the exit code."""
    policy = Policy.read(ROOT / "requirements" / "licences.toml")
    # Those with an older Synapse are for tests that ask for them, and nobody is given them.
    locks = {lock.name: pins((ROOT / lock.file).read_text()) for lock in (DEV, *PARTS)}
    audit = examine(policy, locks, installed_licences())
    for complaint in audit.complaints:
        print(complaint)
    if audit.complaints:
        return 1
    rest = ", ".join(audit.not_installed)
    print(
        f"{audit.packages} packages, {len(policy.packages)} with an exemption"
        + (f"; not installed on this system and not read: {rest}" if rest else "")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
