"""OpenStack Swift in one folder: the whole of it, for the interpreter that Debian installs it for.

    /usr/bin/python3 -I run_swift.py FOLDER

Makes the rings that say where everything is, and serves what `FOLDER/*.conf` says. Swift's own
programs read `/etc/swift`, which is one place for the whole machine, and take the time of four
starts.
"""

import ctypes
import os
import signal
import sys
from configparser import RawConfigParser
from pathlib import Path

from swift.common import utils  # type: ignore[import-not-found]  # is Debian's, and not in .venv
from swift.common.ring import RingBuilder  # type: ignore[import-not-found]
from swift.common.wsgi import run_wsgi  # type: ignore[import-not-found]

_KINDS = ("account", "container", "object")
_DIES_WITH_ITS_PARENT = 1  # prctl(2)


def make_rings(folder: Path) -> None:
    """Say that each kind of thing is on one device, once."""
    for kind in _KINDS:
        config = RawConfigParser()
        config.read(folder / f"{kind}-server.conf")
        default = config.defaults()
        builder = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
        place = {"ip": default["bind_ip"], "port": int(default["bind_port"]), "device": "disk"}
        builder.add_dev({"region": 1, "zone": 1, "weight": 1.0, **place})
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


def main() -> int:
    """Serve until somebody ends it."""
    folder = Path(sys.argv[1])
    utils.set_swift_dir(str(folder))
    make_rings(folder)
    for kind in _KINDS:
        if os.fork() == 0:
            # Else it would be left behind by a parent that is killed.
            ctypes.CDLL(None).prctl(_DIES_WITH_ITS_PARENT, signal.SIGKILL)
            return _serve(folder, kind)
    return _serve(folder, "proxy")


def _serve(folder: Path, kind: str) -> int:
    # Verbose: into the log of the process, and not into the machine's.
    code: int = run_wsgi(str(folder / f"{kind}-server.conf"), f"{kind}-server", verbose=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
