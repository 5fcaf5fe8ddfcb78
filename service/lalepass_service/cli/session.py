"""What a command line says before the command."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

if TYPE_CHECKING:
    from lalepass_service.config import Config


@dataclass
class Session:
    """The global options of one call. Filled in by `main`, read by the commands."""

    config_path: Path | None = None
    debug: bool = False

    def load(self) -> "Config":
        """Read the settings.

        Raises:
            ConfigFault: they are missing or wrong.
        """
        from lalepass_service import config  # noqa: PLC0415 - pydantic is slow to import

        return config.load(self.config_path)


def session(context: typer.Context) -> Session:
    """Return what `main` has put into typer's context."""
    return cast("Session", context.obj)
