"""One demo: what was asked for, where its parts are kept, and what it may touch."""

import re
import shlex
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from tools.locked import Taken, locked
from tools.processes import port_is_free
from tools.service import Service
from tools.synapse import SynapseConfig

STATE: Final = Path(".run/demo")
SERVICE_PORT: Final = 8220
SYNAPSE_PORT: Final = 8008
LAST_PORT: Final = 65535

# Everything that a demo makes in its folder. A file is first written under a name that ends so.
_MADE: Final = re.compile(r"complete|lalepass|synapse|(demo-password|synapse-token)(\.\d+\.tmp)?")
# One of these is there soon. Folders of these two names alone are more likely two checkouts.
_MARKS: Final = ("complete", "synapse-token", "demo-password", "lalepass/lalepass.toml")


class Fault(Exception):
    """The demo can't go on; the message is the one sentence that a person gets."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What was asked for, and where what belongs to it is kept."""

    state: Path
    service_port: int
    synapse_port: int
    once: bool = False
    """End after the login."""
    fresh: bool = False
    """Forget the state of earlier demos."""

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

    @property
    def command(self) -> str:
        """What a person types to get exactly this."""
        arguments = ["--once"] * self.once + ["--fresh"] * self.fresh
        for option, value, usual in (
            ("--service-port", self.service_port, SERVICE_PORT),
            ("--synapse-port", self.synapse_port, SYNAPSE_PORT),
            ("--state", shown(self.state), STATE),
        ):
            if value != usual:
                arguments += [option, str(value)]
        # Two shells read it, and make between them.
        quoted = shlex.quote(shlex.join(arguments)).replace("$", "$$")
        return f"make run ARGS={quoted}" if arguments else "make run"


def shown(path: Path) -> Path:
    """Return a path as a person would type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


@contextmanager
def alone(demo: Demo) -> Iterator[None]:
    """Keep a second demo away from the same databases.

    Raises:
        Fault: there is one, or there is no place for the state.
    """
    with ExitStack() as held:
        try:
            held.enter_context(locked(demo.lock))
        except Taken:
            raise Fault(
                f"A demo with its state in {shown(demo.state)} runs already: end it first."
            ) from None
        except OSError as error:
            # Nobody has asked for a lock, so it is not named.
            blamed = Path(error.filename or demo.lock)
            where = "" if blamed == demo.lock else f"{shown(blamed)}: "
            raise Fault(
                f"There can be no state in {shown(demo.state)} ({where}{error.strerror}): "
                "choose another folder with --state."
            ) from error
        yield


def require_ports(demo: Demo) -> None:
    """Look before anything is started.

    Raises:
        Fault: a port is in use, or both are the same.
    """
    ports = demo.service_port, demo.synapse_port
    if ports[0] == ports[1]:
        raise Fault(f"Both ports are {ports[0]}: the service and Synapse need one each.")
    for port in ports:
        if not port_is_free(port):
            other = another_port(port, ports)
            changed = (
                replace(demo, service_port=other)
                if port == demo.service_port
                else replace(demo, synapse_port=other)
            )
            raise Fault(
                f"Port {port} is in use: end what listens there, or choose another one, "
                f"such as `{changed.command}`."
            )


def another_port(
    port: int, taken: Collection[int], *, is_free: Callable[[int], bool] = port_is_free
) -> int:
    """Return a free port near this one."""
    near = chain(range(port + 100, LAST_PORT + 1, 100), range(port - 100, 0, -100))
    return next(other for other in near if other not in taken and is_free(other))


def prepare(demo: Demo) -> bool:
    """Make the folder for the state, and say whether the demo was made before.

    Raises:
        Fault: it was half made, or the folder is somebody else's.
    """
    demo.state.mkdir(parents=True, exist_ok=True)
    if demo.fresh or not demo.complete.exists():
        _require_ours(demo.state)
    if demo.fresh:
        _empty(demo)
    demo.state.chmod(0o700)
    if demo.complete.exists():
        return True
    if any(demo.state.iterdir()):
        raise Fault(
            f"The state in {shown(demo.state)} is half-made, because its first start did not get "
            f"to the end: `{replace(demo, fresh=True).command}` removes it and starts anew."
        )
    return False


def _require_ours(state: Path) -> None:
    names = sorted(entry.name for entry in state.iterdir())
    strange = [name for name in names if not _MADE.fullmatch(name)]
    if not strange and not any((state / mark).exists() for mark in _MARKS):
        strange = names
    if strange:
        raise Fault(
            f"{shown(state)} is not the folder of a demo, for none has made {strange[0]} in it: "
            "choose another one with --state."
        )


def _empty(demo: Demo) -> None:
    # It may be cut short. So what says that it is complete goes first, and what says that it is
    # ours, the files, goes last.
    demo.complete.unlink(missing_ok=True)
    for entry in sorted(demo.state.iterdir(), key=lambda entry: not _is_folder(entry)):
        if _is_folder(entry):
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
