import os
import stat
from pathlib import Path

import pytest

from lalepass_service.adapters.keys.files import BrokenKeys, KeyDirectory
from lalepass_service.core.errors import Conflict, NotFound
from lalepass_service.core.model import UserId

ALICE = UserId("id-alice")
SECRET = "bGFsZXBhc3MtY2FuYXJ5LTdmM2EtMzItYnl0ZXMtbG8="


@pytest.fixture
def directory(tmp_path: Path) -> KeyDirectory:
    """A folder with one key."""
    directory = KeyDirectory(tmp_path / "keys")
    directory.add()
    return directory


def _names(directory: KeyDirectory) -> set[str]:
    return {path.name for path in directory.path.iterdir()}


def _broken(directory: KeyDirectory) -> str:
    with pytest.raises(BrokenKeys) as caught:
        directory.load()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert SECRET not in sentence
    return sentence


def test_the_first_key_is_active(directory: KeyDirectory) -> None:
    ring = directory.load()

    assert ring.ids == {ring.active}
    assert _names(directory) == {f"{ring.active}.key", "active", "digest"}


def test_what_is_made_is_for_its_owner(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        KeyDirectory(tmp_path / "keys").add()
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}
    assert modes == {0o600}


def test_a_further_key_waits_for_its_promotion(directory: KeyDirectory) -> None:
    first = directory.load().active
    second = directory.add()

    assert directory.load().ids == {first, second}
    assert directory.load().active == first
    directory.promote(second)
    assert directory.load().active == second


def test_keys_are_not_alike(directory: KeyDirectory) -> None:
    for _ in range(9):
        directory.add()
    texts = {path.read_text() for path in directory.path.glob("*.key")}
    texts.add((directory.path / "digest").read_text())

    assert len(texts) == 11


def test_a_key_in_a_file_is_the_one_that_opens(directory: KeyDirectory) -> None:
    stored = directory.load().seal("$x$", user_id=ALICE)

    assert KeyDirectory(directory.path).load().open(stored, user_id=ALICE) == "$x$"


def test_rotation_leaves_the_digest_alone(directory: KeyDirectory) -> None:
    first, derived = directory.load().active, directory.load().derive("x")
    directory.promote(directory.add())
    with directory.retiring(first) as remove:
        remove()

    assert directory.load().derive("x") == derived


def test_a_lost_digest_is_named_and_made_anew_with_the_next_key(directory: KeyDirectory) -> None:
    (directory.path / "digest").unlink()

    assert _broken(directory).startswith(f"{directory.path}/digest: can't be read")
    directory.add()
    assert len(directory.load().ids) == 2


def test_only_a_key_that_is_there_is_promoted(directory: KeyDirectory) -> None:
    active = directory.load().active
    for name in ("zzzz", "../keys/" + active, "", "active", "digest", "a\0b"):
        with pytest.raises(NotFound):
            directory.promote(name)

    assert directory.load().active == active


def test_a_key_that_can_not_be_read_is_not_promoted(directory: KeyDirectory) -> None:
    active, other = directory.load().active, directory.add()
    (directory.path / f"{other}.key").write_text("x")

    with pytest.raises(BrokenKeys):
        directory.promote(other)
    assert (directory.path / "active").read_text().strip() == active


def test_the_active_key_is_not_retired(directory: KeyDirectory) -> None:
    active = directory.load().active

    with pytest.raises(Conflict, match=active), directory.retiring(active):
        pytest.fail("it may not begin")
    assert directory.load().active == active


def test_a_key_stays_when_somebody_objects(directory: KeyDirectory) -> None:
    other = directory.add()
    with pytest.raises(ZeroDivisionError), directory.retiring(other):
        raise ZeroDivisionError

    assert directory.has(other)
    with directory.retiring(other) as remove:
        assert directory.has(other)
        remove()
    assert not directory.has(other)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
