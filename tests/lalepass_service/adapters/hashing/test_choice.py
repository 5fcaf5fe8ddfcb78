"""Which binding is chosen, and what becomes of a library that is not as it should be."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import structlog

from lalepass_service.adapters.hashing import NoSuchBinding, choice, choose, compiled
from tests.lalepass_service.adapters.hashing.compiling import BINDINGS, binding_of
from tools import native

UNSUPPORTED = "unsupported"
SOUND = ""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library of its own: the level is the library's, and stays."""
    binding_of("avx2")
    return Path(shutil.copy(native.library(), tmp_path / "libargon2.so"))


def answers(by_level: Mapping[int, str]) -> Callable[[Path, int], str]:
    def look(_: Path, level: int) -> str:
        if by_level[level] == UNSUPPORTED:
            raise compiled.Unsupported("this processor can't do it")
        return by_level[level]

    return look


# What another process finds for AVX-512 and for AVX2, what is chosen then, and whether it is said.
FOUND = {
    "a new processor": (SOUND, SOUND, "avx512", []),
    "without AVX-512": (UNSUPPORTED, SOUND, "avx2", []),
    "without AVX2": (UNSUPPORTED, UNSUPPORTED, "libsodium", []),
    "AVX-512 crashes": ("it was ended by signal 4", SOUND, "avx2", ["avx512"]),
    "AVX-512 is wrong": ("it does not compute what it should", SOUND, "avx2", ["avx512"]),
    "AVX2 crashes": (UNSUPPORTED, "it was ended by signal 4", "libsodium", ["avx2"]),
    "both hang": ("it hangs", "it hangs", "libsodium", ["avx512", "avx2"]),
}


@pytest.mark.parametrize(
    ("first", "second", "chosen", "said"),
    [pytest.param(*row, id=name) for name, row in FOUND.items() if row[2] in BINDINGS],
)
def test_the_fastest_that_is_sound_is_chosen(
    library: Path, first: str, second: str, chosen: str, said: list[str]
) -> None:
    with structlog.testing.capture_logs() as logs:
        binding = choose(
            "auto", memory_kib=19456, library=library, look=answers({4: first, 3: second})
        )

    assert binding.name == chosen
    assert [(each["log_level"], each["binding"]) for each in logs] == [
        ("warning", name) for name in said
    ]
    phc = binding.make(b"correct horse", memory_kib=19456, iterations=2)
    assert binding.verify(b"correct horse", phc=phc)


def test_without_a_library_it_is_libsodium_and_nothing_is_said(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        binding = choose("auto", memory_kib=19456, library=tmp_path / "none.so")

    assert (binding.name, logs) == ("libsodium", [])


def test_libsodium_can_be_asked_for(library: Path) -> None:
    def look(*_: object) -> str:
        raise AssertionError("nobody has to look")

    assert choose("libsodium", memory_kib=19456, library=library, look=look).name == "libsodium"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (UNSUPPORTED, "avx2: this processor can't do it"),
        ("it was ended by signal 4", "avx2: it was ended by signal 4"),
    ],
)
def test_what_is_asked_for_by_name_and_can_not_be_had_is_refused(
    library: Path, found: str, why: str
) -> None:
    with pytest.raises(NoSuchBinding, match=why):
        choose("avx2", memory_kib=19456, library=library, look=answers({3: found}))


def test_a_name_without_its_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoSuchBinding, match="avx512: there is no "):
        choose("avx512", memory_kib=19456, library=tmp_path / "none.so")
    with pytest.raises(NoSuchBinding, match="there is no md5"):
        choose("md5", memory_kib=19456)


def test_a_sound_library_has_no_fault(library: Path) -> None:
    assert choice.fault_of(library, 3) == ""


def test_a_level_that_no_processor_has_is_nobody_s_fault(library: Path) -> None:
    with pytest.raises(compiled.Unsupported):
        choice.fault_of(library, 9)


WRONG = "int argon2id_verify() { return 0; }"
CRASH = "int argon2id_verify() { __builtin_trap(); }"
HANG = 'int argon2id_verify() { for (;;) __asm__ volatile(""); }'
REST = """
#include <stddef.h>
size_t lalepass_keep;
int lalepass_choose(int level) { return level == 9; }
int argon2_hash(unsigned t, unsigned m, unsigned p, void *w, size_t wl, void *s, size_t sl,
                void *h, size_t hl, char *record) {
    __builtin_strcpy(record, "%s");
    return 0;
}
"""
KNOWN = (
    "$argon2id$v=19$m=19456,t=2,p=1"
    "$uLVjOMbC2adKXsZj3k5S4Q$yMu0oLJsVV18U9thiPO76UP6zr4JzVLosLjztpIHyxc"
)


