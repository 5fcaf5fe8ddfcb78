"""The other options of Synapse that decide about passwords."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lalepass_provider.check.finding import Finding, error, ok, section, warning

# `synapse/config/ratelimiting.py`, for what is not said
_RATES: Final[Mapping[str, tuple[float, int]]] = {
    "address": (0.003, 5),
    "account": (0.003, 5),
    "failed_attempts": (0.17, 3),
}
_MANY_GUESSES: Final = 50
_FAST_GUESSES: Final = 1.0
_TIGHT_BURST: Final = 3
_LOCAL: Final = "password_config.localdb_enabled"


def look(config: Mapping[str, Any], *, local_users: bool, try_local: bool) -> Iterator[Finding]:
    """Look at them.

    Args:
        config: all of the configuration.
        local_users: whether the module leaves some accounts to Synapse's own database.
        try_local: whether it leaves all of them to it during an outage.
    """
    yield from _delegated(config)
    yield from _enabled(config)
    if section(config, "password_config").get("localdb_enabled", True):
        yield _two_passwords(local_users=local_users)
    else:
        yield from _one_password(local_users=local_users, try_local=try_local)
    yield from _registration(config)
    for which in _RATES:
        yield from _rate(config, which)


def _delegated(config: Mapping[str, Any]) -> Iterator[Finding]:
    for path in (
        ("matrix_authentication_service",),
        ("experimental_features", "msc3861"),
    ):
        if section(config, *path).get("enabled"):
            yield error(
                "delegated",
                "This Synapse is delegated to the Matrix Authentication Service, which excludes"
                " every password module: Synapse will not start.",
                fix="Use one of the two. Lalepass can't be asked by MAS.",
                option=".".join((*path, "enabled")),
            )


def _enabled(config: Mapping[str, Any]) -> Iterator[Finding]:
    option = "password_config.enabled"
    enabled = section(config, "password_config").get("enabled", True)
    if enabled == "only_for_reauth" or not enabled:
        yield error(
            "passwords-off",
            "Synapse accepts no passwords at login, so nobody can log in with Lalepass.",
            fix="Set it to true.",
            option=option,
        )
    else:
        yield ok("passwords-on", "Synapse accepts passwords at login.", option=option)


def _one_password(*, local_users: bool, try_local: bool) -> Iterator[Finding]:
    if local_users:
        yield error(
            "local-users-locked-out",
            "local_users are never sent to Lalepass, and Synapse's own database is off: they"
            " can't log in.",
            fix="Set localdb_enabled to true, or remove local_users.",
            option=_LOCAL,
        )
    if try_local:
        # S3: what no module answers is a wrong password to Synapse.
        yield warning(
            "try-local-in-vain",
            "Synapse's own database is off, so that unavailable: try_local has nothing to try:"
            " while Lalepass is away people are told that their password is wrong, and each such"
            " login counts as a failed one.",
            fix="Set unavailable to error, which tells the truth; or localdb_enabled to true.",
            option=_LOCAL,
        )
    if not local_users and not try_local:
        yield ok("one-password", "Lalepass's password is the only one.", option=_LOCAL)


def _two_passwords(*, local_users: bool) -> Finding:
    """The hole: who changes the password in a client then has one in Synapse as well."""
    says = (
        "People can set a second password in Synapse, which goes on working after they are"
        " disabled in Lalepass"
    )
    if local_users:
        return warning(
            "two-passwords",
            f"{says}; local_users need that database.",
            fix="Know the price, or use neither. A disabled account has to be deactivated in"
            " Synapse, too.",
            option=_LOCAL,
        )
    return error(
        "two-passwords",
        f"{says}.",
        fix="Set it to false; or name those who need Synapse's own database in local_users.",
        option=_LOCAL,
    )


def _registration(config: Mapping[str, Any]) -> Iterator[Finding]:
    if config.get("enable_registration"):
        yield warning(
            "registration",
            "Strangers can register accounts here that Lalepass knows nothing of, also under the"
            " name of somebody whom you will add.",
            fix="Set it to false. Lalepass's users need no registration.",
            option="enable_registration",
        )


def _rate(config: Mapping[str, Any], which: str) -> Iterator[Finding]:
    option = f"rc_login.{which}"
    given = section(config, "rc_login", which)
    per_second, burst = (
        given.get(name, default)
        for name, default in zip(("per_second", "burst_count"), _RATES[which], strict=True)
    )
    if not (_is_number(per_second) and _is_number(burst)) or per_second < 0 or burst < 0:
        yield error(
            "rate-invalid",
            "per_second and burst_count have to be numbers that are not negative.",
            fix=f"Leave {option} out, or write numbers.",
            option=option,
        )
    elif per_second == 0 or burst < 1:
        yield error(
            "rate-closed",
            f"After {int(burst)} logins this limit never opens again until Synapse is restarted;"
            " newer releases of Synapse fail at the first.",
            fix="Set per_second above 0 and burst_count to 1 or more.",
            option=option,
        )
    elif burst > _MANY_GUESSES or per_second > _FAST_GUESSES:
        yield warning(
            "rate-wide",
            f"{int(burst)} tries at once and {per_second:g} a second are as good as no limit; only"
            " Lalepass's own holds up who guesses.",
            fix=f"A burst of 5 to 20 suits people; not above {_MANY_GUESSES}.",
            option=option,
        )
    elif which == "address" and burst < _TIGHT_BURST:
        yield warning(
            "rate-tight",
            f"{int(burst)} logins from one address at once are few where people share one.",
            fix="A burst of 5 to 20 suits people.",
            option=option,
        )
    else:
        yield ok(
            "rate",
            f"{int(burst)} tries at once, then {per_second:g} a second.",
            option=option,
        )


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # YAML knows whole numbers of any length
        return False
