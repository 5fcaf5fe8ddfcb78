"""The demo: a real Synapse whose passwords only Lalepass knows. `make run`.

    python -m tools.run [--once] [--fresh] [--service-port N] [--synapse-port N] [--state DIRECTORY]

Exit codes: 0 the login worked (and, without --once, somebody ended the demo), 1 it did not work,
130 ended before the login.
"""

import argparse
import fcntl
import json
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from typing import Final, NoReturn

from tools import web
from tools.files import keep_private
from tools.processes import Process, ProcessError, port_is_free
from tools.progress import Progress
from tools.service import CommandRefused, Service
from tools.synapse import SynapseConfig

_STATE: Final = Path(".run/demo")
_SERVICE_PORT: Final = 8220
_SYNAPSE_PORT: Final = 8008
_USER: Final = "demo"
_OK: Final = 200
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Fault(Exception):
    """The demo can't go on; the message is the one sentence that a person gets."""


class Stopped(BaseException):
    """Somebody wants the demo to end: Ctrl-C, or a signal."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What belongs to a demo, and where it is kept."""

    state: Path
    service_port: int
    synapse_port: int

    @property
    def complete(self) -> Path:
        """Written when the first login has worked. Without it, the state is half-made."""
        return self.state / "complete"

    @property
    def lock(self) -> Path:
        """Held by a running demo. Beside the state, so that the state can be removed."""
        return self.state.with_name(f"{self.state.name}.lock")

    @property
    def token(self) -> Path:
        """What Synapse shows to the service."""
        return self.state / "synapse-token"

    @property
    def password(self) -> Path:
        """The demo user's."""
        return self.state / "demo-password"

    @property
    def service(self) -> Service:
        """The Lalepass service."""
        return Service(directory=self.state / "lalepass", port=self.service_port)

    @property
    def synapse(self) -> SynapseConfig:
        """The homeserver."""
        return SynapseConfig(
            directory=self.state / "synapse",
            port=self.synapse_port,
            service_url=self.service.address,
            token_path=self.token,
        )


def require_ports(demo: Demo) -> None:
    """Look before anything is started.

    Raises:
        Fault: a port is in use, or both are the same.
    """
    if demo.service_port == demo.synapse_port:
        raise Fault(f"Both ports are {demo.service_port}: the service and Synapse need one each.")
    for option, port in (
        ("--service-port", demo.service_port),
        ("--synapse-port", demo.synapse_port),
    ):
        if not port_is_free(port):
            raise Fault(
                f"Port {port} is in use: end what listens there, or choose another one, "
                f'such as `make run ARGS="{option} {port + 100}"`.'
            )


def prepare(demo: Demo, *, fresh: bool) -> bool:
    """Make the folder for the state, and say whether the demo was made before.

    Raises:
        Fault: it was half made.
    """
    if fresh and demo.state.exists():
        shutil.rmtree(demo.state)
    demo.state.mkdir(parents=True, exist_ok=True)
    demo.state.chmod(0o700)
    if demo.complete.exists():
        return True
    if any(demo.state.iterdir()):
        raise Fault(
            f"The state in {_shown(demo.state)} is half-made, because its first start did not get "
            "to the end: `make run ARGS=--fresh` removes it and starts anew."
        )
    return False


def run(demo: Demo, *, once: bool, fresh: bool) -> None:
    """Start everything, log in, and stay until somebody wants an end.

    Raises:
        Fault: it does not work.
    """
    progress = Progress("run")
    with _alone(demo), ExitStack() as running:
        require_ports(demo)
        made_before = prepare(demo, fresh=fresh)
        processes = _start(demo, progress, running, made_before=made_before)
        with progress.step(f"logging in as {_USER} through Synapse"):
            _log_in(demo)
        demo.complete.touch()
        print(_summary(demo, seconds=progress.elapsed, stays=not once), flush=True)
        if not once:
            _stay(processes)


def _start(
    demo: Demo, progress: Progress, running: ExitStack, *, made_before: bool
) -> Sequence[Process]:
    service, synapse = demo.service, demo.synapse
    with progress.step(f"preparing {_shown(demo.state)}"):
        if made_before:
            service.run("db", "migrate")
        else:
            service.init()
            service.run(
                "token", "create", "synapse", "--scope", "check", "--output", str(demo.token)
            )
        synapse.write()
    processes = service.process(), synapse.process()
    for process in processes:
        # The log of one demo: the last lines of an older one would only mislead.
        process.log.unlink(missing_ok=True)
        with progress.step(f"starting {process.name}"):
            running.enter_context(process).wait_until_healthy()
    if not made_before:
        with progress.step(f"making the user {_USER}"):
            password = keep_private(demo.password, readable_password())
            service.run(
                *("user", "add", _USER, "--display-name", "Demo", "--password-stdin"),
                password=password,
            )
    return processes


