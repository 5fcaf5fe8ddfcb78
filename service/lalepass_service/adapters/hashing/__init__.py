"""The slow hash: Argon2id on threads of its own, with exact admission.

`argon2` hashes, by the one of the `bindings` that `choice` chooses (`compiled` is one of them).
`admission` decides who may, by what work of its kind takes (`durations`) and by its memory
(`available`), `slots` are the threads that do the `jobs`, `cores` says how many the machine can do
at once. For what others have made, `formats` says what it is and bounds what it costs, `legacy`
keeps the processes that verify it (`worker`, `verifiers`), `decoys` hides who has it. `passwords`
puts all together.
"""

from lalepass_service.adapters.hashing.admission import HasherLoad
from lalepass_service.adapters.hashing.argon2 import Argon2Hasher, Argon2Parameters
from lalepass_service.adapters.hashing.choice import NoSuchBinding, choose
from lalepass_service.adapters.hashing.cores import usable_cores
from lalepass_service.adapters.hashing.legacy import LegacyProcesses
from lalepass_service.adapters.hashing.passwords import PasswordHasher

__all__ = [
    "Argon2Hasher",
    "Argon2Parameters",
    "HasherLoad",
    "LegacyProcesses",
    "NoSuchBinding",
    "PasswordHasher",
    "choose",
    "usable_cores",
]
