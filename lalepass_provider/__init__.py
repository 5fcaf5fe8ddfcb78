"""A Synapse module that lets a Lalepass service check every password.

In `homeserver.yaml`, under `modules:`, it is `lalepass_provider.LalepassProvider`. Where to look:

    loading     module, wiring, config, policy, selftest, addresses
    a login     identity, accounts, whose, owned, asked, honest
    profiles    profile, wanted, pushing
    the feed    lifecycle, follower, locks, keeping, state, reports
    sign-outs   orders, order_queue, sessions
    asking      client, calls, endpoints, health, racing, transport, connections, bodies, tls, files
    Synapse     homeserver, tables, background
    all         errors, metrics
    the doctor  check

Which of them may import which is a contract in `pyproject.toml`.
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
