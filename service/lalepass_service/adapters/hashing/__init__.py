"""The slow hash: Argon2id on threads of its own, with exact admission.

`argon2` hashes, `slots` decides who may, `cores` says how many the machine can do at once.
"""

from lalepass_service.adapters.hashing.argon2 import Argon2Hasher, Argon2Parameters
from lalepass_service.adapters.hashing.cores import usable_cores
from lalepass_service.adapters.hashing.slots import HasherLoad

__all__ = ["Argon2Hasher", "Argon2Parameters", "HasherLoad", "usable_cores"]
