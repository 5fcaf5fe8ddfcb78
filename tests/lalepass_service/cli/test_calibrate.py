"""What `calibrate` prints; what it proposes is in `adapters/hashing/test_calibration.py`."""

import tomllib

from lalepass_service.adapters.hashing.argon2 import MIN_ITERATIONS, MIN_MEMORY_KIB
from lalepass_service.cli.console import ExitCode
from lalepass_service.config import Hashing
from tests.lalepass_service.cli.operator import Operator

TOO_MANY = "1000000"
"""Logins a second that no machine can do, so that only the floor is measured."""


def test_what_it_proposes_can_be_pasted(operator: Operator) -> None:
    said = operator.bare("calibrate", "--logins-per-second", TOO_MANY).done()
    table, _, fragment = said.partition("\n\n")
    options = tomllib.loads(fragment)["hashing"]

    assert "HASHES A SECOND" in table
    assert str(MIN_MEMORY_KIB) in table
    assert "NOT POSSIBLE on this machine" in fragment
    assert Hashing(**options).model_dump(include=set(options)) == options
    assert (options["memory_kib"], options["iterations"]) == (MIN_MEMORY_KIB, MIN_ITERATIONS)


def test_programs_read_the_same(operator: Operator) -> None:
    found = operator.bare("calibrate", "--logins-per-second", TOO_MANY, "--json").document

    assert found["enough"] is False
    assert found["machines"] > 1
    assert found["machine"]["cores"] >= 1
    assert [each["parameters"]["memory_kib"] for each in found["measured"]] == [MIN_MEMORY_KIB]
    assert set(found["hashing"]) == set(Hashing.model_fields) - {
        "binding",
        "synapse_pepper_path",
    }
    assert found["binding"] in {"libsodium", "avx2", "avx512"}


def test_what_hashes_can_be_chosen(operator: Operator) -> None:
    command = ("calibrate", "--logins-per-second", TOO_MANY)

    said = operator.bare(*command, "--binding", "libsodium").done()
    assert said.startswith("hashing with libsodium\n")
    assert operator.bare(*command, "--binding", "md5").code == ExitCode.USAGE


def test_a_peak_is_a_number_above_zero(operator: Operator) -> None:
    for peak in ("0", "-1", "many", "nan"):
        said = operator.bare("calibrate", "--logins-per-second", peak)
        assert said.code == ExitCode.USAGE, peak
    assert operator.bare("calibrate").code == ExitCode.USAGE
