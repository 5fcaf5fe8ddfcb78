"""tools.synapse: what the homeserver of the demo and of the tests is told."""

import stat
from pathlib import Path

import pytest
import yaml

from tools.synapse import SynapseConfig


@pytest.fixture
def config(tmp_path: Path) -> SynapseConfig:
    return SynapseConfig(
        directory=tmp_path / "synapse",
        port=18008,
        service_url="http://127.0.0.1:18220",
        token_path=tmp_path / "token",
    )


def test_it_listens_on_loopback_and_trusts_nobody(config: SynapseConfig) -> None:
    written = yaml.safe_load(config.write().read_text())
    (listener,) = written["listeners"]
    assert listener["bind_addresses"] == ["127.0.0.1"]
    assert listener["resources"] == [{"names": ["client"], "compress": False}]
    assert written["trusted_key_servers"] == []
    assert written["federation_domain_whitelist"] == []
    assert written["enable_registration"] is False
    assert written["report_stats"] is False


def test_passwords_are_known_to_the_service_only(config: SynapseConfig, tmp_path: Path) -> None:
    written = yaml.safe_load(config.write().read_text())
    assert written["password_config"]["localdb_enabled"] is False
    assert written["modules"] == [
        {
            "module": "lalepass_provider.LalepassProvider",
            "config": {"url": "http://127.0.0.1:18220", "token_path": str(tmp_path / "token")},
        }
    ]


def test_keys_are_kept_when_it_is_written_again(config: SynapseConfig) -> None:
    first = config.write().read_text()
    key = (config.directory / "signing.key").read_text()
    assert config.write().read_text() == first
    assert (config.directory / "signing.key").read_text() == key


def test_what_holds_secrets_is_for_the_owner_only(config: SynapseConfig) -> None:
    config.write()
    for name in ("homeserver.yaml", "signing.key", "macaroon-secret", "form-secret"):
        assert stat.S_IMODE((config.directory / name).stat().st_mode) == 0o600


def test_extra_keys_take_the_place_of_ours(tmp_path: Path) -> None:
    config = SynapseConfig(
        directory=tmp_path,
        port=1,
        service_url="http://127.0.0.1:2",
        token_path=tmp_path / "token",
        module_options={"timeout": 1},
        extra={"enable_metrics": True, "rc_login": {}},
    )
    written = yaml.safe_load(config.write().read_text())
    assert written["enable_metrics"] is True
    assert written["rc_login"] == {}
    assert written["modules"][0]["config"]["timeout"] == 1
