from pathlib import Path

import pytest

from lalepass_service.adapters.sql.migrate import upgrade


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A fresh database, brought up to date."""
    path = tmp_path / "lalepass.db"
    upgrade(path)
    return path
