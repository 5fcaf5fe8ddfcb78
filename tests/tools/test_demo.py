"""tools.demo: the demo refuses what can't work, and touches only what is its own."""

import fcntl
import re
import shlex
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tools import run
from tools.demo import (
    SERVICE_PORT,
    STATE,
    SYNAPSE_PORT,
    Demo,
    Fault,
    another_port,
    prepare,
    require_ports,
)

USUAL = Demo(state=STATE.absolute(), service_port=SERVICE_PORT, synapse_port=SYNAPSE_PORT)


def made(demo: Demo, *names: str) -> Demo:
    """Put files into the state, and folders where a name ends so."""
    demo.state.mkdir(exist_ok=True)
    for name in names:
        path = demo.state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()
    return demo


def left(demo: Demo) -> list[str]:
    return sorted(path.name for path in demo.state.iterdir())


def test_the_service_and_synapse_need_a_port_each(demo: Demo) -> None:
    with pytest.raises(Fault, match="need one each"):
        require_ports(replace(demo, synapse_port=demo.service_port))


def test_a_port_in_use_is_told_with_all_that_was_asked_for(
    demo: Demo, listener: socket.socket
) -> None:
    asked = replace(demo, synapse_port=listener.getsockname()[1], once=True, fresh=True)
    with pytest.raises(Fault) as fault:
        require_ports(asked)
    (other,) = re.findall(r"--synapse-port (\d+)", str(fault.value))
    assert int(other) != asked.synapse_port
    assert replace(asked, synapse_port=int(other)).command in str(fault.value)


@pytest.mark.parametrize(
    ("port", "taken", "other"),
    [(8008, (), 8108), (8120, (8220,), 8320), (65500, (), 65400), (65535, (65435,), 65335)],
)
def test_another_port_is_a_port_and_is_free(port: int, taken: tuple[int, ...], other: int) -> None:
    assert another_port(port, (port, 1), is_free=lambda asked: asked not in taken) == other


def test_another_port_is_not_that_of_the_other_half() -> None:
    assert another_port(8120, (8120, 8220), is_free=lambda _: True) == 8320


@pytest.mark.parametrize(
    ("asked", "command"),
    [
        (USUAL, "make run"),
        (replace(USUAL, fresh=True), "make run ARGS=--fresh"),
        (replace(USUAL, synapse_port=9), "make run ARGS='--synapse-port 9'"),
        (replace(USUAL, state=Path("/x"), once=True), "make run ARGS='--once --state /x'"),
    ],
)
def test_a_demo_knows_what_was_typed(asked: Demo, command: str) -> None:
    assert asked.command == command


def test_what_it_says_to_type_is_what_arrives(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("run:\n\t@printf '%s\\n' $(ARGS)\n")
    odd = replace(demo, state=tmp_path / """it's $HOME "a b\"""", fresh=True)
    done = subprocess.run(  # noqa: S602 - as a person types it
        f"{odd.command} --silent",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    parsed = run.parser().parse_args(done.stdout.splitlines())
    assert Demo(**vars(parsed)) == odd, shlex.split(odd.command)


def test_a_half_made_state_is_told_with_the_way_out(demo: Demo) -> None:
    made(demo, "synapse-token")
    with pytest.raises(Fault, match="half-made") as fault:
        prepare(demo)
    again = replace(demo, fresh=True)
    assert f"`{again.command}` removes it" in str(fault.value)
    assert prepare(again) is False
    assert left(demo) == []


def test_a_complete_state_is_used_again(demo: Demo) -> None:
    made(demo, "complete", "notes")
    assert prepare(demo) is True
    assert demo.state.stat().st_mode & 0o777 == 0o700


def test_a_fresh_start_removes_all_that_a_demo_makes(demo: Demo, tmp_path: Path) -> None:
    made(demo, "complete", "demo-password", "synapse-token", "demo-password.12.tmp")
    made(demo, "lalepass/lalepass.toml", "synapse/media/picture")
    (tmp_path / "elsewhere").mkdir()
    assert prepare(replace(demo, fresh=True)) is False
    assert left(demo) == []


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(
    ("names", "strange"),
    [
        (("letters", "photos/"), "letters"),
        (("demo-password", "synapse-token", "my-thesis"), "my-thesis"),
        # Two checkouts, side by side.
        (("lalepass/README.md", "synapse/README.md"), "lalepass"),
    ],
)
def test_the_folder_of_somebody_else_is_left_alone(
    demo: Demo, names: tuple[str, ...], strange: str, *, fresh: bool
) -> None:
    made(demo, *names).state.chmod(0o755)
    before = left(demo)
    with pytest.raises(Fault, match=f"none has made {strange} in it"):
        prepare(replace(demo, fresh=fresh))
    assert left(demo) == before
    assert demo.state.stat().st_mode & 0o777 == 0o755


def test_what_was_put_into_a_complete_state_is_not_removed(demo: Demo) -> None:
    made(demo, "complete", "demo-password", "my-thesis")
    with pytest.raises(Fault, match="my-thesis"):
        prepare(replace(demo, fresh=True))
    assert "my-thesis" in left(demo)


def test_a_link_is_removed_and_not_what_it_leads_to(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").touch()
    made(demo, "complete")
    (demo.state / "synapse").symlink_to(tmp_path / "elsewhere")
    prepare(replace(demo, fresh=True))
    assert left(demo) == []
    assert (tmp_path / "elsewhere" / "precious").exists()


def test_a_second_demo_on_the_same_state_is_refused(demo: Demo) -> None:
    with demo.lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Fault, match="runs already"):
            run.run(demo)
