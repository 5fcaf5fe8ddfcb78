"""tools.locks: a lock that is not what pyproject.toml says is found."""

import shutil
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools import locks
from tools.locks import DEV, LOCKS, NOT_CHECKED, ROOT, CompileFailed

LOCK = """\
attrs==26.1.0 \\
    --hash=sha256:00
    # via lalepass (pyproject.toml)
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:00
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of what is checked."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def test_the_committed_locks_are_right_as_far_as_can_be_seen_offline() -> None:
    assert locks.faults(ROOT) == []


def test_each_package_has_a_hash() -> None:
    for lock in LOCKS:
        text = (ROOT / lock.file).read_text()
        pinned = [line for line in text.splitlines() if line[:1].isalnum()]
        assert pinned
        assert all(line.endswith("\\") for line in pinned)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://pypi.example.org/simple",
        "--extra-index-url file:///srv/wheels",
        "--find-links /srv/wheels",
        "attrs @ https://example.org/attrs.whl",
        "# This file was made with --index-url http://10.0.0.1/simple",
    ],
)
def test_an_address_in_a_lock_is_found(line: str) -> None:
    (found,) = locks.addresses("dev", f"{LOCK}{line}\n")
    assert found == f"dev.txt, line 6 holds an address: {line}"


def test_a_lock_without_an_address_is_fine() -> None:
    assert not list(locks.addresses("dev", LOCK))


def test_pins_are_read_with_their_canonical_names() -> None:
    assert locks.pins("Foo.Bar[x]==1.0 \\\n" + LOCK) == {
        "foo-bar": "1.0",
        "attrs": "26.1.0",
        "colorama": "0.4.6",
    }


@pytest.mark.parametrize(
    ("requirement", "found"),
    [
        ("attrs>=25", []),
        ("Attrs", []),
        ("attrs<26", ["dev.txt has attrs 26.1.0, not <26"]),
        ("cattrs>=1", ["dev.txt lacks cattrs>=1"]),
    ],
)
def test_a_requirement_that_is_not_met_is_found(requirement: str, found: list[str]) -> None:
    pinned = locks.pins(LOCK)
    assert list(locks.unmet("dev", [Requirement(requirement)], pinned)) == found


def test_a_part_with_another_version_than_dev_is_found() -> None:
    found = locks.disagreements("service", {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "1"})
    assert list(found) == ["service.txt has b 2, dev.txt 1", "service.txt has c 3, dev.txt none"]


def test_every_part_of_pyproject_counts(project: Path) -> None:
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text().replace('"uv>=0.9"', '"uv>=9999"')
    pyproject.write_text(text.replace('"alembic>=1.16,<2"', '"alembic>=9999"'))
    assert sorted(fault.split()[0] for fault in locks.faults(project)) == [
        *("bootstrap.txt", "dev.txt", "dev.txt", "service.txt"),
    ]


def test_drift_is_found(project: Path) -> None:
    def compile_locks(root: Path) -> None:
        # As uv would, had somebody added `attrs` to pyproject.toml and not renewed the lock.
        path = root / DEV.file
        path.write_text(path.read_text() + "brand-new==1.0 \\\n    --hash=sha256:00\n")

    assert locks.drift(project, compile_in=compile_locks) == [
        "requirements/dev.txt lacks: brand-new==1.0"
    ]
    assert locks.check(project, compile_in=compile_locks) == 1


def test_more_hashes_for_the_same_version_are_no_drift(
    project: Path,
) -> None:
    def compile_locks(root: Path) -> None:
        path = root / DEV.file
        path.write_text(path.read_text().replace(" \\\n", " \\\n    --hash=sha256:00 \\\n"))

    assert locks.drift(project, compile_in=compile_locks) == []


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("error: Failed to fetch: dns error", NOT_CHECKED),
        ("  x No solution found when resolving dependencies", 1),
    ],
)
def test_an_index_that_can_not_be_reached_is_no_drift(output: str, code: int) -> None:
    def compile_locks(_: Path) -> None:
        raise CompileFailed(output)

    assert locks.check(ROOT, compile_in=compile_locks) == code
