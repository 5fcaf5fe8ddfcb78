"""What hashes in the image: compiled for processors like this one, or libsodium."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.docker.stack import CommandFailed, Stack, docker
from tests.lalepass_service.adapters.hashing.compiling import BINDINGS

# Makes a record, and says what becomes of those on standard input.
WORK = """
import json, sys
from lalepass_service.adapters.hashing import choose
name, *records = json.loads(sys.argv[1])
binding = choose(name, memory_kib=19456)
print(json.dumps({
    "name": binding.name,
    "made": binding.make(b"correct horse", memory_kib=19456, iterations=2).decode(),
    "right": [binding.verify(b"correct horse", phc=each.encode()) for each in records],
    "wrong": [binding.verify(b"correct house", phc=each.encode()) for each in records],
}))
"""


def work(stack: Stack, *arguments: str, options: tuple[str, ...] = ()) -> Any:
    image = f"lalepass:{stack.tag}"
    run = ["run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL", *options]
    command = ["--entrypoint=python", image, "-c", WORK, json.dumps(arguments)]
    return json.loads(docker(*run, *command).splitlines()[-1])


def test_the_service_hashes_with_the_best_that_this_machine_can_do(stack: Stack) -> None:
    log = docker("logs", stack.container("lalepass"), errors=True)
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]

    said = [line for line in lines if line["event"] == "ready"]
    assert {line["hashing"] for line in said} == {BINDINGS[0]}
    assert all(line["hash_milliseconds"] > 0 for line in said)
    assert not [line for line in lines if line["event"] == "a compiled Argon2 is not used"]


def test_a_record_of_any_is_right_for_every_other(stack: Stack) -> None:
    made = {name: work(stack, name) for name in BINDINGS}
    records = [each["made"] for each in made.values()]

    assert [each["name"] for each in made.values()] == list(BINDINGS)
    assert len(set(records)) == len(records)
    for name in BINDINGS:
        said = work(stack, name, *records)
        assert said["right"] == [True] * len(records)
        assert said["wrong"] == [False] * len(records)


@pytest.mark.parametrize("content", ["", "rubbish"])
def test_with_a_broken_library_it_is_libsodium(stack: Stack, tmp_path: Path, content: str) -> None:
    library = tmp_path / "libargon2.so"
    library.write_text(content)
    tmp_path.chmod(0o755)
    library.chmod(0o644)
    mount = f"--volume={library}:/opt/app/lib/lalepass/libargon2.so:ro"

    assert work(stack, "auto", options=(mount,))["name"] == "libsodium"
    with pytest.raises(CommandFailed, match="avx2: it can't be loaded"):
        work(stack, "avx2", options=(mount,))
