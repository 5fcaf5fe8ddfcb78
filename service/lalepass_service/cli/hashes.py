"""Where a hash comes from that another program made: standard input, as passwords do."""

from lalepass_service.cli import passwords
from lalepass_service.core.errors import InvalidInput, UnreadableRecord
from lalepass_service.core.model import NormalForm, PasswordRecord


def read(*, form: NormalForm, synapse: bool) -> PasswordRecord:
    """Get a hash that can be verified later.

    Raises:
        WrongUsage: standard input holds no hash.
        InvalidInput: it is of no known format, or too expensive.
    """
    return accept(passwords.line_from_stdin("hash"), form=form, synapse=synapse)


def accept(text: str, *, form: NormalForm, synapse: bool) -> PasswordRecord:
    """Return the record of a hash, once it is known and its cost is bounded.

    Raises:
        InvalidInput: it is of no known format, or too expensive.
    """
    from lalepass_service.parts import foreign_record  # noqa: PLC0415 - brings the hash functions

    try:
        return foreign_record(text, form=form, synapse=synapse)
    except UnreadableRecord as error:
        raise InvalidInput(f"the hash is not accepted: {error.why}") from None
