"""The composition root of the server: the one place that knows every part of it."""

import asyncio
import gc
import ipaddress
import math
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from lalepass_service import parts
from lalepass_service.adapters.certificates import end_of
from lalepass_service.adapters.hashing.bindings import Binding
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.config import Config, Server
from lalepass_service.faults import ConfigFault, OutsideFault
from lalepass_service.http import api
from lalepass_service.http.descriptors import make_room_for
from lalepass_service.http.metrics import Figure
from lalepass_service.http.protocol import BoundedProtocol
from lalepass_service.http.server import Ending
from lalepass_service.http.server import Server as HttpServer
from lalepass_service.http.signals import Signals
from lalepass_service.http.tls import CertificateFiles, CertificateUnusable, ServerTls
from lalepass_service.version import installed_version

_log: Final = structlog.stdlib.get_logger(__name__)

IN_THE_OPEN: Final = (
    "tokens and passwords travel unencrypted: set tls_certificate, or use a TLS proxy"
)

_PING_SECONDS: Final = 2.0
_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the pools of usual clients keep a connection: the side that sends requests should
be the one that closes, or a request meets a connection that is just being closed."""


def serve(config: Config, *, binding: Binding | None = None) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish what is under way.

    Args:
        config: the settings.
        binding: what hashes, in the place of what the settings choose.

    Raises:
        ConfigFault: a setting can't be right.
        OutsideFault: the port or the database is not as it has to be.
        BlocklistUnavailable: a blocklist isn't, either.
    """
    with Signals() as signals:
        tls = _checked(config)
        # The port comes first: a second instance, started by mistake, must not touch the database.
        with listen(config.server) as listener:
            # An empty one is not for it to fill: it may be that the right one was not found.
            parts.require_current_schema(config)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(config, listener, tls, binding, signals))


def _checked(config: Config) -> ServerTls | None:
    """Look at what can be looked at without a database, and return the certificates."""
    parts.check_hashing(config)
    parts.check_passwords(config)
    parts.check_copy(config)
    parts.check_valkey(config)
    parts.check_replicas(config)
    return tls_of(config.server)


def listen(server: Server) -> socket.socket:
    """Bind the address.

    Raises:
        OutsideFault: it is in use, not ours or not to be resolved.
    """
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        return socket.create_server(
            (server.host, server.port), family=family, backlog=server.backlog
        )
    except OSError as error:
        # Python adds the address to the text, and we do.
        why = (error.strerror or str(error)).partition(" (while attempting")[0]
        raise OutsideFault(f"can't listen on {address(server)}: {why}") from error


