"""Fakes that keep state: everything the service needs of the outside, without an outside.

They can be questioned (`InstantHasher.calls`) and told to fail (`failure`), which beats a mock
that has to be programmed for each test.
"""

from lalepass_service.adapters.memory.feed import (
    MemoryChanges,
    MemorySignIns,
    MemorySignOutOrders,
)
from lalepass_service.adapters.memory.guards import MemorySoftLocks, MemoryTrail, NoThrottle
from lalepass_service.adapters.memory.hashing import FixedClock, InstantHasher
from lalepass_service.adapters.memory.stores import MemoryCallers, MemoryUsers

__all__ = [
    "FixedClock",
    "InstantHasher",
    "MemoryCallers",
    "MemoryChanges",
    "MemorySignIns",
    "MemorySignOutOrders",
    "MemorySoftLocks",
    "MemoryTrail",
    "MemoryUsers",
    "NoThrottle",
]
