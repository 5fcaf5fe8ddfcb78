"""Looks at all parts at once, from one of them, and says within a few seconds what is so."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from lalepass_service.topology import postgres, s3, valkey, web
from lalepass_service.topology.finding import Amiss, Finding, fail, note, ok, warn
from lalepass_service.topology.judge import together
from lalepass_service.topology.parts import S3, Address, Listening, Postgres, Proxy, Valkey
from lalepass_service.topology.plan import Login, Plan, Route
from lalepass_service.topology.seen import Seen
from lalepass_service.topology.wires import connect

ALL_SECONDS: Final = 8.0
"""For everything: what has not ended by then is left behind, and said to give no answer."""

_CLOSED_SECONDS: Final = 1.5
"""For a connection that is not to come about: what is filtered away answers never."""

_NOBODY: Final = Login()


@dataclass
class _Question:
    """One look, on a thread of its own: a name that nobody resolves holds up nobody else."""

    part: str
    does: Callable[[], Seen]
    seen: Seen | None = None
    amiss: Amiss | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            self.seen = self.does()
        except Amiss as error:
            self.amiss = error
        except Exception as error:  # noqa: BLE001 - whatever an odd answer leads to is a finding
            self.amiss = Amiss(
                f"its answer can't be understood ({type(error).__name__})",
                fix="look what else listens there",
            )
        finally:
            self.over.set()


def from_part(
    plan: Plan, name: str, *, also: Mapping[str, Sequence[Address]], seconds: float = ALL_SECONDS
) -> list[Finding]:
    """Look as the part of this name, on whose machine this runs.

    Args:
        plan: what is to be so.
        name: one of its parts.
        also: further addresses of parts, which have to be as closed as the one in the plan.
        seconds: after which it ends, whatever hangs.
    """
    wanted = plan.reached_from(name)
    asked = [_asked(to, plan.listening[to], login) for to, login in wanted.items()]
    routes = _routes(plan, wanted)
    closed = [
        _Question(other, partial(_closed, other, place))
        for other, part in plan.closed_to(name).items()
        # Each by itself: a name that hangs holds up no address.
        for place in (part.place, *also.get(other, ()))
    ]
    _run([*asked, *(question for question, _, _ in routes), *closed], seconds)
    seen = [each.seen for each in asked if each.seen is not None]
    return [
        *_told(asked),
        *together(plan.listening, seen),
        *_followed(routes),
        *_doors(closed, plan, name),
    ]


def from_here(plan: Plan, *, seconds: float = ALL_SECONDS) -> list[Finding]:
    """Look at everything, with whatever secrets can be read here. What is out of reach is said."""
    logins = {name: _readable(found) for name, found in plan.any_login().items()}
    asked = [_asked(name, part, logins[name]) for name, part in plan.listening.items()]
    _run(asked, seconds)
    seen = [each.seen for each in asked if each.seen is not None]
    routes = _routes(plan, {each.part: logins[each.part] for each in seen})
    _run([question for question, _, _ in routes], seconds)
    return [
        *map(_only_here, _told(asked)),
        *together(plan.listening, seen),
        *_followed(routes),
    ]


def _asked(name: str, part: Listening, login: Login) -> _Question:
    return _Question(name, partial(_look, name, part, login))


def _look(name: str, part: Listening, login: Login) -> Seen:
    match part:
        case Postgres():
            return postgres.look(name, part, login)
        case Valkey():
            return valkey.look(name, part, login)
        case S3():
            return s3.look(name, part, login)
        case _:
            return web.look(name, part, login)


def _run(questions: Iterable[_Question], seconds: float) -> None:
    """Ask all of them at once, and wait until all have ended, or the time is over."""
    begun = list(questions)
    deadline = time.monotonic() + seconds
    for question in begun:
        # A daemon: the end of the program does not wait for it.
        threading.Thread(target=question.run, daemon=True).start()
    for question in begun:
        question.over.wait(max(0.0, deadline - time.monotonic()))


def _told(asked: Iterable[_Question]) -> Iterator[Finding]:
    for question in asked:
        if question.seen is not None:
            yield from question.seen.findings
        else:
            amiss = question.amiss or Amiss(
                "it gives no whole answer in time", fix="look what it does: its log, its load"
            )
            yield fail(question.part, amiss.about, amiss.says, fix=amiss.fix)


def _only_here(finding: Finding) -> Finding:
    """Return a finding of somebody who has no part of their own, and need not reach anything."""
    if finding.severity == "fail" and finding.about in {"reach", "secret"}:
        return warn(
            finding.part,
            finding.about,
            f"not seen from here: {finding.says}",
            fix="run this with --from on the machines that have to reach it",
        )
    return finding


def _readable(logins: Sequence[Login]) -> Login:
    """Return the first of which all files can be read, or nobody."""
    for login in logins:
        shown = login.model_dump(exclude_none=True)
        with suppress(OSError):
            for option, path in shown.items():
                if option.endswith("_path"):
                    open(path, "rb").close()  # noqa: PTH123 - only whether that can be done
            return login
    return _NOBODY


_Followed = tuple[_Question, Route, frozenset[str]]


def _routes(plan: Plan, logins: Mapping[str, Login]) -> list[_Followed]:
    found: list[_Followed] = []
    for route, wanted in plan.routes:
        proxy = plan.parts[route.through]
        if route.through in logins and isinstance(proxy, Proxy):
            follow = partial(web.follow, route.through, proxy, logins[route.through], route)
            found.append((_Question(route.through, follow), route, wanted))
    return found


def _followed(routes: Sequence[_Followed]) -> Iterator[Finding]:
    """Tell of each path where it leads, and in one line of those of which that is not said."""
    silent = Counter(q.part for q, _, _ in routes if q.seen is not None and not q.seen.answered_by)
    for each in routes:
        yield from _route(*each)
    for name, number in silent.items():
        yield warn(
            name,
            "route",
            f"for {number} of the paths it is not said who answered",
            fix="let the proxy say so, in the header that says_who names: see docs/topology.md",
        )


def _route(question: _Question, route: Route, wanted: frozenset[str]) -> Iterator[Finding]:
    if question.seen is None:
        yield from _told([question])
        return
    who = question.seen.answered_by
    what = route.path if route.method == "GET" else f"{route.method} {route.path}"
    if who is None:
        return
    if who not in wanted:
        yield fail(
            question.part,
            "route",
            f"{what} leads to {who}, and not to {' or '.join(sorted(wanted))}",
            fix="compare the rules of the proxy with Synapse's page on workers",
        )
    else:
        yield ok(question.part, "route", f"{what} leads to {who}")


def _open_door(plan: Plan, name: str, part: str, says: str) -> Finding:
    """Tell of one that nobody has said to be open: how bad it is depends on why it is."""
    shared = ", ".join(plan.shared(name, part))
    why = plan.meeting(name, part)
    if shared and why:
        return warn(
            part,
            "closed",
            f"{says}, which nobody needs: they share {shared}, since {why}",
            fix="close the firewall between them, or say in [[open]] why that can't be done",
        )
    because = f": they share {shared}, and neither has to reach the other" if shared else ""
    return fail(
        part,
        "closed",
        f"{says}, and must not be{because}",
        fix="put them on networks that do not meet, or close the firewall between them",
    )


def _closed(name: str, place: Address) -> Seen:
    """Find out that nobody answers there.

    Raises:
        Amiss: somebody does.
    """
    with suppress(OSError):
        connect(place, seconds=_CLOSED_SECONDS).close()
        raise Amiss(f"can be reached at {place}", fix="", about="closed")
    return Seen(part=name, findings=())


def _doors(closed: Sequence[_Question], plan: Plan, name: str) -> Iterator[Finding]:
    """Tell of the doors that are open, and in one line of those that are not.

    What has not ended in time is neither: somebody may have been about to answer.
    """
    opened = {each.part: each.amiss for each in closed if each.amiss is not None}
    waiting = {each.part for each in closed if each.seen is None} - opened.keys()
    shut = dict.fromkeys(each.part for each in closed)
    known: dict[str, list[str]] = {}
    for part, amiss in opened.items():
        if amiss.about != "closed":
            yield fail(part, amiss.about, amiss.says, fix=amiss.fix)
        elif because := plan.known_open(name, part):
            known.setdefault(because, []).append(part)
        else:
            yield _open_door(plan, name, part, amiss.says)
    for because, parts in known.items():
        yield note("open", "open", f"{', '.join(parts)}, which nobody needs: {because}")
    for part in sorted(waiting):
        yield fail(
            part,
            "closed",
            "whether it can be reached could not be found out in time",
            fix="look whether its name can be resolved here, and run this again",
        )
    if kept := [part for part in shut if part not in opened and part not in waiting]:
        yield ok("closed", "closed", f"out of reach, as they should be: {', '.join(kept)}")