def address(server: Server) -> str:
    """Return the address as an URL has it."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"


def tls_of(server: Server) -> ServerTls | None:
    """Read the certificates, if there are any.

    Raises:
        ConfigFault: one of the files can't be used.
    """
    if not server.tls_certificate:
        return None
    files = CertificateFiles(
        Path(server.tls_certificate),
        Path(server.tls_key),
        client_authority=Path(server.tls_client_ca) if server.tls_client_ca else None,
    )
    try:
        return ServerTls(files, end_of=end_of)
    except CertificateUnusable as fault:
        raise ConfigFault(f"server.{fault.option}: {fault}") from None


async def _serve(
    config: Config,
    listener: socket.socket,
    tls: ServerTls | None,
    binding: Binding | None,
    signals: Signals,
) -> None:
    make_room_for(config.server.max_connections)
    ending = Ending()
    async with (
        ending.of_a_start(signals),
        parts.open_service(config, binding=binding) as service,
    ):
        application = api.build(
            check=service.check,
            followers=service.followers,
            registry=service.registry,
            ready=partial(_ready, ending, service.database),
            hasher=service.hasher,
            trail=service.trail,
            counters=service.counters,
            replicas=service.replicas,
            figures=list(_figures(service, tls)),
            primaries=service.primaries,
            request_timeout=config.server.request_timeout,
            clock=service.clock,
            service_version=installed_version(),
        )
        server = HttpServer(
            uvicorn_settings(config.server, application),
            ending=ending,
            signals=signals,
            drain_seconds=config.server.drain_seconds,
            tls=tls.context if tls else None,
        )
        server.url = f"{'https' if tls else 'http'}://{address(config.server)}"
        server.release = service.followers.watch.release
        server.before_stop = service.followers.watch.stop
        server.facts = {
            "hashing": service.hasher.binding,
            # The first one, made at the start.
            "hash_milliseconds": round(1000 * service.hasher.load().seconds, 1),
        }
        if is_open(config.server):
            _log.warning(IN_THE_OPEN, host=config.server.host)
        if config.keys.directory is None:
            _log.warning("records are stored without a key: see docs/keys.md")
        async with _following(tls):
            _keep_for_good()
            await server.serve([listener])
    _log.info("stopped")


def _figures(service: parts.Service, tls: ServerTls | None) -> Iterator[Figure]:
    """Yield what else there is to show."""
    hot, lag = service.hot, service.lag
    yield Figure(
        "lalepass_database_connections",
        "Connections to the database that checks may use",
        lambda: hot.connections,
    )
    yield Figure(
        "lalepass_database_queued",
        "What these have to do, and are doing",
        lambda: hot.queued,
    )
    if lag is not None:
        yield Figure(
            "lalepass_replica_behind_bytes",
            "How much of the primary's log a standby had not replayed when it was last looked at",
            lambda: lag.behind,
        )
    if tls is not None:
        yield Figure(
            "lalepass_certificate_end_seconds",
            "When the certificate of the service ends, in seconds since 1970",
            lambda: tls.end,
        )


def _keep_for_good() -> None:
    """Let the garbage collector pass over what is there now, and stays until the end.

    It would look at all of it each time that it looks at old objects, while everybody waits: beside
    hashes, which leave nothing in the processor's caches, for 40 to 270 ms.
    """
    gc.collect()
    gc.freeze()


async def _ready(ending: Ending, database: Database) -> None:
    """Find out whether this replica should be asked.

    Raises:
        Leaving: not any more.
        StoreUnavailable: it could not answer.
    """
    ending.check()
    await database.ping(_PING_SECONDS)


@asynccontextmanager
async def _following(tls: ServerTls | None) -> AsyncIterator[None]:
    """Take new certificates as long as requests are answered."""
    if tls is None:
        yield
        return
    task = asyncio.create_task(tls.follow())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def uvicorn_settings(server: Server, application: FastAPI) -> uvicorn.Config:
    """Return how uvicorn is to serve: with our limits, and in silence, since ours is the log."""
    return uvicorn.Config(
        application,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=server.max_connections,
        backlog=server.backlog,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        # Each request has a deadline of its own, so this is only the second fence.
        timeout_graceful_shutdown=math.ceil(server.request_timeout) + 1,
    )


def is_open(server: Server) -> bool:
    """Say whether what it is told can be read on the way there: no TLS, and another machine."""
    if server.tls_certificate:
        return False
    try:
        return not ipaddress.ip_address(server.host).is_loopback
    except ValueError:
        return server.host != "localhost"


def openapi_document() -> dict[str, Any]:
    """Return the description of the API, without opening anything."""
    application = api.build(
        check=_absent(),
        followers=_absent(),
        registry=_absent(),
        ready=_absent(),
        hasher=_Idle(),
        trail=_absent(),
        request_timeout=1,
        clock=_absent(),
        service_version="",
    )
    return application.openapi()


class _Idle:
    """Stands for the hasher."""

    binding = ""
    lost: Mapping[str, int] = MappingProxyType({})

    def load(self) -> Any:  # noqa: ANN401 - nothing asks for it
        return None

    def admit(self, *, coming: int) -> None:
        del coming


def _absent() -> Any:  # noqa: ANN401 - stands for any part; nothing asks it anything
    return None
