"""What a person and a program get to read."""

import json

import pytest

from lalepass_provider.check import report
from lalepass_provider.check.finding import error, ok, warning

FINDINGS = [
    error("e", "An error." + " And more of it." * 8, fix="Mend it.", option="a.b"),
    ok("o", "All is well."),
    warning("w", f"/{'x' * 200} is long.", fix="Shorten it."),
]


@pytest.mark.parametrize(("columns", "most"), [("200", 80), ("80", 80), ("60", 60), ("10", 40)])
def test_lines_fit_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: str, most: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = report.text(FINDINGS).splitlines()

    assert max(map(len, lines)) <= most
    assert "".join(lines).count("x") == 200


def test_the_worst_is_at_the_end() -> None:
    said = report.text(FINDINGS)

    assert said.index("ok       All is well.") < said.index("warning") < said.index("ERROR    a.b")
    assert said.endswith("\n         -> Mend it.\n\n1 error, 1 warning, 1 ok")


def test_nothing_that_a_terminal_obeys_gets_through() -> None:
    said = report.text([ok("o", "named \x1b[2J\u202e\r by somebody")])

    assert "\\x1b[2J\\u202e\\r" in said


def test_a_program_gets_everything() -> None:
    document = json.loads(json.dumps(report.document(FINDINGS)))

    assert (document["errors"], document["warnings"], len(document["findings"])) == (1, 1, 3)
    assert document["findings"][0] == {
        "name": "e",
        "severity": "error",
        "option": "a.b",
        "says": FINDINGS[0].says,
        "fix": "Mend it.",
    }
