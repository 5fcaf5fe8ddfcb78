"""What Synapse asks and is told, and when a lock may be an error."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from synapse.api.errors import Codes, UserLockedError
from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    ContextRequest,
    LoggingContext,
)

from lalepass_provider.errors import Unreachable
from lalepass_provider.lifecycle import Lifecycle
from lalepass_provider.metrics import Metrics
from lalepass_wire import Source
from lalepass_wire.feed import Account, ReportKind
from tests.lalepass_provider.fakes import FakeHomeserver
from tests.lalepass_provider.fakes_lifecycle import FakeBackground, FakeService


class Running:
    def __init__(
        self,
        service: FakeService | None = None,
        *,
        worker: str | None = None,
        state_path: Path | None = None,
        local: str = "",
    ) -> None:
        self.service = service or FakeService()
        self.homeserver = FakeHomeserver()
        if worker:
            self.homeserver.worker_app = "synapse.app.generic_worker"
            self.homeserver.worker_name = worker
        self.registry = CollectorRegistry()
        self.namesakes: set[str] = set()
        self.broken = False
        self.applied: list[str] = []
        self.background = FakeBackground()
        self.lifecycle = Lifecycle(
            homeserver=cast("Any", self.homeserver),
            service=self.service,
            is_ours=self._is_ours,
            apply_profile=self._apply_profile,
            state_path=str(state_path) if state_path else None,
            is_local_user=lambda localpart: localpart == local,
            background=self.background,
            metrics=Metrics(self.registry),
        )

    async def _is_ours(self, mxid: str) -> bool:
        if self.broken:
            raise RuntimeError("the database is away")
        return mxid not in self.namesakes

    async def _apply_profile(self, account: Account) -> None:
        self.applied.append(account.localpart)

    def follow(self) -> None:
        self.background.do(self.background.repeated["follow"]())

    def expired(self, user_id: str) -> Any:
        return self.background.do(self.homeserver.callbacks["is_user_expired"](user_id))

    def end(self) -> None:
        for work in self.background.ends:
            self.background.do(work())


def a_request(requester: str | None) -> LoggingContext:
    return LoggingContext(
        name="test",
        server_name="hs.example",
        request=ContextRequest(
            request_id="GET-1",
            ip_address="192.0.2.7",
            site_tag="8008",
            requester=requester,
            authenticated_entity=requester,
            method="GET",
            url="/sync",
            protocol="1.1",
            user_agent="Element",
        ),
    )


@pytest.fixture
def it() -> Running:
    it = Running(local="admin")
    for name in ("bob", "admin"):
        it.service.disable(name)
    it.follow()
    return it


def test_while_a_request_is_authenticated_a_lock_is_what_synapse_calls_a_lock(it: Running) -> None:
    with a_request(requester=None), pytest.raises(UserLockedError) as caught:
        it.expired("@bob:hs.example")

    assert caught.value.code == 401
    assert caught.value.errcode == Codes.USER_LOCKED
    assert caught.value.error_dict(None)["soft_logout"] is True


def test_within_another_persons_request_nothing_is_raised(it: Running) -> None:
    """The pusher pool asks about all who are to be notified."""
    with a_request(requester="@alice:hs.example"):
        assert it.expired("@bob:hs.example") is True
        assert it.expired("@alice:hs.example") is None


def test_in_the_background_nothing_is_raised(it: Running) -> None:
    assert it.expired("@bob:hs.example") is True
    with LoggingContext(name="background", server_name="hs.example"):
        assert it.expired("@bob:hs.example") is True


@pytest.mark.parametrize(
    ("user_id", "locked"),
    [
        ("@bob:hs.example", True),
        ("@Bob:hs.example", True),
        ("@BOB:hs.example", True),
        ("@alice:hs.example", False),
        ("@bobby:hs.example", False),
        ("@bo:hs.example", False),
        ("@admin:hs.example", False),
        ("@Admin:hs.example", False),
        ("@\u212aate:hs.example", False),
        ("@b\u0130b:hs.example", False),
        ("", False),
        ("@", False),
        ("@:hs.example", False),
        ("bob", False),
    ],
)
def test_a_name_is_locked_in_whatever_capitals(it: Running, user_id: str, *, locked: bool) -> None:
    assert it.lifecycle.is_locked(user_id) is locked


def test_a_kelvin_sign_is_no_k() -> None:
    it = Running()
    it.service.disable("kate")
    it.follow()

    assert it.lifecycle.is_locked("@Kate:hs.example")
    assert not it.lifecycle.is_locked("@\u212aate:hs.example")


def test_a_namesake_is_not_locked(it: Running) -> None:
    it.namesakes = {"@bob:hs.example"}

    with a_request(requester=None):
        assert it.expired("@bob:hs.example") is None


def test_what_can_not_be_found_out_keeps_a_lock(it: Running) -> None:
    it.broken = True

    with a_request(requester=None), pytest.raises(UserLockedError):
        it.expired("@bob:hs.example")


def test_profiles_are_brought_in_step_from_where_the_following_began(it: Running) -> None:
    push = it.background.repeated["profiles"]
    it.service.set("alice")
    it.service.disable("carol")
    it.background.do(push())
    it.background.do(push())

    assert it.applied == ["alice"]


def test_the_metrics_tell_how_many_are_locked_and_how_old_that_is(it: Running) -> None:
    assert it.registry.get_sample_value("lalepass_provider_locked_accounts") == 2
    age = it.registry.get_sample_value("lalepass_provider_feed_age_seconds")
    assert age is not None
    assert 0 <= age < 120


def test_only_the_main_process_carries_out_orders() -> None:
    worker = Running(worker="generic_worker1")
    worker.service.order("o1", "bob")
    worker.follow()
    worker.follow()

    assert worker.lifecycle.sign_outs is None
    assert worker.service.acknowledged == []


def test_an_order_to_sign_out_is_not_for_local_users_and_namesakes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whom Lalepass must not touch is not signed out either, whatever is ordered there."""
    given: list[Callable[[str], Awaitable[bool]]] = []

    def sessions(_: object, *, is_ours: Callable[[str], Awaitable[bool]]) -> object:
        given.append(is_ours)
        return object()

    monkeypatch.setattr("lalepass_provider.lifecycle.SynapseSessions", sessions)
    it = Running(local="admin")
    it.namesakes.add("@carol:hs.example")
    (may_end,) = given

    assert it.background.do(may_end("@Bob:hs.example"))
    for mxid in ("@admin:hs.example", "@Admin:hs.example", "@carol:hs.example"):
        assert not it.background.do(may_end(mxid))


