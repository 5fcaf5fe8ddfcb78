"""The file of the locked accounts: whole, private, and never believed when it is odd."""

import json
import stat
import sys
from pathlib import Path

import pytest

from lalepass_provider.locks import LockedNames
from lalepass_provider.state import State, UnusableState, load, save, written

SERVER = "hs.example"


def state_of(*names: str, **facts: str) -> State:
    locked = LockedNames()
    for name in names:
        locked.add(name)
    return State(
        cursor=facts.get("cursor", "db1-7"),
        key=locked.key,
        digests=locked.digests(),
        orders_done=("o1", "o2"),
        profiles="db1-5",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locked"


def test_what_was_saved_is_loaded(path: Path) -> None:
    save(path, written(state_of("bob", "carol"), server_name=SERVER))

    state = load(path, server_name=SERVER)

    assert state is not None
    assert state.cursor == "db1-7"
    assert state.orders_done == ("o1", "o2")
    assert state.profiles == "db1-5"
    locked = state.locked()
    assert len(locked) == 2
    assert "bob" in locked
    assert "alice" not in locked


def test_nobody_else_may_read_it_and_nothing_is_left_beside_it(path: Path) -> None:
    path.write_bytes(b"older")
    path.chmod(0o644)
    save(path, written(state_of(), server_name=SERVER))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_name_is_not_to_be_found_in_it(path: Path) -> None:
    save(path, written(state_of("bobs-name"), server_name=SERVER))

    assert b"bobs-name" not in path.read_bytes()


def test_what_can_not_be_written_leaves_the_old_one(path: Path, tmp_path: Path) -> None:
    save(path, written(state_of("bob"), server_name=SERVER))
    blocked = tmp_path / "folder"
    blocked.mkdir()

    with pytest.raises(OSError, match="folder"):
        save(blocked, b"a folder is there")

    assert sorted(tmp_path.iterdir()) == [blocked, path]
    assert load(path, server_name=SERVER) is not None


def test_no_file_is_no_state(path: Path) -> None:
    assert load(path, server_name=SERVER) is None


def test_each_damaged_byte_is_noticed(path: Path) -> None:
    content = written(state_of("bob"), server_name=SERVER)
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(UnusableState):
            load(path, server_name=SERVER)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 100])
def test_half_a_file_is_none(path: Path, size: int) -> None:
    path.write_bytes(written(state_of("bob"), server_name=SERVER)[:size])

    with pytest.raises(UnusableState, match="damaged"):
        load(path, server_name=SERVER)


def test_another_servers_file_is_not_used(path: Path) -> None:
    save(path, written(state_of("bob"), server_name="other.example"))

    with pytest.raises(UnusableState, match="another homeserver"):
        load(path, server_name=SERVER)


def test_a_folder_is_no_file(path: Path) -> None:
    path.mkdir()

    with pytest.raises(UnusableState, match="can't be read"):
        load(path, server_name=SERVER)


HEAD = {
    "lalepass_state": 1,
    "server_name": SERVER,
    "byte_order": sys.byteorder,
    "cursor": "db1-1",
    "profiles": None,
    "key": "00" * 16,
    "locked": 1,
    "orders_done": [],
}


def rewritten(head: object, digests: bytes = b"12345678") -> bytes:
    """A file of this head, with a checksum that is right."""
    from hashlib import blake2b  # noqa: PLC0415 - the form of the file, said a second time

    content = json.dumps(head).encode() + b"\n" + digests
    return content + blake2b(content, digest_size=32).digest()


def test_the_head_that_the_odd_ones_differ_from_is_good(path: Path) -> None:
    path.write_bytes(rewritten(HEAD))

    state = load(path, server_name=SERVER)

    assert state is not None
    assert len(state.locked()) == 1


@pytest.mark.parametrize(
    "head",
    [
        [],
        None,
        "text",
        {},
        HEAD | {"lalepass_state": 2},
        HEAD | {"byte_order": "middle"},
        HEAD | {"key": "zz"},
        HEAD | {"key": "00"},
        HEAD | {"key": None},
        HEAD | {"locked": 2},
        HEAD | {"locked": "many"},
        HEAD | {"orders_done": None},
        {name: value for name, value in HEAD.items() if name != "cursor"},
    ],
    ids=str,
)
def test_an_odd_head_is_not_used(path: Path, head: object) -> None:
    path.write_bytes(rewritten(head))

    with pytest.raises(UnusableState):
        load(path, server_name=SERVER)
