"""What the measurements are made of: targets, distances, budgets."""

import json
from pathlib import Path

import pytest

from bench import figures
from bench.bench_guesses import budget
from bench.bench_oracle import auc, compared
from bench.load import percentile
from tools import bench


@pytest.mark.parametrize(
    ("figure", "reached"),
    [
        (figures.Figure("a", 1.0), None),
        (figures.at_least("a", 0.95, 0.95), True),
        (figures.at_least("a", 0.94, 0.95), False),
        (figures.at_most("a", 3.0, 3.0), True),
        (figures.at_most("a", 3.1, 3.0), False),
        (figures.between("a", 0.5, 0.48, 0.52), True),
        (figures.between("a", 0.53, 0.48, 0.52), False),
        (figures.at_least("a", float("nan"), 0.95), False),
    ],
)
def test_a_target_is_reached_or_missed(figure: figures.Figure, *, reached: bool | None) -> None:
    assert figure.reached is reached
    assert ("MISSED" in str(figure)) == (reached is False)


def test_a_report_is_kept_and_the_end_names_what_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    monkeypatch.setattr(bench, "FIGURES", tmp_path)
    good, bad = figures.at_least("good", 1.0, 0.9), figures.at_most("bad", 7.0, 3.0, "ms")
    figures.report("some", "A title:", [good, bad])

    assert [each["name"] for each in json.loads((tmp_path / "some.json").read_text())] == [
        "good",
        "bad",
    ]
    assert capsys.readouterr().out.startswith("A title:\n  good")
    assert bench.missed(["some"]) == ["some: bad: 7.000 ms (<= 3)"]


def test_a_measurement_that_is_not_there_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(["nonsense"])

    assert ended.value.code == 2
    assert "there is no nonsense; there are accounts, checks" in capsys.readouterr().err


def test_the_area_under_the_curve_is_how_often_one_is_greater() -> None:
    assert auc([2, 3], [0, 1]) == 1
    assert auc([0, 1], [2, 3]) == 0
    assert auc([1, 1], [1, 1]) == 0.5
    assert auc([1, 3], [2, 2]) == 0.5


def test_sorts_are_compared_with_the_first() -> None:
    told = compared("idle", {"nobody": [10.0, 10.0], "known": [11.0, 11.0]})

    assert [figure.value for figure in told] == [10.0, pytest.approx(10.0), 1.0]
    assert [figure.reached for figure in told] == [None, False, False]


@pytest.mark.parametrize(
    ("seconds", "guesses"), [(0, 3), (0.9, 3), (1, 4), (3.9, 4), (4, 5), (9, 6), (19, 7)]
)
def test_the_budget_is_three_and_then_one_after_each_wait(seconds: float, guesses: int) -> None:
    assert budget(seconds) == guesses


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([1, 2, 3], 0.99) == 3
    assert percentile([], 0.99) == 0
