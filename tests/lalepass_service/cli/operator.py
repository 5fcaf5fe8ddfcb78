"""An operator at the command line, in this process."""

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lalepass_service.cli.main import run

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    def refused(self, code: int) -> str:
        """Return the one sentence that a refusal is."""
        assert self.code == code, self
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("lalepass: ")
        return line.removeprefix("lalepass: ")

    def done(self) -> str:
        """Return what a success said."""
        assert self.code == 0, self
        return self.out


@dataclass(frozen=True)
class Operator:
    """Types commands."""

    directory: Path
    capture: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Said:
        """Run `lalepass ...` on the installation in `directory`."""
        return self.bare("--config", str(self.directory / "lalepass.toml"), *arguments, stdin=stdin)

    def bare(self, *arguments: str, stdin: str | bytes = "") -> Said:
        """Run `lalepass ...`."""
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        self.capture.readouterr()
        code = run(arguments)
        said = self.capture.readouterr()
        assert "Traceback" not in said.err, said.err
        return Said(code, said.out, said.err)

    def add(self, name: str, *options: str) -> None:
        """Make an account with `PASSWORD`."""
        self("user", "add", name, "--password-stdin", *options, stdin=PASSWORD).done()