@pytest.mark.parametrize("name", ["key", "active", "digest"])
def test_a_file_that_others_can_read_is_refused(
    directory: KeyDirectory, name: str, mode: int
) -> None:
    file = directory.path / (f"{directory.load().active}.key" if name == "key" else name)
    file.chmod(mode)

    assert _broken(directory) == (f"{file}: others can read or change it: run `chmod 600` on it")
    file.chmod(0o400)
    directory.load()


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f"lalepass-key v1\n{SECRET[:-4]}\n",
        f"lalepass-key v1\n{SECRET}AAAA\n",
        f"lalepass-key v1\n{SECRET}\n{SECRET}\n",
        f"lalepass-key v1\n{SECRET[:-1]}\n",
        f"lalepass-key v1\n {SECRET}\n",
        f"lalepass-key v2\n{SECRET}\n",
        f"lalepass-key v1 {SECRET}\n",
        "lalepass-key v1\n\udcff\n",
        "A" * 5000,
    ],
)
def test_a_file_that_is_no_key_is_named_and_never_quoted(
    directory: KeyDirectory, text: str
) -> None:
    file = directory.path / f"{directory.load().active}.key"
    file.write_bytes(text.encode(errors="surrogateescape"))

    assert _broken(directory) == f"{file}: is not a key file of lalepass"


def test_a_key_file_is_what_the_documents_say(directory: KeyDirectory) -> None:
    file = directory.path / f"{directory.load().active}.key"
    file.write_text(f"lalepass-key v1\n{SECRET}\n")

    directory.load()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    directory = KeyDirectory(tmp_path / "keys")

    assert _broken(directory) == f"{tmp_path}/keys: can't be read: No such file or directory"
    (tmp_path / "keys").mkdir()
    assert _broken(directory) == f"{tmp_path}/keys has no keys yet: run `lalepass keys add`"


@pytest.mark.parametrize("text", ["", "zzzz", "../x"])
def test_an_active_key_that_is_not_there_is_said(directory: KeyDirectory, text: str) -> None:
    (directory.path / "active").write_text(text)

    assert _broken(directory) == (
        f"{directory.path}/active names a key that is not in {directory.path}"
    )


def test_a_name_that_can_be_no_id_is_refused(directory: KeyDirectory) -> None:
    (directory.path / "my key.key").write_text("x")

    assert "my key can't be the id of a key" in _broken(directory)


def test_files_of_others_are_left_alone(directory: KeyDirectory) -> None:
    for name in ("README", ".unfinished", "abcd.key~", "abcd.key.bak", ".key.swp"):
        (directory.path / name).write_text("x")

    assert len(directory.load().ids) == 1
    directory.add()
    assert (directory.path / "README").read_text() == "x"


def test_links_are_followed(directory: KeyDirectory, tmp_path: Path) -> None:
    """Kubernetes mounts secrets so."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    for path in directory.path.iterdir():
        (mounted / path.name).symlink_to(path)

    assert KeyDirectory(mounted).load().ids == directory.load().ids


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_belongs_to_the_owner_of_the_folder(directory: KeyDirectory) -> None:
    os.chown(directory.path, 4321, 8765)
    made = directory.path / f"{directory.add()}.key"

    assert (made.stat().st_uid, made.stat().st_gid) == (4321, 8765)


def test_a_stamp_changes_with_whatever_changes(directory: KeyDirectory) -> None:
    active = directory.path / "active"
    stamps = [directory.stamp()]
    assert directory.stamp() == stamps[0]
    other = directory.add()
    stamps.append(directory.stamp())
    directory.promote(other)
    stamps.append(directory.stamp())
    active.chmod(0o400)
    stamps.append(directory.stamp())
    active.unlink()
    stamps.append(directory.stamp())
    (directory.path / "active").symlink_to("nowhere")
    stamps.append(directory.stamp())

    assert len(set(stamps)) == len(stamps)
    assert KeyDirectory(directory.path / "none").stamp() == 2
