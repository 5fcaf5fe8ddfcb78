import copy
import pickle
from collections.abc import Callable

import pytest

from lalepass_service.core.model import Password, PasswordRecord


def test_a_password_has_no_print() -> None:
    password = Password("correct horse")

    shown = f"{password} {password!r} {[password]} {password!s:>40}"

    assert "correct" not in shown
    assert password.reveal() == "correct horse"


@pytest.mark.parametrize("leave", [pickle.dumps, copy.deepcopy], ids=["pickle", "copy"])
def test_a_password_does_not_leave_the_process_in_a_pickle(
    leave: Callable[[Password], object],
) -> None:
    with pytest.raises(TypeError) as caught:
        leave(Password("correct horse"))

    assert "correct" not in str(caught.value)


def test_a_record_has_no_print() -> None:
    assert "argon2" not in repr(PasswordRecord("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"))
