"""tools.licences: a licence that nobody allowed is found."""

import pytest

from tools.licences import Exemption, Policy, examine
from tools.locks import DEV, PARTS, ROOT, pins

POLICY = Policy(
    allowed=frozenset({"MIT", "Apache-2.0"}),
    spellings={"MIT License": "MIT"},
    packages={
        "certifi": Exemption(licence="MPL-2.0", locks=frozenset({"dev"}), reason="data only")
    },
)


@pytest.mark.parametrize(
    ("stated", "allowed"),
    [
        ("MIT", True),
        ("MIT License", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("Apache-2.0 AND MIT", True),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("MIT License; GNU General Public License v3 (GPLv3)", False),
        ("MIT AND (Apache-2.0 OR GPL-3.0-only)", False),
        ("UNKNOWN", False),
        ("", False),
    ],
)
def test_expressions(stated: str, allowed: bool) -> None:  # noqa: FBT001 - the expectation
    assert POLICY.allows(stated) is allowed


def test_an_unlisted_licence_is_found() -> None:
    locks = {"service": {"left-pad": "1"}, "dev": {"certifi": "1"}}
    audit = examine(POLICY, locks, {"left-pad": "SSPL-1.0", "certifi": "MPL-2.0"})
    assert audit.complaints == [
        "service.txt: left-pad is under SSPL-1.0, which licences.toml does not allow"
    ]


def test_an_exemption_holds_for_its_locks_only() -> None:
    locks = {"service": {"certifi": "1"}, "dev": {"certifi": "1"}}
    audit = examine(POLICY, locks, {"certifi": "MPL-2.0"})
    assert audit.complaints == ["service.txt: the exemption for certifi is not for this lock"]


def test_an_exemption_ends_when_the_licence_changes() -> None:
    audit = examine(POLICY, {"dev": {"certifi": "2"}}, {"certifi": "AGPL-3.0-only"})
    assert audit.complaints == ["certifi is under AGPL-3.0-only; its exemption is for MPL-2.0"]


def test_an_exemption_that_nobody_needs_is_found() -> None:
    audit = examine(POLICY, {"dev": {}}, {})
    assert audit.complaints == ["licences.toml has an exemption for certifi, which is in no lock"]


def test_what_is_not_installed_here_is_named() -> None:
    audit = examine(POLICY, {"dev": {"certifi": "1", "colorama": "1"}}, {"certifi": "MPL-2.0"})
    assert audit.not_installed == ["colorama"]


def test_the_committed_policy_can_be_read_and_names_locks_that_exist() -> None:
    policy = Policy.read(ROOT / "requirements" / "licences.toml")
    names = {lock.name for lock in (DEV, *PARTS)}
    assert all(exemption.locks <= names for exemption in policy.packages.values())
    assert all(exemption.reason for exemption in policy.packages.values())


def test_what_users_install_has_no_synapse_in_it() -> None:
    for name in ("provider", "service"):
        assert "matrix-synapse" not in pins((ROOT / f"requirements/{name}.txt").read_text())
