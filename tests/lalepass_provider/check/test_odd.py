"""Whatever stands in a configuration, the doctor has something to say, and no traceback."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lalepass_provider.check import doctor, report
from lalepass_provider.check.files import Configuration

ODD: list[Any] = [
    *(None, True, 0, -1, 1.5, float("nan"), 10**400),
    *("", "x", "/", "a\0b", "\ud800"),
    *([], {}, [None], [[]], [{}], {"a": 1}, {1: 2}),
]
_RATE = {"per_second": 1, "burst_count": 5}


def everything(folder: Path) -> dict[str, Any]:
    """A configuration with a value wherever the doctor looks."""
    token = folder / "token"
    token.write_text("lalepass_0123456789ab_" + "x" * 43)
    return {
        "server_name": "hs.example",
        "signing_key_path": str(folder / "key"),
        "modules": [
            {
                "module": "lalepass_provider.LalepassProvider",
                "config": {
                    "url": "http://127.0.0.1:1",
                    "token_path": str(token),
                    "timeout": 5,
                    "local_users": ["admin"],
                    "unavailable": "error",
                    "profile": {"emails": "never"},
                    "lifecycle": {"enabled": True, "state_path": str(folder / "state")},
                    "tls": {"ca_path": None},
                },
            }
        ],
        "password_providers": [{"module": "ldap_auth_provider.LdapAuthProvider", "config": {}}],
        "password_config": {"enabled": True, "localdb_enabled": False},
        "matrix_authentication_service": {"enabled": False},
        "experimental_features": {"msc3861": {"enabled": False}},
        "enable_registration": False,
        "rc_login": {"address": _RATE, "account": _RATE, "failed_attempts": _RATE},
        "listeners": [{"type": "http", "bind_addresses": ["::1"], "resources": [{"names": ["x"]}]}],
        "enable_metrics": True,
        "redis": {"enabled": True},
        "instance_map": {"main": {}, "worker": {}},
        "worker_app": "synapse.app.generic_worker",
        "worker_listeners": [{"type": "metrics"}],
    }


def places(value: object, *above: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where something stands."""
    if above:
        yield above
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, each in inside:
        yield from places(each, *above, name)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(odd)[:20])
def test_an_odd_value_anywhere_is_looked_at_to_the_end(
    tmp_path: Path, odd: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = everything(tmp_path)
    for *above, last in places(good):
        config = copy.deepcopy(good)
        inside: Any = config
        for step in above:
            inside = inside[step]
        inside[last] = odd
        reader = doctor.reader(config, named=None)
        found = list(doctor.look(Configuration(config, {}), reader=reader, online=False, now=0.0))

        assert all(line.isprintable() for line in report.text(found).splitlines())
