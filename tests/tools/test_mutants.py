from pathlib import Path

from tools.locks import ROOT
from tools.mutants import lay_out


def test_the_copy_has_the_tests_and_the_rules_where_mutmut_looks_for_them(tmp_path: Path) -> None:
    lay_out(ROOT, tmp_path)

    for path in ("src/lalepass_service/core/check.py", "tests/conftest.py", "pyproject.toml"):
        assert (tmp_path / path).is_file()


def test_what_is_no_more_goes_and_what_mutmut_has_found_stays(tmp_path: Path) -> None:
    lay_out(ROOT, tmp_path)
    gone, found = tmp_path / "src" / "gone.py", tmp_path / "mutants" / "found"
    gone.touch()
    found.parent.mkdir()
    found.touch()

    lay_out(ROOT, tmp_path)

    assert not gone.exists()
    assert found.exists()
