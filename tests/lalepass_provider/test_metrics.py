"""The metrics of the module: no secret in them, and never in the way."""

import importlib.util
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from lalepass_provider import metrics
from lalepass_provider.metrics import Metrics


def test_they_are_in_the_registry_that_synapse_shows() -> None:
    metrics.shared().check_begins()
    metrics.shared().check_ends(metrics.ACCEPTED, seconds=0.1)

    shown = generate_latest(REGISTRY).decode()
    assert 'lalepass_provider_checks_total{kind="",outcome="accepted"}' in shown
    assert "lalepass_provider_check_seconds_bucket" in shown


def test_there_is_one_set_for_a_process() -> None:
    assert metrics.shared() is metrics.shared()


def test_a_second_copy_of_the_module_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Such as one under another name on the path, for `password_providers:`."""
    metrics.shared()
    assert metrics.__file__
    spec = importlib.util.spec_from_file_location("another_copy", metrics.__file__)
    assert spec is not None
    assert spec.loader is not None
    copy: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)

    copy.shared().check_begins()

    assert "Another copy" in caplog.text


def test_the_health_of_an_endpoint_is_told() -> None:
    registry = CollectorRegistry()
    told = Metrics(registry)
    told.endpoint_is("auth-1:8220", well=True)
    told.endpoint_is("auth-2:8220", well=False)
    told.endpoint_failed("auth-2:8220", "NotConnected")

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"lalepass_provider_{name}", labels)

    assert value("endpoint_up", endpoint="auth-1:8220") == 1
    assert value("endpoint_up", endpoint="auth-2:8220") == 0
    assert value("endpoint_failures_total", endpoint="auth-2:8220", kind="NotConnected") == 1
