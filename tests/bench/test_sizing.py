"""The model of sizes: what follows from what, what is refused, and that the page has it."""

import dataclasses
import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import sizing
from bench.sizing_model import MOST_ACCOUNTS, Assumptions, Refused, Sizing, parts, size
from bench.sizing_plot import draw

OURS = Assumptions()
NOT_GROWING = {"all_again_minutes"}
"""One more replica makes it shorter."""

numbers = st.integers(1, MOST_ACCOUNTS)


def values(made: Sizing) -> dict[str, float]:
    return {
        name: value for name, value in dataclasses.asdict(made).items() if name not in NOT_GROWING
    }


@given(numbers, numbers)
def test_more_accounts_never_need_less(one: int, other: int) -> None:
    small, large = values(size(min(one, other), OURS)), values(size(max(one, other), OURS))

    assert [name for name in small if small[name] > large[name]] == []


@given(st.lists(numbers, min_size=1, max_size=1), st.data())
@settings(max_examples=200)
def test_whatever_is_assumed_every_figure_is_one(accounts: list[int], data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(dataclasses.fields(Assumptions)))
    low, high = field.metadata["low"], field.metadata["high"]
    changed = OURS.with_changes({field.name: data.draw(st.floats(low, high))})

    made = size(accounts[0], changed)

    for name, value in dataclasses.asdict(made).items():
        assert math.isfinite(value), name
        assert value >= 0, name
    assert made.replicas >= 1
    assert made.homeservers >= 1
    assert parts(made, changed)


@pytest.mark.parametrize(
    ("assumed", "figure"),
    [
        ("daily_active", "checks"),
        ("morning_logins", "auth_cores"),
        ("burst", "morning_logins"),
        ("wrong_passwords", "checks"),
        ("check_ms", "auth_cores"),
        ("messages_a_day", "homeservers"),
        ("media_mib", "media_gib"),
        ("message_bytes", "synapse_database_gib"),
        ("trail_days", "lalepass_gib"),
        ("writes_right", "writes"),
        ("valkey_writes_right", "writes_beside_valkey"),
        ("valkey_commands_wrong", "valkey_commands"),
        ("connections_a_replica", "connections"),
        ("process_connections", "synapse_connections"),
        ("synapse_cores_a_1000", "workers"),
    ],
)
def test_more_of_what_is_assumed_is_more_of_what_follows(assumed: str, figure: str) -> None:
    twice = OURS.with_changes({assumed: min(2 * getattr(OURS, assumed), 1e9)})

    assert getattr(size(1_000_000, twice), figure) > getattr(size(1_000_000, OURS), figure)


def test_logins_are_cores_by_seconds_a_hash() -> None:
    plain = OURS.with_changes({"wrong_passwords": 0, "utilisation": 1, "check_ms": 10})

    made = size(1_000_000, plain)

    # A million, half of them there, a fifth of those within an hour, twice as many at the worst.
    assert made.morning_logins == pytest.approx(1_000_000 * 0.5 * 0.2 / 3600 * 2)
    assert made.auth_cores * (1 / 0.010) == pytest.approx(made.morning_logins)


def test_one_account_needs_one_of_each_and_no_spare() -> None:
    made = size(1, OURS)

    assert (made.replicas, made.homeservers, made.workers) == (1, 1, 0)
    assert parts(made, OURS) == ("Synapse on PostgreSQL", "Lalepass on SQLite")


def test_a_spare_comes_where_a_lost_machine_must_not_be_noticed() -> None:
    from_here = int(OURS.spare_from)

    assert size(from_here - 1, OURS).replicas == 1
    assert size(from_here, OURS).replicas == 2
    assert {"Valkey", "standby"} <= set(parts(size(from_here, OURS), OURS))


def test_no_homeserver_has_more_messages_than_its_workers_can_hear_of() -> None:
    for accounts in (1_000, 90_000, 100_000, 5_000_000, MOST_ACCOUNTS):
        made = size(accounts, OURS)

        heard = made.events / made.homeservers * OURS.listening_ms / 1000
        assert heard <= OURS.listening_share * 1.000001


def test_nobody_there_is_nothing_to_do() -> None:
    made = size(1000, OURS.with_changes({"daily_active": 0}))

    assert (made.checks, made.auth_cores, made.events, made.media_gib) == (0, 0, 0, 0)


@pytest.mark.parametrize("accounts", [0, -1, MOST_ACCOUNTS + 1, 10**30])
def test_a_number_of_accounts_out_of_bounds_is_refused(accounts: int) -> None:
    with pytest.raises(Refused, match=r"^the number of accounts should be from 1 to 10_000_000$"):
        size(accounts, OURS)