def test_a_logout_is_reported_and_its_token_is_not(it: Running) -> None:
    log_out = it.homeserver.callbacks["on_logged_out"]
    it.background.do(log_out("@Alice:hs.example", "D1", "syt_token-canary"))
    it.background.do(log_out("@admin:hs.example", "D2", "syt_token-canary"))
    it.background.do(log_out("@alice:other.example", "D3", "syt_token-canary"))
    it.background.do(log_out("@\u00e9:hs.example", "D4", "syt_token-canary"))
    it.end()

    (report,) = it.service.reports
    assert (report.kind, report.localpart, report.device_id) == (
        ReportKind.SIGNED_OUT,
        "alice",
        "D1",
    )
    assert b"canary" not in b"".join(it.service.batches)


def test_a_login_is_reported_with_its_device_and_source(it: Running) -> None:
    report_login = it.lifecycle.report_login(Source(ip="192.0.2.7", user_agent="Element"))
    login = {"user_id": "@alice:hs.example", "device_id": "D1", "access_token": "token-canary"}
    it.background.do(report_login(cast("Any", login)))
    it.end()

    (report,) = it.service.reports
    assert (report.kind, report.localpart, report.device_id) == (
        ReportKind.SIGNED_IN,
        "alice",
        "D1",
    )
    assert report.source == Source(ip="192.0.2.7", user_agent="Element")
    assert b"canary" not in b"".join(it.service.batches)


def test_an_end_while_the_service_is_away_says_what_is_not_reported(
    it: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """Synapse would write a traceback for whatever is raised there."""
    it.service.trouble = Unreachable("nobody is there")
    it.background.do(it.homeserver.callbacks["on_logged_out"]("@alice:hs.example", "D1", "syt_x"))
    it.end()

    assert it.background.failures == []
    assert "1 logins and logouts will not be reported: nobody is there" in caplog.text


def test_a_restarted_process_knows_the_locked_while_the_service_is_away(tmp_path: Path) -> None:
    service = FakeService()
    service.disable("bob")
    first = Running(service, state_path=tmp_path / "locked")
    first.follow()
    first.end()

    service.trouble = Unreachable("refused")
    second = Running(service, state_path=tmp_path / "locked")
    assert second.lifecycle.is_locked("@bob:hs.example")
    second.follow()
    assert second.lifecycle.is_locked("@bob:hs.example")

    service.trouble = None
    service.set("bob")
    second.follow()
    assert not second.lifecycle.is_locked("@bob:hs.example")
    # it went on from its place in the feed, without reading everything again
    assert [what for what, _ in service.asked].count("locked") == 1


def test_a_restarted_process_does_no_order_again_that_its_file_says_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For sessions whose age nobody knows: a repetition would end those of after the order."""
    ended: list[str] = []

    class Sessions:
        def __init__(self, *_: object, **__: object) -> None:
            """Know nobody."""

        async def end_older(self, localpart: str, *, than_ms: int) -> list[Any]:
            assert than_ms
            ended.append(localpart)
            return []

    monkeypatch.setattr("lalepass_provider.lifecycle.SynapseSessions", Sessions)
    service = FakeService()
    service.order("o1", "bob")
    first = Running(service, state_path=tmp_path / "state")
    for _ in range(2):  # the locked, and then what was ordered
        first.follow()
    first.background.turn(1.0)
    assert (ended, service.acknowledged) == (["bob"], [("o1",)])

    service.order("o1", "bob")  # as if the acknowledgement had been lost
    second = Running(service, state_path=tmp_path / "state")
    second.follow()
    second.background.turn(1.0)
    assert (ended, service.acknowledged) == (["bob"], [("o1",), ("o1",)])


def test_each_worker_has_a_file_of_its_own(tmp_path: Path) -> None:
    service = FakeService()
    service.disable("bob")
    for worker in (None, "w1"):
        process = Running(service, worker=worker, state_path=tmp_path / "locked")
        process.follow()
        process.end()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["locked", "locked.w1"]
