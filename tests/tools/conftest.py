import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.demo import Demo
from tools.processes import LOOPBACK, free_port


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(state=tmp_path / "demo", service_port=free_port(), synapse_port=free_port())


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server
