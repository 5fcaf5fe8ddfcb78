"""An answer that is neither yes nor no, in a form that Synapse passes on."""

from synapse.module_api.errors import SynapseError
from twisted.internet import defer


class HonestError(SynapseError, defer.CancelledError):
    """An error that reaches the client as it is.

    Synapse turns whatever an auth checker raises into "Invalid username or password", so that an
    outage looks like a wrong password and counts as one. It lets one thing pass: a cancellation
    (`handlers/auth.py`, PasswordAuthProvider.check_auth). And it renders a SynapseError with its
    own status before it looks for cancellations (`http/server.py`, return_json_error). So an
    exception that is both tells the truth. The price: the modules behind this one and the local
    database are not asked. This is behaviour and no promise: tests on real Synapses hold it, and
    `selftest.py` looks at the one that it runs in.
    """
