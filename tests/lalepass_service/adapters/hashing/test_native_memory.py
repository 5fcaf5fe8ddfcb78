"""What the compiled Argon2 does with memory, where what surrounds it is not as it usually is."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.locks import ROOT

# Its first key is number 0, which is what a key is that was never made. With an argument, no other
# one can be made.
HARNESS = """
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int __real_pthread_key_create(pthread_key_t *, void (*)(void *));
int __real_munmap(void *, size_t);
static int failing, unmapped;

int __wrap_pthread_key_create(pthread_key_t *key, void (*end)(void *)) {
    return failing ? EAGAIN : __real_pthread_key_create(key, end);
}
int __wrap_munmap(void *memory, size_t size) {
    unmapped++;
    return __real_munmap(memory, size);
}

int main(int count, char **arguments) {
    (void)arguments;
    failing = count > 1;
    size_t size = 19 << 20;
    pthread_key_t somebodys;
    assert(__real_pthread_key_create(&somebodys, NULL) == 0);
    pthread_setspecific(somebodys, "theirs");

    char *first = malloc(size), *second = malloc(size);
    assert(first && second && first != second);
    memset(first, 1, size);
    memset(second, 2, size);
    assert(first[0] == 1 && first[size - 1] == 1);
    free(first);
    char *third = malloc(size);
    assert(third && third != second);
    memset(third, 3, size);
    assert(second[0] == 2 && second[size - 1] == 2);
    free(second);
    free(third);

    const char *whose = pthread_getspecific(somebodys);
    assert(whose && strcmp(whose, "theirs") == 0);
    printf("%d\\n", unmapped);
    return 0;
}
"""
WRAPPED = "-Wl,--wrap=malloc,--wrap=free,--wrap=munmap,--wrap=pthread_key_create"


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no compiled Argon2: there is no C compiler here")
    folder = tmp_path_factory.mktemp("native")
    source, made = folder / "harness.c", folder / "harness"
    source.write_text(HARNESS)
    memory = ROOT / "service" / "native" / "memory.c"
    flags = ["-O1", "-fno-builtin", WRAPPED, "-pthread"]
    subprocess.run([compiler, *flags, "-o", made, source, memory], check=True, timeout=120)
    return made


def unmapped(*command: str | Path) -> int:
    """Return how often it has given memory back."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return int(done.stdout)


def test_memory_is_kept_for_the_next_hash_and_lent_once_at_a_time(harness: Path) -> None:
    assert unmapped(harness) == 0


def test_without_a_notice_of_the_end_of_a_thread_nothing_is_kept(harness: Path) -> None:
    """Or it would stay when the thread has gone, and somebody else's key be written to."""
    assert unmapped(harness, "failing") == 2
