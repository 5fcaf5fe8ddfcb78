"""What stands for the hash in measurements is for measurements only."""

import time
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from bench.load import ITERATIONS, MEMORY, PASSWORD
from bench.sleeping import Sleeping
from lalepass_service import parts
from lalepass_service.adapters.hashing.bindings import Sodium
from lalepass_service.config import Config, Database, Hashing

_ROOT = Path(__file__).resolve().parents[2]
COSTS = {"memory_kib": MEMORY // 1024, "iterations": ITERATIONS}


def test_it_takes_its_time_and_accepts_one_password() -> None:
    sleeping = Sleeping(0.05)
    phc = Sodium().make(b"another", **COSTS)
    began = time.perf_counter()

    assert sleeping.verify(PASSWORD.encode(), phc=phc)
    assert time.perf_counter() - began >= 0.05
    assert not sleeping.verify(b"another", phc=phc)


def test_its_records_are_real() -> None:
    assert Sodium().verify(b"a password", phc=Sleeping(0).make(b"a password", **COSTS))


def test_no_setting_leads_to_it() -> None:
    with pytest.raises(ValidationError, match="binding"):
        Hashing.model_validate({"binding": Sleeping.name})


@pytest.mark.anyio
async def test_a_binding_is_handed_over_by_a_program_and_not_chosen(tmp_path: Path) -> None:
    config = Config(database=Database(path=tmp_path / "lalepass.db"))
    async with parts.open_hasher(config, threads=1, binding=Sleeping(0)) as handed_over:
        assert handed_over.binding == "sleep"
    async with parts.open_hasher(config, threads=1) as chosen:
        assert chosen.binding != "sleep"


def test_it_is_not_part_of_what_is_installed() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert not any("bench" in package for package in packages)
