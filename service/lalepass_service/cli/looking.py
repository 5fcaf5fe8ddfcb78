"""Commands that look at something else, and say with their exit code what they have found."""

# ruff: noqa: ANN401 - what typer hands over is handed on as it is

from typing import Any

import typer
from typer.core import TyperCommand

from lalepass_service.cli import console, usage
from lalepass_service.faults import OutsideFault


class Looking(TyperCommand):
    """A command whose 1 and 2 are about what it looked at. What keeps it from looking is a 3."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Read the command line.

        Raises:
            console.NotLooked: it is wrong.
        """
        try:
            return super().make_context(*arguments, **named)
        except typer.TyperException as error:
            raise console.NotLooked(usage.sentence(error)) from None

    def invoke(self, *arguments: Any) -> Any:
        """Look.

        Raises:
            console.NotLooked: something was not as it has to be for that.
        """
        try:
            return super().invoke(*arguments)
        except (OutsideFault, console.WrongUsage) as error:
            raise console.NotLooked(str(error)) from error