@pytest.mark.parametrize("accounts", [1.5, True, "7", None])
def test_what_is_no_number_of_accounts_is_refused(accounts: int) -> None:
    with pytest.raises(Refused, match="is a whole number"):
        size(accounts, OURS)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"daily_activ": 0.5}, "daily_activ: there is no such assumption; --assumptions lists"),
        ({"daily_active": 1.1}, "daily_active: should be a number from 0 to 1"),
        ({"daily_active": -0.1}, "daily_active: should be a number from 0 to 1"),
        ({"daily_active": math.nan}, "daily_active: should be a number from 0 to 1"),
        ({"check_ms": math.inf}, "check_ms: should be a number from 0.1 to 10000"),
        ({"check_ms": 0}, "check_ms: should be a number from 0.1 to 10000"),
        ({"check_ms": "13"}, "check_ms: should be a number from 0.1 to 10000"),
        ({"check_ms": True}, "check_ms: should be a number from 0.1 to 10000"),
        ({"check_ms": [13]}, "check_ms: should be a number from 0.1 to 10000"),
        ({"with_changes": 1}, "with_changes: there is no such assumption"),
    ],
)
def test_an_assumption_that_makes_no_sense_is_refused_in_one_sentence(
    changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(Refused) as refused:
        OURS.with_changes(changes)

    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_every_assumption_is_one_that_it_may_have_and_says_where_it_is_from() -> None:
    for field in dataclasses.fields(Assumptions):
        about = field.metadata
        assert about["low"] <= getattr(OURS, field.name) <= about["high"], field.name
        assert about["what"]
        assert re.match(r"assumption$|measured: bench_\w+$|docs: [\w.]+$|https://", about["source"])


def test_what_is_said_to_be_measured_is_measured_by_a_script_that_there_is() -> None:
    told = {field.metadata["source"] for field in dataclasses.fields(Assumptions)}
    scripts = {source.removeprefix("measured: ") for source in told if "measured: " in source}

    assert scripts
    assert [name for name in scripts if not (sizing.ROOT / "bench" / f"{name}.py").exists()] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (0.0099, "< 0.01"),
        (0.01, "0.01"),
        (1.25, "1.2"),
        (9.96, "10"),
        (103, "103"),
        (99.6, "100"),
        (1234, "1 200"),
        (1234567.8, "1 200 000"),
    ],
)
def test_two_figures_are_shown(value: float, text: str) -> None:
    assert sizing.shown(value) == text


def test_the_page_has_what_the_model_says() -> None:
    page = sizing.PAGE.read_text(encoding="utf-8")

    assert sizing.renewed(page, OURS) == page, "make sizing ARGS=--write"
    assert sizing.PICTURE.read_text(encoding="utf-8") == draw(OURS)


def test_the_example_on_the_page_is_what_the_model_says_of_a_million() -> None:
    page = " ".join(sizing.PAGE.read_text(encoding="utf-8").split())
    made = size(1_000_000, OURS)
    logins, checks = sizing.shown(made.morning_logins), sizing.shown(made.checks)

    for sentence in (
        f"With {OURS.check_ms:g} ms per check, one core can do at most {1000 / OURS.check_ms:.0f} ",
        f"{logins} a second, {checks} with the mistyped ones",
        f"= {sizing.shown(made.auth_cores)} cores",
        f"logins are done after {sizing.shown(made.all_again_minutes)} minutes",
    ):
        assert sentence in page


def test_a_page_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(Refused, match="no place for the table"):
        sizing.renewed("# A page\n", OURS)


@pytest.mark.parametrize(
    "changes", [{}, {"daily_active": 0}, {"check_ms": 10_000}, {"messages_a_day": 10_000}]
)
def test_the_picture_is_one_with_every_line_inside(changes: dict[str, object]) -> None:
    root = ET.fromstring(draw(OURS.with_changes(changes)))  # noqa: S314 - our own
    _, _, width, height = map(float, root.attrib["viewBox"].split())

    points = [
        tuple(map(float, point.split(",")))
        for line in root.iter("{http://www.w3.org/2000/svg}polyline")
        for point in line.attrib["points"].split()
    ]

    assert len(points) > 100
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


def test_the_table_is_printed_for_the_numbers_that_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizing.main(["250000", "--assume", "daily_active=1"])

    told = capsys.readouterr().out
    assert re.search(r"^accounts +250 000$", told, re.MULTILINE)
    assert re.search(r"^there on a working day +250 000$", told, re.MULTILINE)
    assert told.splitlines()[-1].startswith("250 000: Synapse on PostgreSQL, ")


def test_a_file_says_the_same_and_the_command_line_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ours.toml"
    file.write_text("accounts = [100, 200]\ndaily_active = 1\nburst = 3\n")

    sizing.main(["--file", str(file), "--assume", "burst=4", "--json"])

    told = json.loads(capsys.readouterr().out)
    assert [each["accounts"] for each in told["sizes"]] == [100, 200]
    assert (told["assumptions"]["daily_active"], told["assumptions"]["burst"]) == (1, 4)


def test_what_is_listed_can_be_given_back_as_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizing.main(["--assumptions"])
    file = tmp_path / "all.toml"
    file.write_text(capsys.readouterr().out)

    _, changes = sizing.read(file)

    assert OURS.with_changes(changes) == OURS


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["0"], "sizing: the number of accounts should be from 1 to 10_000_000"),
        (["--assume", "burst"], "sizing: burst: should be a number from 1 to 60"),
        (["--assume", "bursts=2"], "sizing: bursts: there is no such assumption"),
        (["--assume", "burst=nan"], "sizing: burst: should be a number from 1 to 60"),
        (["--file", "there-is-no-such-file"], "sizing: there-is-no-such-file: No such file"),
        (["1"] * 21, "sizing: no more than 20 numbers of accounts at a time"),
    ],
)
def test_a_wrong_command_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        sizing.main(arguments)

    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.out == ""
    assert told.err.startswith(sentence)
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"accounts = 7", "accounts: should be a list of numbers"),
        (b"accounts = [7.5]", "a number of accounts is a whole number"),
        (b"accounts = ['7']", "a number of accounts is a whole number"),
        (b"accounts = [", "odd.toml: "),
        (b"\xff", "odd.toml: "),
        (b"[people]\ndaily_active = 1", "people: there is no such assumption"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_sentence(
    content: bytes, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "odd.toml"
    file.write_bytes(content)

    with pytest.raises(SystemExit) as ended:
        sizing.main(["--file", str(file)])

    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert sentence in told
    assert len(told.splitlines()) == 1
