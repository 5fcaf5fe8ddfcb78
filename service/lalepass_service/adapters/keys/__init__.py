"""Keys at rest: what finished password hashes are wrapped with before they are stored."""

from lalepass_service.adapters.keys.files import BrokenKeys, KeyDirectory
from lalepass_service.adapters.keys.ring import KeyRing, key_of
from lalepass_service.adapters.keys.vault import KeyVault, NullVault, Vault

__all__ = ["BrokenKeys", "KeyDirectory", "KeyRing", "KeyVault", "NullVault", "Vault", "key_of"]
