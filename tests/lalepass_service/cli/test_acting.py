import os
import pwd

import pytest

from lalepass_service.cli.acting import operator as acting

ME = f"operator:{pwd.getpwuid(os.geteuid()).pw_name}"


@pytest.mark.parametrize(
    ("before", "facts"),
    [
        ({}, {}),
        ({"SUDO_USER": ""}, {}),
        ({"SUDO_USER": "anna"}, {"sudo_user": "anna"}),
        ({"SUDO_USER": "a\nb"}, {}),
        ({"SUDO_USER": "\udcff"}, {}),
        ({"SUDO_USER": "a" * 100}, {"sudo_user": "a" * 64}),
    ],
    ids=str,
)
def test_who_it_was_before_sudo_is_a_fact_beside_the_name(
    before: dict[str, str], facts: dict[str, str]
) -> None:
    actor = acting(before)

    assert (actor.name, actor.facts) == (ME, facts)
