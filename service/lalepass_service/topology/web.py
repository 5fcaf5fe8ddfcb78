"""Looks at what answers over HTTP: Synapse, Lalepass, the proxy, Prometheus."""

import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from lalepass_service.adapters.clock import SystemClock
from lalepass_service.topology.certificates import soon_over
from lalepass_service.topology.finding import Amiss, Finding, fail, ok, warn
from lalepass_service.topology.parts import Http, Lalepass, Prometheus, Proxy, Synapse
from lalepass_service.topology.plan import Login, Route
from lalepass_service.topology.seen import Seen
from lalepass_service.topology.wires import Answer, ask, own_end, secret, tls_of
from lalepass_wire import paths

_OK: Final = 200
_UNAUTHORIZED: Final = 401
_OLDEST_SYNAPSE: Final = (1, 140)
"""README.md."""
_SYNAPSE: Final = re.compile(r"Synapse/((\d+)\.(\d+)[^ ]*)")
_VERSIONS: Final = "/_matrix/client/versions"
_SHOWN: Final = 3
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_FIT: Final = re.compile(r"[A-Za-z0-9._+-]{1,64}")

Web = Lalepass | Synapse | Proxy | Prometheus | Http


def look(name: str, part: Web, login: Login) -> Seen:
    """See whether it answers as what it should be.

    Raises:
        Amiss: it does not.
    """
    match part:
        case Lalepass():
            return _lalepass(name, part, login)
        case Synapse():
            return _synapse(name, part, login)
        case Proxy():
            return _proxy(name, part, login)
        case Prometheus():
            return _prometheus(name, part, login)
        case Http():
            return _http(name, part, login)


def follow(name: str, part: Proxy, login: Login, route: Route) -> Seen:
    """Ask for a path through a proxy, and see who answers.

    Without a token, so nothing comes of it but an answer.

    Raises:
        Amiss: nobody answers.
    """
    # Who answers need not be told to everybody: so it is asked for.
    answer = _ask(part, login, route.path, method=route.method, more={part.says_who: "?"})
    who = answer.headers.get(part.says_who.lower())
    if who is None and answer.status >= 500:  # noqa: PLR2004 - the proxy's own words
        raise Amiss(
            f"{route.path} has no answer but {answer.status}",
            fix="look which of its servers the proxy takes for up",
            about="route",
        )
    return Seen(part=name, findings=(), answered_by=who if who and _FIT.fullmatch(who) else None)


def _lalepass(name: str, part: Lalepass, login: Login) -> Seen:
    ready = _ask(part, login, paths.HEALTH_READY)
    if ready.status != _OK:
        raise Amiss(f"it is not ready: {ready.status}", fix="look at its log, and at its database")
    version = None
    if login.token_path is not None:
        token = secret(login.token_path, what="token")
        caller = _ask(part, login, paths.CALLER, token=token)
        if caller.status == _UNAUTHORIZED:
            raise Amiss(
                f"it does not take the token in {login.token_path}",
                fix="make a new one: lalepass token create",
                about="login",
            )
        version = _text(_object(caller, part).get("service_version"))
    says = f"Lalepass {version}, ready" if version else "Lalepass, ready"
    findings = (ok(name, "reach", says), *_of_certificates(name, login, ready))
    return Seen(part=name, findings=findings, version=version, ahead=ready.ahead)


def _synapse(name: str, part: Synapse, login: Login) -> Seen:
    health = _ask(part, login, "/health")
    if health.status != _OK:
        raise Amiss(f"it is not well: {health.status}", fix="look at its log")
    said = _SYNAPSE.match(health.headers.get("server", ""))
    if part.clients:
        _require_clients(part, login)
    version = said[1] if said else None
    findings = [ok(name, "reach", f"Synapse {version or 'of unknown version'}, well")]
    if said is not None and (int(said[2]), int(said[3])) < _OLDEST_SYNAPSE:
        oldest = ".".join(map(str, _OLDEST_SYNAPSE))
        findings = [
            fail(
                name,
                "version",
                f"Synapse {version} is too old for the module",
                fix=f"upgrade it to {oldest} or newer",
            )
        ]
    return Seen(
        part=name,
        findings=(*findings, *_of_certificates(name, login, health)),
        version=version,
        ahead=health.ahead,
    )


