"""What else in `homeserver.yaml` decides about passwords."""

from typing import Any

import pytest
from synapse.config.ratelimiting import RatelimitSettings

from lalepass_provider.check import passwords
from lalepass_provider.check.finding import Severity
from tests.lalepass_provider.check.found import names, only

CLOSED: dict[str, Any] = {"password_config": {"localdb_enabled": False}}


def look(*, local_users: bool = False, try_local: bool = False, **config: Any) -> list[Any]:
    return list(passwords.look(config, local_users=local_users, try_local=try_local))


def test_what_the_readme_shows_is_right() -> None:
    assert names(look(**CLOSED)) == []


@pytest.mark.parametrize(
    "config",
    [{}, {"password_config": None}, {"password_config": {"localdb_enabled": True}}],
    ids=str,
)
def test_two_passwords_are_a_hole(config: dict[str, Any]) -> None:
    """S11, lesson 7: a password set in a client goes on working after the account is disabled."""
    found = only(look(**config), "two-passwords")
    with_policy = only(look(**config, local_users=True), "two-passwords")

    assert (found.severity, with_policy.severity) == (Severity.ERROR, Severity.WARNING)
    assert found.option == "password_config.localdb_enabled"


def test_break_glass_accounts_need_a_database_of_passwords() -> None:
    assert names(look(**CLOSED, local_users=True)) == ["local-users-locked-out"]


def test_an_outage_needs_a_database_of_passwords_if_it_is_to_be_tried() -> None:
    found = only(look(**CLOSED, try_local=True), "try-local-in-vain")

    assert found.severity is Severity.WARNING
    assert "wrong" in found.says
    assert found.option == "password_config.localdb_enabled"
    assert names(look(**CLOSED, try_local=True)) == ["try-local-in-vain"]
    assert "try-local-in-vain" not in names(look(try_local=True))


def test_both_ways_of_leaving_people_to_a_database_that_is_off_are_told() -> None:
    found = look(**CLOSED, local_users=True, try_local=True)

    assert names(found) == ["local-users-locked-out", "try-local-in-vain"]


def test_that_there_is_one_password_is_said_only_where_nobody_needs_another() -> None:
    assert only(look(**CLOSED), "one-password").severity is Severity.OK
    for needs in ({"local_users": True}, {"try_local": True}):
        assert "one-password" not in {finding.name for finding in look(**CLOSED, **needs)}


@pytest.mark.parametrize("enabled", [False, "only_for_reauth", None, 0])
def test_without_passwords_nobody_logs_in(enabled: object) -> None:
    config: dict[str, Any] = {"password_config": {"enabled": enabled, "localdb_enabled": False}}

    assert names(look(**config)) == ["passwords-off"]


@pytest.mark.parametrize(
    ("config", "option"),
    [
        ({"matrix_authentication_service": {"enabled": True}}, "matrix_authentication_service"),
        (
            {"experimental_features": {"msc3861": {"enabled": True}}},
            "experimental_features.msc3861",
        ),
    ],
    ids=["today", "earlier"],
)
def test_delegation_excludes_password_modules(config: dict[str, Any], option: str) -> None:
    """S13."""
    assert only(look(**CLOSED, **config), "delegated").option == f"{option}.enabled"


@pytest.mark.parametrize("value", [None, {}, {"enabled": False}, "yes", []], ids=str)
def test_no_delegation_is_none(value: object) -> None:
    assert names(look(**CLOSED, matrix_authentication_service=value)) == []


def test_open_registration_is_a_danger() -> None:
    assert names(look(**CLOSED, enable_registration=True)) == ["registration"]


@pytest.mark.parametrize(
    ("which", "rate", "expected"),
    [
        ("failed_attempts", {}, []),
        ("failed_attempts", {"per_second": 0.17, "burst_count": 3}, []),
        ("failed_attempts", {"per_second": 1000, "burst_count": 1000}, ["rate-wide"]),
        ("account", {"per_second": 5}, ["rate-wide"]),
        ("address", {"burst_count": 51}, ["rate-wide"]),
        ("address", {"burst_count": 2}, ["rate-tight"]),
        ("account", {"burst_count": 2}, []),
        ("account", {"per_second": 0}, ["rate-closed"]),
        ("account", {"burst_count": 0}, ["rate-closed"]),
        ("account", {"per_second": -1}, ["rate-invalid"]),
        ("account", {"per_second": "fast"}, ["rate-invalid"]),
        ("account", {"per_second": float("nan")}, ["rate-invalid"]),
        ("account", {"burst_count": None}, ["rate-invalid"]),
        ("account", {"burst_count": True}, ["rate-invalid"]),
        ("account", "unlimited", []),
    ],
    ids=str,
)
def test_the_limits_of_the_homeserver_are_sane(which: str, rate: Any, expected: list[str]) -> None:
    found = look(**CLOSED, rc_login={which: rate})

    assert names(found) == expected
    assert all(f.option == f"rc_login.{which}" for f in found if f.name in expected)


def test_the_limits_that_are_not_said_are_those_of_synapse() -> None:
    """`synapse/config/ratelimiting.py` has them; these two take the defaults from their caller."""
    default = RatelimitSettings.parse({}, "rc_login.failed_attempts", {})
    (said,) = [f.says for f in look(**CLOSED) if f.option == "rc_login.failed_attempts"]

    assert said == f"{default.burst_count} tries at once, then {default.per_second:g} a second."
