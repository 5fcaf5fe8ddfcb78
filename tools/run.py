"""The demo: a real Synapse whose passwords only Lalepass knows. `make run`.

    python -m tools.run [--once] [--fresh] [--service-port N] [--synapse-port N] [--state DIRECTORY]

Exit codes: 0 the login worked (and, without --once, somebody ended the demo), 1 it did not work,
130 ended before the login.
"""

import argparse
import json
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from typing import Final, NoReturn

from tools import web
from tools.demo import (
    LAST_PORT,
    SERVICE_PORT,
    STATE,
    SYNAPSE_PORT,
    Demo,
    Fault,
    alone,
    prepare,
    require_ports,
    shown,
)
from tools.files import keep_private
from tools.processes import Process, ProcessError
from tools.progress import Progress
from tools.service import CommandRefused

_USER: Final = "demo"
_OK: Final = 200
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody wants the demo to end: Ctrl-C, or a signal."""


def run(demo: Demo) -> None:
    """Start everything, log in, and stay until somebody wants an end.

    Raises:
        Fault: it does not work.
    """
    progress = Progress("run")
    with alone(demo), ExitStack() as running:
        require_ports(demo)
        made_before = prepare(demo)
        processes = _start(demo, progress, running, made_before=made_before)
        with progress.step(f"logging in as {_USER} through Synapse"):
            _log_in(demo)
        demo.complete.touch()
        try:
            print(summary(demo, seconds=progress.elapsed), flush=True)
            if not demo.once:
                _watch(processes)
        except Stopped:
            # On a terminal the line has a ^C on it.
            print("\nrun: stopping", flush=True)


def _start(
    demo: Demo, progress: Progress, running: ExitStack, *, made_before: bool
) -> Sequence[Process]:
    service, synapse = demo.service, demo.synapse
    with progress.step(f"preparing {shown(demo.state)}"):
        if made_before:
            service.run("db", "migrate")
        else:
            service.init()
            service.run(
                "token",
                "create",
                "synapse",
                "--scope",
                "check",
                "--scope",
                "feed",
                "--output",
                str(demo.token),
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


def _watch(processes: Sequence[Process]) -> NoReturn:
    while True:
        for process in processes:
            process.check_alive(wait=0.5)


def summary(demo: Demo, *, seconds: float) -> str:
    """Return what a person gets to read when it works. The lines fit 80 columns."""
    password = demo.password.read_text()
    homeserver = f"http://localhost:{demo.synapse_port}"
    release = metadata.version("matrix-synapse")
    end = "Both are stopped now, as --once asks for." if demo.once else "Both run until Ctrl-C."
    return f"""
It works: {_USER} has logged in to a real Synapse {release}, with a password
that only Lalepass knows ({seconds:.0f} s).

  Synapse   {homeserver}/    for Matrix clients
  Lalepass  {demo.service.address}/    for Synapse; /health/ready says how it is
  State     {shown(demo.state)}: configuration, databases, logs

To log in, give any Matrix client on this machine
  homeserver  {homeserver}
  user        {_USER}
  password    {password}    (kept in {shown(demo.password)})
or, by hand:
  curl {homeserver}/_matrix/client/v3/login -d '{{
    "type": "m.login.password",
    "identifier": {{"type": "m.id.user", "user": "{_USER}"}},
    "password": "{password}"}}'

To add a user:
  .venv/bin/lalepass --config {shown(demo.service.config)} user add NAME
{end}
"""


def _stop(*_: object) -> NoReturn:
    # Once is enough: a second Ctrl-C must not keep us from ending the children.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = 0
    if not 1 <= port <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to {LAST_PORT}")
    return port


def _folder(text: str) -> Path:
    # With the links resolved: two names of one folder must not be two locks.
    path = Path(os.path.realpath(text))
    if not path.name:
        raise argparse.ArgumentTypeError("this is the root of all folders: name one below it")
    return path


def parser() -> argparse.ArgumentParser:
    """Return what understands the options."""
    # No abbreviations: scripts would break once a second option begins like the first.
    options = argparse.ArgumentParser(prog="make run", allow_abbrev=False)
    options.add_argument("--once", action="store_true", help="end after the login")
    options.add_argument("--fresh", action="store_true", help="forget the state of earlier demos")
    options.add_argument("--service-port", type=_port, default=SERVICE_PORT, metavar="N")
    options.add_argument("--synapse-port", type=_port, default=SYNAPSE_PORT, metavar="N")
    options.add_argument("--state", type=_folder, default=str(STATE), metavar="DIRECTORY")
    return options


def _explain(error: Exception) -> None:
    sentence = str(error)
    if isinstance(error, ProcessError):
        print(f"run: the end of {shown(error.log)}:\n{error.log_tail}\n", file=sys.stderr)
        sentence = f"{sentence[0].upper()}{sentence[1:]}: its log is {shown(error.log)}."
    elif isinstance(error, OSError):
        sentence = f"{error.strerror}: {error.filename}."
    print(f"run: {sentence}", file=sys.stderr)


def main(
    arguments: Sequence[str] | None = None, *, signals: Sequence[signal.Signals] = _SIGNALS
) -> int:
    """Run the demo and return the exit code."""
    demo = Demo(**vars(parser().parse_args(arguments)))
    for number in signals:
        signal.signal(number, _stop)
    try:
        run(demo)
    except (Fault, ProcessError, CommandRefused, OSError) as error:
        _explain(error)
        return 1
    except Stopped:
        print("\nrun: stopped before the login", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
