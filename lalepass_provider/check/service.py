"""The service as this homeserver sees it: reachable, ready, ours, in step."""

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import Final

from pydantic import ValidationError

from lalepass_provider.check.asking import Answer, Exchange, Target
from lalepass_provider.check.certificates import look as look_at_certificates
from lalepass_provider.check.finding import Finding, error, ok, warning
from lalepass_wire import CallerFacts, parse_caller

Ask = Callable[[Target], Exchange]

_IN_STEP_SECONDS: Final = 5.0
_BUSY: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_LOOK: Final = "Look whether the service runs there, and at firewalls and proxies between."


def look(
    targets: Sequence[tuple[str, Target]],
    *,
    scopes: Sequence[str],
    module_version: str,
    ask: Ask,
    now: float,
) -> Iterator[Finding]:
    """Ask each replica.

    Args:
        targets: with the option that each stands in.
        scopes: what the token has to be good for; without the first one, nobody logs in.
        module_version: of what runs in Synapse.
        ask: the network.
        now: seconds since the epoch.
    """
    for option, target in targets:
        exchange = ask(target)
        yield from look_at_certificates(
            exchange.certificates, whose=f"of {target.address}", option=option, now=now
        )
        if exchange.caller is None:
            yield _unreachable(exchange.fault, target, option)
        if exchange.ready is not None:
            yield from _ready(exchange.ready, target, option)
        if exchange.caller is not None:
            yield from _caller(
                exchange.caller, target, option, scopes=scopes, module_version=module_version
            )


def _unreachable(fault: Exception | None, target: Target, option: str) -> Finding:
    why, fix = _explained(fault)
    return error(
        "unreachable", f"There is no answer from {target.address}: {why}.", fix=fix, option=option
    )


def _explained(fault: Exception | None) -> tuple[str, str]:
    if isinstance(fault, OSError):
        return _explained_by_system(fault)
    if isinstance(fault, HTTPException | ValueError) and not isinstance(fault, UnicodeError):
        return f"it is no HTTP ({type(fault).__name__})", _LOOK
    why = "" if fault is None else f" ({type(fault).__name__})"
    return f"it could not be asked{why}", "Run the check again; if it stays so, please report it."


def _explained_by_system(fault: OSError) -> tuple[str, str]:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({fault.verify_message})",
            (
                "Renew the certificate, send those between it and its authority along, or write the"
                " name that is in it; an authority of your own belongs into tls.ca_path."
            ),
        )
    if isinstance(fault, ssl.SSLError):
        reason = str(getattr(fault, "reason", None) or "no reason given").replace("_", " ").lower()
        return f"TLS fails ({reason})", "See whether the service speaks TLS there, and which."
    if isinstance(fault, socket.gaierror):
        return "its name can't be resolved", "Write the right name, or mend the resolver."
    if isinstance(fault, TimeoutError):
        return "it takes too long", _LOOK
    return (fault.strerror or type(fault).__name__), _LOOK


def _ready(answer: Answer, target: Target, option: str) -> Iterator[Finding]:
    if answer.status == HTTPStatus.OK:
        yield ok("ready", f"{target.address} answers, and is ready.", option=option)
    elif answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
        yield error(
            "not-ready",
            f"{target.address} answers and is not ready: it lacks its database.",
            fix="See the service's log.",
            option=option,
        )
    else:
        yield error(
            "not-ready",
            f"{target.address} does not say whether it is ready (status {answer.status}).",
            fix="Let proxies between pass on /health/ready, and write the address of the service.",
            option=option,
        )


def _caller(
    answer: Answer, target: Target, option: str, *, scopes: Sequence[str], module_version: str
) -> Iterator[Finding]:
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        yield error(
            "token-rejected",
            f"{target.address} does not accept the token of this homeserver: nobody logs in.",
            fix="lalepass token list shows which there are; lalepass token create makes one.",
            option=option,
        )
        return
    if answer.status in _BUSY or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        yield error(
            "not-told",
            f"{target.address} does not say whom it takes this homeserver for (status"
            f" {answer.status}): it lacks its database, has too much to do, or something before it"
            " can't reach it.",
            fix="See the service's log, and run the check again.",
            option=option,
        )
        return
    facts = _facts(answer)
    if facts is None:
        yield error(
            "no-service",
            f"What answers at {target.address} is no Lalepass that this module understands"
            f" (status {answer.status}).",
            fix="Write the address of the service, without a path of its API; or upgrade it.",
            option=option,
        )
        return
    yield from _scopes(facts, target, option, wanted=scopes)
    yield _versions(facts, module_version, option)
    yield from _clocks(facts.server_time.timestamp(), answer, target, option)


def _facts(answer: Answer) -> CallerFacts | None:
    if answer.status != HTTPStatus.OK:
        return None
    try:
        return parse_caller(answer.body)
    except ValidationError:
        return None


def _scopes(
    facts: CallerFacts, target: Target, option: str, *, wanted: Sequence[str]
) -> Iterator[Finding]:
    has = ", ".join(facts.scopes) or "none"
    fix = f"Make one with lalepass token create NAME {' '.join(f'--scope {s}' for s in wanted)}."
    missing = [scope for scope in wanted if scope not in facts.scopes]
    if not missing:
        says = f"{target.address} takes this homeserver for {facts.name!r}; scopes: {has}."
        yield ok("token", says, option=option)
    elif wanted[0] in missing:
        says = f"The token {facts.name!r} lacks the scope check; its scopes: {has}."
        yield error("scope-missing", says, fix=fix, option=option)
    else:
        yield warning(
            "feed-missing",
            f"The token {facts.name!r} lacks the scope feed (its scopes: {has}):"
            " users who are disabled in Lalepass keep their sessions here.",
            fix=fix,
            option=option,
        )


def _versions(facts: CallerFacts, module: str, option: str) -> Finding:
    theirs = facts.service_version
    if _release(theirs) == _release(module):
        return ok("versions", f"Module {module}, service {theirs}.", option=option)
    return warning(
        "versions-differ",
        f"The module is {module} and the service {theirs}.",
        fix="Upgrade the older one: the service first, then the module.",
        option=option,
    )


def _release(version: str) -> list[str]:
    return version.split(".")[:2]


def _clocks(theirs: float, answer: Answer, target: Target, option: str) -> Iterator[Finding]:
    apart = abs(theirs - answer.asked_at)
    if apart <= _IN_STEP_SECONDS + answer.uncertain:
        yield ok("clocks", "The clocks are in step.", option=option)
        return
    # A proxy's clock, maybe: it tells whose is wrong.
    date = _date(answer.date)
    between = "" if date is None else f", and a Date header says {date:%Y-%m-%d %H:%M:%S} UTC"
    yield warning(
        "clocks-differ",
        f"The clock of {target.address} and that of this machine are {apart:.0f} s apart{between}.",
        fix="Let both machines set their clocks by NTP.",
        option=option,
    )


def _date(header: str) -> datetime | None:
    try:
        return parsedate_to_datetime(header).astimezone(UTC)
    except (ValueError, OverflowError):  # the last hours of the year 9999, elsewhere
        return None
