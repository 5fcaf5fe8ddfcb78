"""What CI demands of a run of the tests, and what every run says at its end."""

import os
from collections import Counter
from collections.abc import Generator, Iterable
from typing import Final

import pytest
from hypothesis import Phase, settings

pytest_plugins = ("tests.servers.fixtures",)

# Everything in CI has to run: there, a test that was left out is a test that was lost unseen.
_REQUIRED: Final = os.environ.get("LALEPASS_REQUIRE", "")
_NOTHING_MAY_BE_LEFT_OUT: Final = _REQUIRED == "all"

# For `make mutants`, where a test is to fail and nobody reads how: no search for the shortest
# example, and no memory of the last one.
settings.register_profile(
    "mutants", phases=[Phase.explicit, Phase.generate], derandomize=True, database=None
)


def pytest_configure() -> None:
    if _REQUIRED not in {"", "all"}:
        # Ignored in silence, a misspelt demand would be none.
        raise pytest.UsageError(f"LALEPASS_REQUIRE should be all, or not set: it is {_REQUIRED!r}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _demand(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _demand(report)
    return report


def _demand(report: pytest.TestReport | pytest.CollectReport) -> None:
    if _NOTHING_MAY_BE_LEFT_OUT and _is_left_out(report):
        report.outcome = "failed"
        report.longrepr = f"left out, and LALEPASS_REQUIRE=all forbids that: {_reason(report)}"


# The outermost wrapper, so that this comes after pytest's own summary, before the closing line.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    yield
    reports = [
        report
        for category in terminalreporter.stats.values()
        for report in category
        if isinstance(report, pytest.TestReport | pytest.CollectReport)
    ]
    terminalreporter.section("parts")
    for part, seconds in sorted(_seconds_by_part(reports).items()):
        terminalreporter.write_line(f"{part:<24} {seconds:7.1f} s")
    left_out = Counter(_reason(report) for report in reports if _is_left_out(report))
    terminalreporter.section("left out")
    for reason, count in left_out.most_common():
        terminalreporter.write_line(f"{count} x {reason}")
    if not left_out:
        terminalreporter.write_line("nothing")


def _seconds_by_part(
    reports: Iterable[pytest.TestReport | pytest.CollectReport],
) -> dict[str, float]:
    """Return how long each folder of tests took, with what its first test had to set up."""
    seconds: dict[str, float] = {}
    for report in reports:
        if isinstance(report, pytest.TestReport):
            part = "/".join(report.nodeid.split("::")[0].split("/")[:2])
            seconds[part] = seconds.get(part, 0.0) + report.duration
    return seconds


def _is_left_out(report: pytest.TestReport | pytest.CollectReport) -> bool:
    # A test that fails as expected is reported as skipped, too. It did run.
    return report.skipped and not hasattr(report, "wasxfail")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    # Of a skip, pytest keeps the file, the line and the reason.
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
