import logging
import threading
from pathlib import Path

import pytest

from lalepass_service.adapters.keys import BrokenKeys, KeyDirectory, KeyVault, NullVault, Vault
from lalepass_service.core.errors import NoAnswer, UnreadableRecord
from lalepass_service.core.model import UserId

ALICE = UserId("id-alice")


class Monotonic:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def directory(tmp_path: Path) -> KeyDirectory:
    directory = KeyDirectory(tmp_path / "keys")
    directory.add()
    return directory


@pytest.fixture
def clock() -> Monotonic:
    return Monotonic()


@pytest.fixture
def vault(directory: KeyDirectory, clock: Monotonic) -> KeyVault:
    return KeyVault(directory, monotonic=clock)


def test_both_are_vaults(vault: KeyVault) -> None:
    vaults: list[Vault] = [vault, NullVault()]

    for each in vaults:
        stored, _ = each.seal("$x$", user_id=ALICE)
        assert each.open(stored, user_id=ALICE) == "$x$"
        assert each.derive("a") == each.derive("a")
        assert each.derive("a") != each.derive("b")
        with pytest.raises(ValueError, match="wrapped already"):
            each.seal("$lpw$v=1,k=aaaa$AAAA", user_id=ALICE)


def test_the_key_of_a_record_is_told(vault: KeyVault, directory: KeyDirectory) -> None:
    stored, key_id = vault.seal("$x$", user_id=ALICE)

    assert key_id == directory.load().active
    assert f"k={key_id}$" in stored


def test_without_a_folder_nothing_is_wrapped() -> None:
    assert NullVault().seal("$x$", user_id=ALICE) == ("$x$", None)


def test_without_a_folder_a_wrapped_record_names_the_key_that_it_needs(vault: KeyVault) -> None:
    stored, key_id = vault.seal("$x$", user_id=ALICE)

    with pytest.raises(UnreadableRecord, match=f"needs the key {key_id}"):
        NullVault().open(stored, user_id=ALICE)


def test_a_record_from_before_there_were_keys_is_read_and_counted(vault: KeyVault) -> None:
    assert vault.unwrapped == 0
    assert vault.open("$x$", user_id=ALICE) == "$x$"
    assert vault.unwrapped == 1


def test_a_promoted_key_is_used_at_once(vault: KeyVault, directory: KeyDirectory) -> None:
    """Retiring relies on this: see `sql.rewrap.retire`."""
    second = directory.add()
    directory.promote(second)

    assert vault.seal("$x$", user_id=ALICE)[1] == second


def test_a_record_with_a_key_that_is_new_is_opened_at_once(
    vault: KeyVault, directory: KeyDirectory
) -> None:
    directory.promote(directory.add())
    stored = directory.load().seal("$x$", user_id=ALICE)

    assert vault.open(stored, user_id=ALICE) == "$x$"


def test_reading_looks_at_the_files_once_a_second(
    vault: KeyVault, directory: KeyDirectory, clock: Monotonic
) -> None:
    stored, first = vault.seal("$x$", user_id=ALICE)
    directory.promote(directory.add())
    with directory.retiring(first) as remove:
        remove()

    clock.now = 0.9
    assert vault.open(stored, user_id=ALICE) == "$x$"
    clock.now = 1.0
    with pytest.raises(UnreadableRecord, match=f"the key {first} is missing in {directory.path}"):
        vault.open(stored, user_id=ALICE)


def test_broken_files_leave_the_old_keys_in_force_and_are_logged_once_a_change(
    vault: KeyVault, directory: KeyDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    stored, active = vault.seal("$x$", user_id=ALICE)
    (directory.path / "zzzz.key").write_text("x")
    for _ in range(3):
        assert vault.open(stored, user_id=ALICE) == "$x$"
        assert vault.seal("$x$", user_id=ALICE)[1] == active

    (line,) = caplog.messages
    assert line.endswith(
        f"{directory.path}/zzzz.key: others can read or change it: run `chmod 600` on it"
    )
    (directory.path / "zzzz.key").chmod(0o600)
    vault.seal("$x$", user_id=ALICE)
    vault.seal("$x$", user_id=ALICE)
    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("zzzz.key: is not a key file of lalepass")


def test_mended_files_are_taken_over(
    vault: KeyVault, directory: KeyDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    second = directory.add()
    directory.promote(second)
    (directory.path / f"{second}.key").chmod(0o644)
    assert vault.seal("$x$", user_id=ALICE)[1] != second
    (directory.path / f"{second}.key").chmod(0o600)

    with caplog.at_level(logging.INFO):
        assert vault.seal("$x$", user_id=ALICE)[1] == second
    assert caplog.messages[-1] == f"the keys were read again, active is {second}"


def test_nothing_is_stored_that_could_not_be_read_after_a_restart(
    vault: KeyVault, directory: KeyDirectory
) -> None:
    stored, active = vault.seal("$x$", user_id=ALICE)
    (directory.path / f"{active}.key").unlink()

    with pytest.raises(NoAnswer, match=f"the key {active} has vanished from {directory.path}"):
        vault.seal("$x$", user_id=ALICE)
    assert vault.open(stored, user_id=ALICE) == "$x$"


def test_a_folder_that_vanishes_is_a_change_like_others(
    vault: KeyVault, directory: KeyDirectory, tmp_path: Path
) -> None:
    stored, _ = vault.seal("$x$", user_id=ALICE)
    directory.path.rename(tmp_path / "elsewhere")
    with pytest.raises(NoAnswer):
        vault.seal("$x$", user_id=ALICE)
    assert vault.open(stored, user_id=ALICE) == "$x$"
    (tmp_path / "elsewhere").rename(directory.path)

    vault.seal("$x$", user_id=ALICE)


def test_an_unknown_key_does_not_read_the_files_over_and_over(
    vault: KeyVault, directory: KeyDirectory
) -> None:
    """A look is enough as long as nothing has changed: the file is not even opened."""
    second = directory.add()
    directory.promote(second)
    stored = directory.load().seal("$x$", user_id=ALICE)
    (directory.path / f"{second}.key").rename(directory.path / "away")
    with pytest.raises(UnreadableRecord):
        vault.open(stored, user_id=ALICE)
    ring = vault.ring
    with pytest.raises(UnreadableRecord):
        vault.open(stored, user_id=ALICE)

    assert vault.ring is ring


def test_it_does_not_start_with_broken_files(directory: KeyDirectory) -> None:
    (directory.path / "active").unlink()

    with pytest.raises(BrokenKeys):
        KeyVault(directory)


def test_derived_secrets_are_the_same_in_every_process(directory: KeyDirectory) -> None:
    one, other = KeyVault(directory), KeyVault(KeyDirectory(directory.path))

    assert one.derive("soft-lock") == other.derive("soft-lock")
    assert NullVault().derive("soft-lock") != NullVault().derive("soft-lock")


def test_several_threads_may_use_it_while_keys_rotate(directory: KeyDirectory) -> None:
    vault, done = KeyVault(directory), threading.Event()
    faults: list[Exception] = []

    def use() -> None:
        try:
            while not done.is_set():
                stored, _ = vault.seal("$x$", user_id=ALICE)
                assert vault.open(stored, user_id=ALICE) == "$x$"
        except Exception as fault:  # noqa: BLE001 - told to the test
            faults.append(fault)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        directory.promote(directory.add())
    done.set()
    for thread in threads:
        thread.join()

    assert faults == []
    assert len(list(directory.path.iterdir())) == 23
