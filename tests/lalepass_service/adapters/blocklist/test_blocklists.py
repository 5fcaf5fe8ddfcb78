"""What every blocklist does: the fake, the built-in one and a file, by the same tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lalepass_service.adapters.blocklist.builtin import BuiltinBlocklist
from lalepass_service.adapters.blocklist.file import MappedBlocklist
from lalepass_service.adapters.blocklist.memory import MemoryBlocklist
from lalepass_service.core.ports import Blocklist
from tests.lalepass_service.adapters.blocklist.lists import a_list

WORDS = ["password", "12345678", "qwertyuiop", "administration"]
"""All of them are in zxcvbn's lists."""


@pytest.fixture(params=["memory", "built-in", "plain file", "sha1 file"])
def blocklist(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blocklist]:
    match request.param:
        case "memory":
            yield MemoryBlocklist(WORDS)
        case "built-in":
            yield BuiltinBlocklist()
        case kind:
            opened = MappedBlocklist.open(a_list(tmp_path / "list", WORDS, sha1="sha1" in kind))
            yield opened
            opened.close()


@pytest.mark.parametrize("word", WORDS)
def test_what_is_on_it_is_found(blocklist: Blocklist, word: str) -> None:
    assert blocklist.contains(word)


@pytest.mark.parametrize(
    "text", ["", "passwor", "password ", "Password", "password\n", "\ud800", "\0", "w" * 10_000]
)
def test_what_is_not_on_it_is_not_found(blocklist: Blocklist, text: str) -> None:
    assert not blocklist.contains(text)


def test_the_built_in_list_has_the_words_that_the_documents_promise() -> None:
    assert 40_000 <= len(BuiltinBlocklist()) <= 45_000
