"""What pip asks about the source package that the native build starts from."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

_BACKEND = Path(__file__).parents[4] / "service/native/backend/scikit_build_core/build.py"
_SAID = (
    "Metadata-Version: 2.4\nName: argon2-cffi-bindings\nVersion: 25.1.0\n\nBindings for Python.\n"
)


@pytest.fixture
def backend() -> ModuleType:
    spec = importlib.util.spec_from_file_location("backend_of_the_source", _BACKEND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_folder_has_the_name_that_an_older_pip_looks_for(
    backend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "PKG-INFO").write_text(_SAID)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)

    name = backend.prepare_metadata_for_build_wheel(str(tmp_path / "out"))

    assert name == "argon2_cffi_bindings-25.1.0.dist-info"
    assert (tmp_path / "out" / name / "METADATA").read_text() == _SAID
