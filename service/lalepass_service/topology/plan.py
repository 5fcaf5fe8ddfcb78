"""Reads the file that lists the parts, who reaches whom, and which path leads where."""

import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from lalepass_service.faults import ConfigFault
from lalepass_service.topology.parts import (
    KINDS,
    MAX_PARTS,
    Job,
    Listening,
    Name,
    Part,
    Proxy,
    Section,
)

_MAX_BYTES: Final = 256 * 1024
_MAX_RULES: Final = 500
_PATH: Final = "the path of a file"
_TLS: Final = frozenset({"ca_path", "certificate_path", "key_path"})
_USEFUL: Final[Mapping[str, frozenset[str]]] = {
    "postgres": _TLS | {"user", "database", "password_path", "passfile_path"},
    "valkey": _TLS | {"user", "password_path"},
    "lalepass": _TLS | {"token_path"},
    "s3": _TLS | {"credentials_path"},
    **dict.fromkeys(("synapse", "proxy", "prometheus", "http"), _TLS),
}
"""What whom is shown to which kind."""

_Pattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9*][A-Za-z0-9*._-]{0,63}$")]
_Patterns = Annotated[list[_Pattern], Field(min_length=1, max_length=64)]
_A_PATH_OF: Final = Field(None, min_length=1, max_length=4096, description=_PATH)


class Login(Section):
    """What a part shows to those that it reaches. Paths are those of its own machine."""

    user: str | None = Field(None, min_length=1, max_length=64, description="a user's name")
    database: str | None = Field(None, min_length=1, max_length=64, description="a database's name")
    password_path: str | None = _A_PATH_OF
    passfile_path: str | None = _A_PATH_OF
    token_path: str | None = _A_PATH_OF
    credentials_path: str | None = _A_PATH_OF
    ca_path: str | None = _A_PATH_OF
    certificate_path: str | None = _A_PATH_OF
    key_path: str | None = _A_PATH_OF


class _Reach(Login):
    from_: _Patterns = Field(
        alias="from", description="a list of names of parts, in which * stands for any characters"
    )
    to: _Patterns = Field(
        description="a list of names of parts, in which * stands for any characters"
    )


class Route(Section):
    """Which part answers a path, asked without a token."""

    path: str = Field(pattern=r"^/[!-~]{0,1023}$", description="a path, such as /_matrix/client/..")
    method: str = Field("GET", pattern=r"^(GET|PUT|POST|OPTIONS)$", description="GET, PUT or POST")
    through: Name = Field("proxy", description="the name of a proxy")
    to: _Patterns = Field(
        description="a list of names of parts, in which * stands for any characters"
    )


class _File(Section):
    parts: dict[Name, Part] = Field(
        min_length=1, max_length=MAX_PARTS, description="a table for each part, [parts.NAME]"
    )
    reach: list[_Reach] = Field(
        [], max_length=_MAX_RULES, description="a table for each rule, [[reach]]"
    )
    route: list[Route] = Field(
        [], max_length=_MAX_RULES, description="a table for each path, [[route]]"
    )


