"""tools.vulnerabilities: what was not looked up never passes for harmless."""

import sys

import pytest

from tools import vulnerabilities
from tools.locks import NOT_CHECKED
from tools.vulnerabilities import Advisory, Package, Report, verdict

GOOD = Package(name="attrs", version="1")
BAD = Package(name="leaky", version="1", vulns=[Advisory(id="PYSEC-1", fix_versions=["2"])])
UNKNOWN = Package(name="ghost", skip_reason="Dependency not found on PyPI")


def test_packages_without_an_advisory_pass() -> None:
    assert verdict(Report(dependencies=[GOOD])) == (0, ["1 packages without a known vulnerability"])


def test_an_advisory_fails() -> None:
    code, lines = verdict(Report(dependencies=[GOOD, BAD, UNKNOWN]))
    assert code == 1
    assert lines == ["leaky 1: PYSEC-1, fixed in 2"]


def test_an_advisory_that_was_accepted_with_a_reason_passes() -> None:
    accepted = {"PYSEC-1": "not on our path"}
    assert verdict(Report(dependencies=[BAD]), accepted=accepted)[0] == 0


def test_a_database_that_knows_nothing_is_said() -> None:
    code, (line,) = verdict(Report(dependencies=[UNKNOWN]))
    assert code == NOT_CHECKED
    assert "nothing was audited" in line


def test_packages_that_were_not_found_are_counted() -> None:
    code, (line,) = verdict(Report(dependencies=[GOOD, UNKNOWN]))
    assert code == NOT_CHECKED
    assert "1 of 2 were not found" in line


def test_a_database_that_can_not_be_reached_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert vulnerabilities.main((sys.executable, "-c", "exit('ConnectionError')")) == NOT_CHECKED
    assert "can't be reached" in capsys.readouterr().out
