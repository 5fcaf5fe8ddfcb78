"""The limit of open files, which is that of connections as well."""

import resource

import pytest
from structlog.testing import capture_logs

from lalepass_service.http.descriptors import make_room_for

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limits", "becomes", "said"),
    [
        ((1024, 524_288), (1280, 524_288), []),
        ((1024, INFINITE), (1280, INFINITE), []),
        ((1280, 1280), None, []),
        ((20_000, 20_000), None, []),
        ((INFINITE, INFINITE), None, []),
        ((512, 1024), (1024, 1024), ["warning"]),
        ((1024, 1024), (1024, 1024), ["warning"]),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
    limits: tuple[int, int],
    becomes: tuple[int, int] | None,
    said: list[str],
) -> None:
    made: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda *given: made.append(given))
    with capture_logs() as lines:
        make_room_for(1024)

    assert made == ([] if becomes is None else [(resource.RLIMIT_NOFILE, becomes)])
    assert [line["log_level"] for line in lines] == said