class Plan:
    """What the file says, whole and consistent."""

    def __init__(self, read: _File, *, folder: Path) -> None:
        """Take what is well-formed.

        Raises:
            ValueError: what it says does not go together; the text has the option's path.
        """
        self.parts: Mapping[str, Part] = read.parts
        self._folder = folder
        self._logins: dict[tuple[str, str], Login] = {}
        for number, rule in enumerate(read.reach):
            self._add(rule, f"reach[{number}]")
        self.routes: list[tuple[Route, frozenset[str]]] = [
            (route, self._wanted(route, f"route[{number}]"))
            for number, route in enumerate(read.route)
        ]

    @property
    def listening(self) -> dict[str, Listening]:
        """Those that can be reached."""
        return {n: part for n, part in self.parts.items() if not isinstance(part, Job)}

    def reached_from(self, name: str) -> dict[str, Login]:
        """Return whom a part has to reach, and what it shows there."""
        return {to: login for (source, to), login in self._logins.items() if source == name}

    def any_login(self) -> dict[str, list[Login]]:
        """Return for each part that listens what others show it."""
        found: dict[str, list[Login]] = {name: [] for name in self.listening}
        for (_, to), login in self._logins.items():
            if login not in found[to]:
                found[to].append(login)
        return found

    def closed_to(self, name: str) -> dict[str, Listening]:
        """Return whom a part must not reach.

        That is who shares no network with it, or, where either of them names none, who is not
        among those that it has to reach. What is on the same host can't be kept apart.
        """
        own = self.parts[name]
        host = None if isinstance(own, Job) else own.place.host
        reached = self.reached_from(name)
        return {
            other: part
            for other, part in self.listening.items()
            if other not in reached
            and other != name
            and part.place.host != host
            and not set(own.segments) & set(part.segments)
        }

    def _add(self, rule: _Reach, where: str) -> None:
        sources = self._matching(rule.from_, f"{where}.from")
        targets = self._matching(rule.to, f"{where}.to")
        shown = rule.model_dump(exclude={"from_", "to"}, exclude_none=True)
        for target in targets:
            self._require_of_use(shown, target, where)
        login = Login(
            **{
                option: str(self._folder / value) if option.endswith("_path") else value
                for option, value in shown.items()
            }
        )
        for source in sources:
            for target in targets:
                self._require_a_way(source, target, where)
                if (source, target) in self._logins:
                    raise ValueError(f"{where}: {source} to {target} is there twice")
                self._logins[source, target] = login

    def _require_of_use(self, shown: Mapping[str, object], target: str, where: str) -> None:
        part = self.parts[target]
        if isinstance(part, Job):
            raise ValueError(f"{where}.to: {target} listens nowhere")  # noqa: TRY004 - of the file
        for option in shown:
            if option not in _USEFUL[part.kind]:
                raise ValueError(
                    f"{where}.{option}: {target} is of the kind {part.kind}, which takes none"
                )
        if part.kind == "postgres" and shown and not {"user", "database"} <= shown.keys():
            raise ValueError(f"{where}: {target} needs user and database")
        if ("certificate_path" in shown) != ("key_path" in shown):
            raise ValueError(f"{where}: certificate_path and key_path belong together")

    def _require_a_way(self, source: str, target: str, where: str) -> None:
        one, other = self.parts[source].segments, self.parts[target].segments
        if one and other and source != target and not set(one) & set(other):
            raise ValueError(f"{where}: {source} and {target} share no segment")

    def _matching(self, patterns: list[str], where: str) -> list[str]:
        found: list[str] = []
        for pattern in patterns:
            names = [name for name in self.parts if fnmatchcase(name, pattern)]
            if not names:
                raise ValueError(f"{where}: there is no part {pattern}")
            found += [name for name in names if name not in found]
        return found

    def _wanted(self, route: Route, where: str) -> frozenset[str]:
        if not isinstance(self.parts.get(route.through), Proxy):
            raise ValueError(f"{where}.through: there is no proxy {route.through}")  # noqa: TRY004 - of the file
        return frozenset(self._matching(route.to, f"{where}.to"))


def load(file: Path) -> Plan:
    """Read the file. Relative paths in it begin in its folder.

    Raises:
        ConfigFault: it is not as it has to be; the text is one sentence, with the option's path.
    """
    table = _read(file)
    try:
        return Plan(_File.model_validate(table), folder=file.parent)
    except ValidationError as error:
        said = _sentence(error.errors(include_input=False)[0], table)
        raise ConfigFault(f"{file}: {said}") from None
    except ValueError as error:
        raise ConfigFault(f"{file}: {error}") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise ConfigFault(f"{file}: is longer than {_MAX_BYTES // 1024} KiB")
        return tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise ConfigFault(f"{file}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigFault(f"{file}: is not UTF-8 text") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigFault(f"{file}: is not valid TOML: {error}") from None


def _sentence(error: ErrorDetails, table: Mapping[str, Any]) -> str:
    steps = list(_steps(error))
    where = ".".join(map(str, steps)).replace(".[", "[")
    kind = error["type"]
    if kind.startswith("union_tag"):
        return f"{where}.kind: should be one of {', '.join(KINDS)}"
    if kind == "missing":
        return f"{where}: is missing"
    if kind == "extra_forbidden":
        return f"{where}: there is no such option"
    if kind == "too_long" and where in {"parts", "reach", "route"}:
        return f"{where}: has more than {MAX_PARTS if where == 'parts' else _MAX_RULES} entries"
    if "[key]" in steps:
        return "parts: the name of a part is made of letters, digits and . _ -, at most 64"
    return f"{where}: should be {_description(steps, table)}"


def _steps(error: ErrorDetails) -> Iterator[str]:
    """Yield the path as the file has it: pydantic names the kind of a part in it, too."""
    steps = error["loc"]
    for place, step in enumerate(steps):
        if isinstance(step, int):
            yield f"[{step}]"
        elif not (steps[0] == "parts" and place == 2 and step in KINDS):  # noqa: PLR2004 - the third
            yield step


def _description(steps: list[str], table: Mapping[str, Any]) -> str:
    """Return what the option is, in the words of its model."""
    names = [step for step in steps if not step.startswith("[")]
    model: type[BaseModel] = _File
    if names[0] == "parts" and len(names) > 2:  # noqa: PLR2004 - below a part
        model = KINDS[table["parts"][names[1]]["kind"]]
    elif len(names) > 1 and names[0] != "parts":
        model = _Reach if names[0] == "reach" else Route
    for name, field in model.model_fields.items():
        if names[-1] in {name, field.alias}:
            return str(field.description)
    return "a table"
