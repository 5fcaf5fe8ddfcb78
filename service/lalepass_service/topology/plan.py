"""Reads the file that lists the parts, who reaches whom, and which path leads where."""

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from lalepass_service.faults import ConfigFault
from lalepass_service.topology.parts import (
    MAX_PARTS,
    Job,
    Listening,
    Name,
    Part,
    Proxy,
    Section,
)
from lalepass_service.topology.sentences import Tables, sentence

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


class _Open(Section):
    """Who can reach whom without having to, and why that can't be helped."""

    from_: _Patterns = Field(
        alias="from", description="a list of names of parts, in which * stands for any characters"
    )
    to: _Patterns = Field(
        description="a list of names of parts, in which * stands for any characters"
    )
    because: str = Field(min_length=1, max_length=300, description="a sentence: the reason")


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
    open: list[_Open] = Field(
        [], max_length=_MAX_RULES, description="a table for each rule, [[open]]"
    )
    route: list[Route] = Field(
        [], max_length=_MAX_RULES, description="a table for each path, [[route]]"
    )


_TABLES: Final = Tables(
    file=_File,
    lists={"reach": _Reach, "open": _Open, "route": Route},
    most={"parts": MAX_PARTS, **dict.fromkeys(("reach", "open", "route"), _MAX_RULES)},
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
        self._open: dict[tuple[str, str], str] = {}
        for number, known in enumerate(read.open):
            for source in self._matching(known.from_, f"open[{number}].from"):
                for target in self._matching(known.to, f"open[{number}].to"):
                    self._open.setdefault((source, target), known.because)
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

        That is who is not among those that it has to reach, whatever networks they share: a
        network has no ports. What is on the same host can't be kept apart.
        """
        reached = self.reached_from(name)
        return {
            other: part
            for other, part in self.listening.items()
            if other not in reached and self._host(other) != self._host(name)
        }

    def shared(self, name: str, other: str) -> list[str]:
        """Return the networks that both are on."""
        return [each for each in self.parts[name].segments if each in self.parts[other].segments]

    def known_open(self, name: str, other: str) -> str | None:
        """Return why one can reach the other without having to, if the file says that it can.

        It does not help those who are on networks that do not meet: then there is a hole.
        """
        both_named = self.parts[name].segments and self.parts[other].segments
        if both_named and not self.shared(name, other):
            return None
        return self._open.get((name, other))

    def meeting(self, name: str, other: str) -> str | None:
        """Return why these two have to meet all the same, at another port or the other way."""
        hosts = {self._host(name), self._host(other)}
        for source, target in self._logins:
            if {self._host(source), self._host(target)} == hosts:
                return f"{source} has to reach {target}"
        return None

    def _host(self, name: str) -> str:
        part = self.parts[name]
        # Nobody else's: where it is does not matter.
        return f"{name} itself" if isinstance(part, Job) else part.place.host

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
        said = sentence(error.errors(include_input=False)[0], table, _TABLES)
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