def made_of(source: str, folder: Path) -> Path:
    """Return a library of so much C."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler here")
    file = folder / "libargon2.so"
    command = ["cc", "-shared", "-fPIC", "-w", "-x", "c", "-o", str(file), "-"]
    subprocess.run(command, input=source, text=True, check=True, timeout=60)
    return file


@pytest.mark.parametrize(
    ("verify", "record", "fault"),
    [
        # It takes every password for right.
        (WRONG, KNOWN, "it does not compute what it should"),
        (WRONG, KNOWN[:-1], "it does not compute what it should"),
        (CRASH, KNOWN, f"it was ended by signal {int(signal.SIGILL)}"),
    ],
    ids=["wrong", "another record", "an illegal instruction"],
)
def test_a_library_that_is_wrong_or_crashes_ends_nobody_but_its_tester(
    tmp_path: Path, verify: str, record: str, fault: str
) -> None:
    library = made_of(verify + REST % record, tmp_path)

    assert choice.fault_of(library, 4) == fault
    with structlog.testing.capture_logs() as logs:
        assert choose("auto", memory_kib=19456, library=library).name == "libsodium"
    assert [each["why"] for each in logs] == [fault, fault]


def test_a_library_that_never_ends_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_SECONDS", 2.0)

    fault = choice.fault_of(made_of(HANG + REST % KNOWN, tmp_path), 4)

    assert fault == "it did not come to an end"


@pytest.mark.parametrize("content", [b"", b"\x7fELF rubbish", b"#!/bin/sh\n"], ids=repr)
def test_what_is_no_library_can_not_be_loaded(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "libargon2.so"
    file.write_bytes(content)

    assert choice.fault_of(file, 3) == "it can't be loaded"
    assert choose("auto", memory_kib=19456, library=file).name == "libsodium"


def test_another_library_can_not_be_loaded(tmp_path: Path) -> None:
    assert choice.fault_of(made_of("int nothing;", tmp_path), 3) == "it can't be loaded"


OLDER = {
    ("Nehalem", 3): compiled.UNSUPPORTED,
    ("Nehalem", 4): compiled.UNSUPPORTED,
    # It has AVX, and no AVX2.
    ("Opteron_G5", 3): compiled.UNSUPPORTED,
    ("Haswell-noTSX", 3): compiled.OK,
    ("Haswell-noTSX", 4): compiled.UNSUPPORTED,
}


@pytest.fixture(scope="module")
def emulated(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[tuple[str, int], subprocess.Popen[bytes]]]:
    """All of OLDER, begun at once: a Python that is emulated takes seconds to start."""
    binding_of("avx2")
    library = shutil.copy(native.library(), tmp_path_factory.mktemp("emulated") / "libargon2.so")
    python = str(Path(sys.executable).resolve())
    begun = {
        (processor, level): subprocess.Popen(
            [
                *("qemu-x86_64", "-cpu", processor, python, "-I", "-S"),
                *(str(compiled.__file__), str(library), str(level)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for processor, level in OLDER
    }
    yield begun
    for process in begun.values():
        process.kill()
        process.communicate()


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-user is not installed")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("processor", "level"), OLDER)
def test_an_older_processor_never_meets_an_instruction_that_it_does_not_know(
    emulated: dict[tuple[str, int], subprocess.Popen[bytes]], processor: str, level: int
) -> None:
    process = emulated[processor, level]

    _, said = process.communicate(timeout=500)

    assert process.returncode == OLDER[processor, level], said


@pytest.mark.parametrize("name", compiled.LEVELS)
def test_the_levels_are_those_that_the_kernel_names(library: Path, name: str) -> None:
    if name in BINDINGS:
        assert choice.fault_of(library, compiled.LEVELS[name]) == ""
    else:
        with pytest.raises(compiled.Unsupported):
            choice.fault_of(library, compiled.LEVELS[name])


def test_the_tester_learns_nothing_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LALEPASS_SECRET", "x")
    seen = tmp_path / "seen"
    write = f"""
#include <stdio.h>
extern char **environ;
__attribute__((constructor)) static void look(void) {{
    FILE *to = fopen("{seen}", "w");
    for (char **each = environ; *each; ++each) fprintf(to, "%s\\n", *each);
    fclose(to);
}}
"""
    choice.fault_of(made_of(write + WRONG + (REST % KNOWN), tmp_path), 4)

    assert "SECRET" in os.linesep.join(f"{key}={value}" for key, value in os.environ.items())
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert names <= {"LC_CTYPE"}
