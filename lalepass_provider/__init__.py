"""A Synapse module that lets a Lalepass service check every password.

In `homeserver.yaml`, under `modules:`, it is `lalepass_provider.LalepassProvider`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lalepass_provider.module import LalepassProvider

__all__ = ["LalepassProvider"]


def __getattr__(name: str) -> object:
    """Import the module when Synapse asks for it.

    Not before: `lalepass_provider.check` has something to say also where there is no Synapse.
    """
    if name != "LalepassProvider":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lalepass_provider.module import LalepassProvider  # noqa: PLC0415 - see above

    return LalepassProvider
