"""What the module finds out about its surroundings when the homeserver starts.

Whether this Synapse passes honest errors on, and what answers at the address of the service.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from synapse.module_api.errors import Codes
from twisted.internet import defer
from twisted.python.failure import Failure

from lalepass_provider.client import LalepassClient
from lalepass_provider.errors import CallerRejected, ContractBroken, NoAnswer
from lalepass_provider.honest import HonestError

logger = logging.getLogger(__name__)

T = TypeVar("T")
Checker = Callable[..., Awaitable[T | None]]

_PASSWORD: Final = "m.login.password"  # noqa: S105 - the name of a login type
_CHECK: Final = "check"
"""The scope without which the service answers no check."""


def telling() -> Callable[[Checker[T]], Checker[T]]:
    """Return what to wrap an auth checker with, so that it tells as much as this Synapse lets it.

    Where honest errors come through, that is nothing. Where they do not, whoever raises one would
    get whatever this Synapse makes of a cancellation; a plain refusal is the best that is left.
    """
    if honest_errors_pass():
        return lambda checker: checker
    logger.error(
        "This Synapse does not pass on why a password was not checked: while Lalepass gives no"
        " answer, people will be told that their password is wrong. Please report this, with the"
        " version of Synapse."
    )
    return refusing


def honest_errors_pass() -> bool:
    """Run Synapse's own code with checkers that raise, and see what comes out.

    On an object of its own (`handlers/auth.py`, PasswordAuthProvider), which knows these checkers
    only: no other module is asked, nothing is counted as a failed login, and nothing is sent.
    """
    try:
        # Here, since it is no documented part of Synapse: without it, the module still starts.
        from synapse.handlers.auth import PasswordAuthProvider  # noqa: PLC0415
    except ImportError:
        return False
    probe = HonestError(503, "This is a test of Lalepass.", Codes.UNKNOWN)

    async def checker(*_: object) -> None:
        raise probe

    provider = PasswordAuthProvider()
    provider.register_password_auth_provider_callbacks(
        auth_checkers={(_PASSWORD, ("password",)): checker}, check_3pid_auth=checker
    )
    # One after the other: a coroutine that nobody runs is a warning.
    return _raises(provider.check_auth("nobody", _PASSWORD, {"password": ""}), probe) and _raises(
        provider.check_3pid_auth("email", "nobody@invalid", ""), probe
    )


def _raises(coroutine: Coroutine[Any, Any, object], expected: HonestError) -> bool:
    # The checkers wait for nothing, so there is an outcome at once; a Synapse that makes it wait
    # is one that we do not know.
    outcomes: list[object] = []
    running = defer.Deferred.fromCoroutine(coroutine)
    running.addBoth(outcomes.append)
    if not outcomes:
        running.cancel()
        return False
    (outcome,) = outcomes
    return isinstance(outcome, Failure) and outcome.value is expected


def refusing(checker: Checker[T]) -> Checker[T]:
    """Return a checker that refuses where the given one would tell why it can't answer."""

    async def refuse(*args: Any) -> T | None:  # noqa: ANN401 - whatever Synapse hands over
        try:
            return await checker(*args)
        except HonestError as exc:
            logger.warning("Refused, since this Synapse can't pass on: %d %s", exc.code, exc.msg)
            return None

    return refuse


async def say_what_it_is_connected_to(client: LalepassClient, where: str) -> None:
    """Ask the service once, and write down what it says. Raises nothing.

    A wrong token shows up here, and not at somebody's login.
    """
    try:
        facts = await client.caller()
    except CallerRejected as exc:
        logger.error(  # noqa: TRY400 - a traceback tells an operator nothing here
            "Nobody can log in: the Lalepass service at %s does not accept the token of this"
            " homeserver (%s). `lalepass token create` makes a new one.",
            where,
            exc,
        )
    except ContractBroken as exc:
        logger.error(  # noqa: TRY400 - as above
            "What answers at %s is no Lalepass service that this module understands: %s", where, exc
        )
    except NoAnswer as exc:
        logger.warning(
            "The Lalepass service at %s can't be reached just now, so nobody can log in until it"
            " can: %s",
            where,
            exc,
        )
    else:
        scopes = ", ".join(facts.scopes) or "none"
        level = logging.INFO if _CHECK in facts.scopes else logging.ERROR
        lacking = "" if _CHECK in facts.scopes else "; nobody can log in without the scope check"
        logger.log(
            level,
            "Connected to the Lalepass service at %s, version %s, as %r with the scopes %s%s",
            where,
            facts.service_version,
            facts.name,
            scopes,
            lacking,
        )
