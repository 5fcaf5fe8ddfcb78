"""Those who change the keys take turns, and whoever is killed leaves whole files."""

import threading
from pathlib import Path

import pytest

from lalepass_service.adapters.keys.files import KeyDirectory
from lalepass_service.faults import OutsideFault
from tests.lalepass_service.adapters.killing import Nursery, rounds


@pytest.fixture
def directory(tmp_path: Path) -> KeyDirectory:
    """A folder with one key."""
    directory = KeyDirectory(tmp_path / "keys")
    directory.add()
    return directory


_CHANGES = """
from pathlib import Path
from lalepass_service.adapters.keys import KeyDirectory

def work(path):
    directory = KeyDirectory(Path(path))
    for _ in range(100):
        directory.promote(directory.add())
"""


@pytest.mark.timeout(600)
def test_kill_9_leaves_whole_keys_and_an_active_one(directory: KeyDirectory) -> None:
    derived = directory.load().derive("x")
    with Nursery(_CHANGES, directory.path) as nursery:
        for delay in rounds(longest=0.02):
            nursery.kill_after(delay)
            assert directory.load().derive("x") == derived
    made = len(directory.load().ids)

    assert made > 1
    directory.promote(directory.add())
    assert {path.name for path in directory.path.iterdir()} == {
        *(f"{key_id}.key" for key_id in directory.load().ids),
        "active",
        "digest",
    }


def test_those_who_change_something_take_turns(directory: KeyDirectory) -> None:
    with Nursery(_CHANGES, directory.path) as one, Nursery(_CHANGES, directory.path) as other:
        one.begin()
        other.begin()
        one.finish()
        other.finish()

    assert len(directory.load().ids) == 201


def test_a_turn_is_not_waited_for_without_end(directory: KeyDirectory) -> None:
    """Whoever holds the folder may have been stopped."""
    impatient = KeyDirectory(directory.path, patience=0.05)
    other = directory.add()

    with directory.retiring(other):
        with pytest.raises(OutsideFault, match="somebody else has been changing the keys"):
            impatient.add()
        with pytest.raises(OutsideFault, match="somebody else has been changing the keys"):
            impatient.promote(other)

    # What they went on waiting for came too late, and was given back.
    for thread in threading.enumerate():
        if thread.name == "keys":
            thread.join(timeout=60)
    directory.promote(other)
    assert directory.load().active == other
