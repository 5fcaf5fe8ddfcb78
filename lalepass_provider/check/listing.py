"""Which password modules there are, and where ours is among them."""

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final

from lalepass_provider.check.finding import Finding, error, is_section, ok, warning

OURS: Final = "lalepass_provider.LalepassProvider"
_OUR_NAMES: Final = frozenset({OURS, "lalepass_provider.module.LalepassProvider"})
_SIMILAR: Final = 0.7
_ENTRY: Final = f"Write it like this: - module: {OURS}"
_REGISTERS: Final = re.compile(r"\bregister_password_auth_provider_callbacks\b")
_LEGACY: Final = re.compile(r"\bdef (?:check_password|check_auth|check_3pid_auth)\b")
_MAX_SOURCE_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One entry of `modules` or `password_providers`."""

    section: str
    number: int
    module: object
    config: object

    @property
    def option(self) -> str:
        """Where it stands."""
        return f"{self.section}[{self.number}]"

    @property
    def is_ours(self) -> bool:
        """Whether it is Lalepass."""
        return isinstance(self.module, str) and self.module in _OUR_NAMES


def entries(config: Mapping[str, Any]) -> list[Entry]:
    """Return every listed module, in the order in which Synapse asks them.

    Those of `password_providers` come behind all `modules` (`app/_base.py`, start).
    """
    found = []
    for section in ("modules", "password_providers"):
        listed = config.get(section) or []
        if isinstance(listed, list):
            found += [_entry(section, number, entry) for number, entry in enumerate(listed)]
    return found


def _entry(section: str, number: int, entry: object) -> Entry:
    given = entry if is_section(entry) else {}
    return Entry(section, number, given.get("module"), given.get("config"))


def our_entry(config: Mapping[str, Any]) -> Entry | None:
    """Return the entry that holds our options, the first if there are several."""
    return next((entry for entry in entries(config) if entry.is_ours), None)


def look(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Look at the lists of modules."""
    for section in ("modules", "password_providers"):
        if not isinstance(config.get(section) or [], list):
            yield error("no-list", f"{section} is no list.", fix=_ENTRY, option=section)
    listed = entries(config)
    for entry in listed:
        yield from _look_at(entry)
    ours = [entry for entry in listed if entry.is_ours]
    if not ours:
        yield error(
            "not-listed",
            "Lalepass is not among the modules, so Synapse does not ask it.",
            fix=f"List it under modules. {_ENTRY}",
            option="modules",
        )
        return
    yield from _where_it_is(ours)
    yield from _others(listed, ours[0])


def _look_at(entry: Entry) -> Iterator[Finding]:
    if not isinstance(entry.module, str):
        says = f"{entry.option} has no module."
        yield error("no-module", says, fix=_ENTRY, option=f"{entry.option}.module")
    elif not entry.is_ours and _looks_like_ours(entry.module):
        yield error(
            "misspelt",
            f"{entry.module} is no module, and Synapse will not start with it.",
            fix=f"Write {OURS}.",
            option=f"{entry.option}.module",
        )


def _looks_like_ours(module: str) -> bool:
    folded = module.lower()
    return "lalepass" in folded or SequenceMatcher(None, folded, OURS.lower()).ratio() > _SIMILAR


def _where_it_is(ours: Sequence[Entry]) -> Iterator[Finding]:
    if len(ours) > 1:
        yield error(
            "listed-twice",
            f"Lalepass is listed {len(ours)} times, and asked as often about a wrong password.",
            fix=f"Keep {ours[0].option} only.",
            option=ours[-1].option,
        )
    elif ours[0].section == "modules":
        yield ok("listed", "Lalepass is listed once, under modules.", option=ours[0].option)
    else:
        yield ok(
            "listed",
            "Lalepass is listed once, under password_providers, the older place.",
            option=ours[0].option,
            fix="It works here as well; modules is where Synapse wants it today.",
        )


def _others(listed: Sequence[Entry], ours: Entry) -> Iterator[Finding]:
    place = listed.index(ours)
    for position, entry in enumerate(listed):
        if not isinstance(entry.module, str) or entry.is_ours or _looks_like_ours(entry.module):
            continue
        kind = _kind(entry)
        if kind is None:
            continue
        if kind == "inert":
            yield warning(
                "inert-module",
                f"{entry.module} is of the older kind: under modules it loads and does nothing.",
                fix="Move it to password_providers, or remove it.",
                option=entry.option,
            )
        elif position < place:
            yield warning(
                "module-before",
                f"{entry.module} comes before Lalepass: it is sent every password first, also"
                " those that are not its own, and while it hangs nobody logs in.",
                fix=f"Move it behind {ours.option}, or remove it.",
                option=entry.option,
            )
        else:
            yield ok(
                "module-behind",
                f"{entry.module} is asked about whomever Lalepass refuses, and not while Lalepass"
                " gives no answer (unless unavailable: try_local).",
                option=entry.option,
            )


def _kind(entry: Entry) -> str | None:
    """Say whether a module checks passwords, without running it: by the words in its source.

    Returns:
        `password`, `inert` for one of the older kind in the newer list, None for all others.
    """
    if entry.section == "password_providers":
        return "password"
    source = _source(str(entry.module))
    if _REGISTERS.search(source):
        return "password"
    return "inert" if _LEGACY.search(source) else None


def _source(module: str) -> str:
    """Return the source of a module and of its neighbours in the package; nothing if unknown."""
    package = module.partition(".")[0]
    try:
        # A top-level name is found without importing anything.
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return ""
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
    return "".join(_start_of(file) for file in files[:200])


def _start_of(file: Path) -> str:
    try:
        with file.open("rb") as source:
            return source.read(_MAX_SOURCE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
