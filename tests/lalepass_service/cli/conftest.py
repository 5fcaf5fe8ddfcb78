import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lalepass_service.cli.main import run
from tests.lalepass_service.cli.operator import Operator


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation that nobody has used, to be copied."""
    directory = tmp_path_factory.mktemp("fresh") / "lalepass"
    assert run(["init", "--directory", str(directory)]) == 0
    return directory


@pytest.fixture
def operator(
    fresh: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Operator]:
    root = logging.getLogger()
    before = list(root.handlers)
    monkeypatch.delenv("LALEPASS_CONFIG", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    directory = tmp_path / "lalepass"
    shutil.copytree(fresh, directory)
    yield Operator(directory, capsys, monkeypatch)
    # `serve` leaves one that writes to where this test's output went.
    root.handlers = [handler for handler in root.handlers if handler in before]
