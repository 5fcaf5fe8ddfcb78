"""`lalepass serve`."""

import typer

from lalepass_service.cli.session import session


def serve(context: typer.Context) -> None:
    """Run the service, until SIGTERM or Ctrl-C."""
    # A web framework takes half a second to import.
    from lalepass_service import app, logs  # noqa: PLC0415

    config = session(context).load()
    logs.configure(level=config.log.level, style=config.log.format)
    app.serve(config)
