"""The configuration as Synapse puts it together from its files (`synapse/config/_base.py`)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from lalepass_provider.check.finding import Finding, error, is_section, ok, warning

_MAX_BYTES: Final = 16 * 1024 * 1024
_DEPTH: Final = 12
"""How deep repeated names are looked for."""


@dataclass(frozen=True)
class Configuration:
    """What all files say together."""

    values: Mapping[str, Any]
    """Top-level sections; those of a later file replace those of an earlier one."""
    files: Mapping[str, Path]
    """Where each of them stands."""
    findings: Sequence[Finding] = field(default=())


class Unreadable(Exception):
    """A file is not there, is closed to us, or is no YAML. Its message never quotes the file."""


def read(paths: Sequence[Path]) -> Configuration:
    """Read and merge as Synapse does.

    Raises:
        Unreadable: one of them can't be read, or all of them say nothing.
    """
    values: dict[str, Any] = {}
    files: dict[str, Path] = {}
    findings: list[Finding] = []
    for path in _all_files(paths):
        text = _text(path)
        content = _parsed(path, text)
        if not is_section(content):
            findings.append(_no_options(path))
            continue
        findings += _repeated_names(path, text)
        findings += _replaced(path, content, files)
        values.update(content)
        files.update(dict.fromkeys(content, path))
    if not values:
        raise Unreadable(f"there are no options in {', '.join(map(str, paths))}")
    return Configuration(values, files, tuple(findings))


def _all_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        try:
            yield from sorted(p for p in path.iterdir() if p.is_file() and p.name.endswith(".yaml"))
        except OSError as exc:
            raise Unreadable(f"{path} can't be read: {exc.strerror}") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise Unreadable(f"{path} is too long for a configuration")
        return raw.decode("utf-8")
    except OSError as exc:
        raise Unreadable(f"{path} can't be read: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise Unreadable(f"{path} is not UTF-8") from None


def _parsed(path: Path, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as exc:
        # Not its text: that quotes the line, and the line may hold a secret.
        mark = exc.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Unreadable(f"{path}{where}: this is no YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Unreadable(f"{path} is no YAML") from None


def _no_options(path: Path) -> Finding:
    return warning(
        "empty-file",
        f"{path} holds no options, and Synapse ignores it.",
        fix="Leave the file out, or fill it.",
    )


def _repeated_names(path: Path, text: str) -> Iterator[Finding]:
    """Yield a finding for each option that stands twice in one place: YAML takes the last one."""
    for option in _repetitions(yaml.compose(text, Loader=yaml.SafeLoader), at=""):
        yield error(
            "repeated-option",
            f"{option} appears twice in {path}, and Synapse only uses the last one.",
            fix="Put both into one.",
            option=option,
        )


def _repetitions(node: object, *, at: str, depth: int = _DEPTH) -> Iterator[str]:
    if depth == 0:
        return
    if isinstance(node, yaml.SequenceNode):
        for number, entry in enumerate(node.value):
            yield from _repetitions(entry, at=f"{at}[{number}]", depth=depth - 1)
    if isinstance(node, yaml.MappingNode):
        named = [(f"{at}.{key.value}".removeprefix("."), value) for key, value in node.value]
        yield from (name for name, count in Counter(n for n, _ in named).items() if count > 1)
        for name, value in named:
            yield from _repetitions(value, at=name, depth=depth - 1)


def _replaced(
    path: Path, content: Mapping[str, Any], files: Mapping[str, Path]
) -> Iterator[Finding]:
    """Yield a finding for each section of an earlier file that this one replaces as a whole."""
    for name in content:
        if name not in files:
            continue
        says = f"{name} of {path} replaces all of {name} of {files[name]}."
        if name in {"modules", "password_providers", "password_config", "rc_login"}:
            fix = f"Put all of {name} into one of the two files."
            yield warning("replaced-section", says, fix=fix, option=name)
        else:
            yield ok("replaced-section", says, option=name)