def _require_clients(part: Synapse, login: Login) -> None:
    listed = _object(_ask(part, login, _VERSIONS), part).get("versions")
    if not isinstance(listed, list) or not listed:
        raise Amiss(
            f"{_VERSIONS} has no versions",
            fix="give its listener the resource `client`, or say clients = false",
        )


def _proxy(name: str, part: Proxy, login: Login) -> Seen:
    answer = _ask(part, login, _VERSIONS)
    if answer.status != _OK or "versions" not in _object(answer, part):
        raise Amiss(
            f"{_VERSIONS} has no answer but {answer.status}",
            fix="look which of its servers the proxy takes for up",
        )
    findings = (
        ok(name, "reach", "leads to Synapse"),
        *_of_certificates(name, login, answer),
    )
    return Seen(part=name, findings=findings, ahead=answer.ahead)


def _prometheus(name: str, part: Prometheus, login: Login) -> Seen:
    built = _object(_ask(part, login, "/api/v1/status/buildinfo"), part).get("data")
    version = _text(built.get("version")) if isinstance(built, dict) else None
    if version is None:
        raise Amiss(f"{part.place} is no Prometheus", fix="look what else listens there")
    targets = _data(_ask(part, login, "/api/v1/targets?state=active"), part, "activeTargets")
    alerts = _data(_ask(part, login, "/api/v1/alerts"), part, "alerts")
    findings = (
        ok(name, "reach", f"Prometheus {version}, {len(targets)} targets"),
        *_of_targets(name, targets),
        *_of_alerts(name, alerts),
    )
    return Seen(part=name, findings=findings, version=version)


def _of_targets(name: str, targets: list[Any]) -> Iterator[Finding]:
    down = sorted(
        str(target.get("labels", {}).get("instance"))
        for target in targets
        if target.get("health") == "down"
    )
    if down:
        yield fail(
            name,
            "targets",
            f"gets no figures of {_some(down)}",
            fix="start it, or compare the address and the certificate in prometheus.yml",
        )


def _of_alerts(name: str, alerts: list[Any]) -> Iterator[Finding]:
    firing = sorted(
        {
            str(alert.get("labels", {}).get("alertname"))
            for alert in alerts
            if alert.get("state") == "firing"
        }
    )
    if firing:
        yield warn(
            name, "alerts", f"says {_some(firing)}", fix="see docs/monitoring.md for each of them"
        )


def _http(name: str, part: Http, login: Login) -> Seen:
    answer = _ask(part, login, part.path)
    if answer.status != _OK:
        raise Amiss(
            f"{part.path} answers {answer.status}", fix="compare the path with what listens there"
        )
    findings = (ok(name, "reach", "answers"), *_of_certificates(name, login, answer))
    return Seen(part=name, findings=findings, ahead=answer.ahead)


def _ask(
    part: Web,
    login: Login,
    path: str,
    *,
    method: str = "GET",
    token: str | None = None,
    more: Mapping[str, str] = _NO_HEADERS,
) -> Answer:
    return ask(
        method,
        part.place,
        path,
        tls=tls_of(login) if part.tls else None,
        headers={**more, **({"Authorization": f"Bearer {token}"} if token else {})},
    )


def _of_certificates(name: str, login: Login, answer: Answer) -> Iterator[Finding]:
    now = SystemClock().now()
    yield from soon_over(name, theirs=answer.valid_until, ours=own_end(login), now=now)


def _object(answer: Answer, part: Web) -> dict[str, Any]:
    """Return the object in the body; an empty one where it is something else."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Amiss(
            f"{part.place} answers {answer.status}, and not as a {part.kind}",
            fix="look what else listens there",
        )
    return found


def _data(answer: Answer, part: Web, name: str) -> list[Any]:
    data = _object(answer, part).get("data")
    found = data.get(name) if isinstance(data, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _text(value: object) -> str | None:
    """Return a version that somebody says, if it can be one."""
    return value if isinstance(value, str) and _FIT.fullmatch(value) else None


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
