"""What the rules need of the outside.

Each port has an adapter and, beside it, a fake that keeps state; one contract suite runs on both.
"""

from lalepass_service.core.ports.stores import Callers, Entrance, SoftLocks, Users
from lalepass_service.core.ports.tools import Blocklist, BreachRange, Clock, Hasher, Throttle, Trail

__all__ = [
    "Blocklist",
    "BreachRange",
    "Callers",
    "Clock",
    "Entrance",
    "Hasher",
    "SoftLocks",
    "Throttle",
    "Trail",
    "Users",
]