def readable_password() -> str:
    """Return a password of 63 random bits that can be read out, such as `tabo7-kemi2-...`."""
    syllables = [a + b for a in "bdfghjklmnprstvwz" for b in "aeiou"]
    return "-".join(
        secrets.choice(syllables) + secrets.choice(syllables) + secrets.choice("23456789")
        for _ in range(4)
    )


def _log_in(demo: Demo) -> None:
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": _USER},
        "password": demo.password.read_text(),
        "initial_device_display_name": "make run",
    }
    address = demo.synapse.address
    try:
        answer = web.request(
            "POST", f"{address}/_matrix/client/v3/login", content=login, timeout=30
        )
        if answer.status != _OK:
            text = answer.body.decode("utf-8", "replace")
            raise Fault(f"The login was answered with {answer.status}: {text}")
        # What is left behind would appear as a strange device in the user's list.
        token = {"Authorization": f"Bearer {json.loads(answer.body)['access_token']}"}
        web.request("POST", f"{address}/_matrix/client/v3/logout", content={}, headers=token)
    except (OSError, HTTPException, ValueError, KeyError) as error:
        raise Fault(f"The login was not answered as it should be: {error!r}.") from error


def _stay(processes: Sequence[Process]) -> None:
    try:
        while True:
            for process in processes:
                process.check_alive(wait=0.5)
    except Stopped:
        # On a terminal the line has a ^C on it.
        print("\nrun: stopping", flush=True)


def _summary(demo: Demo, *, seconds: float, stays: bool) -> str:
    password = demo.password.read_text()
    homeserver = f"http://localhost:{demo.synapse_port}"
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": _USER},
        "password": password,
    }
    end = "Both run until Ctrl-C." if stays else "Both are stopped now, as --once asks for."
    return f"""
It works: {_USER} has logged in to a real Synapse {metadata.version("matrix-synapse")}, with a \
password that only Lalepass knows ({seconds:.0f} s).

  Synapse   {homeserver}/    for Matrix clients
  Lalepass  {demo.service.address}/    for Synapse; GET /health/ready says how it is
  State     {_shown(demo.state)}: configuration, databases, logs

To log in, give any Matrix client on this machine
  homeserver  {homeserver}
  user        {_USER}
  password    {password}    (kept in {_shown(demo.password)})
or, by hand:
  curl {homeserver}/_matrix/client/v3/login -d '{json.dumps(body)}'

To add a user: .venv/bin/lalepass --config {_shown(demo.service.config)} user add NAME
{end}
"""


@contextmanager
def _alone(demo: Demo) -> Iterator[None]:
    """Keep a second demo away from the same databases."""
    demo.lock.parent.mkdir(parents=True, exist_ok=True)
    with demo.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fault(
                f"A demo with its state in {_shown(demo.state)} runs already: end it first."
            ) from None
        yield


def _shown(path: Path) -> Path:
    """Return a path as a person would type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _stop(*_: object) -> NoReturn:
    # Once is enough: a second Ctrl-C must not keep us from ending the children.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:  # noqa: PLR2004 - every port there is
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make run")
    parser.add_argument("--once", action="store_true", help="end after the login")
    parser.add_argument("--fresh", action="store_true", help="forget the state of earlier demos")
    parser.add_argument("--service-port", type=_port, default=_SERVICE_PORT, metavar="N")
    parser.add_argument("--synapse-port", type=_port, default=_SYNAPSE_PORT, metavar="N")
    parser.add_argument("--state", type=Path, default=_STATE, metavar="DIRECTORY")
    return parser


def _explain(error: Exception) -> None:
    sentence = str(error)
    if isinstance(error, ProcessError):
        print(f"run: the end of {_shown(error.log)}:\n{error.log_tail}\n", file=sys.stderr)
        sentence = f"{sentence[0].upper()}{sentence[1:]}: its log is {_shown(error.log)}."
    elif isinstance(error, OSError):
        sentence = f"{error.strerror}: {error.filename}."
    print(f"run: {sentence}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    options = _parser().parse_args(arguments)
    demo = Demo(
        state=options.state.absolute(),
        service_port=options.service_port,
        synapse_port=options.synapse_port,
    )
    for number in _SIGNALS:
        signal.signal(number, _stop)
    try:
        run(demo, once=options.once, fresh=options.fresh)
    except (Fault, ProcessError, CommandRefused, OSError) as error:
        _explain(error)
        return 1
    except Stopped:
        print("\nrun: stopped before the login", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
