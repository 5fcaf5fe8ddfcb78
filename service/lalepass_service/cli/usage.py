"""What is wrong with a command line, in one sentence."""

from typing import Final

import typer

# pydantic, which checks the values, names its exceptions and speaks of input and parsing.
_WORDS: Final = (
    (": Value error, ", ": "),
    (": Input should", ": it should"),
    (", unable to parse string as an integer", ""),
    (", unable to parse raw data as a unicode string", ""),
)


def sentence(error: typer.TyperException) -> str:
    """Return what typer complains about, and where to read how it is done."""
    # A list of choices has a line for each of them.
    said = " ".join(error.format_message().split()).removesuffix(".")
    for theirs, ours in _WORDS:
        said = said.replace(theirs, ours, 1)
    # Some mistakes are found before typer knows in which command it is.
    context: typer.Context | None = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "lalepass"
    return f"{said[:1].lower()}{said[1:]} (see `{command} --help`)"
