"""The parts that the server and the commands share, built from the settings and closed in order.

Only `app` and `cli` use this. Imports happen where a part is built: a command should not wait for
the libraries of parts that it does not need.
"""

from lalepass_service.parts.database import (
    back_up,
    file_of,
    hides_rank,
    migrate,
    no_tables,
    open_database,
    open_hot,
    require_current_schema,
    restore,
    schema_of,
    store_faults,
    store_of,
)
from lalepass_service.parts.hashing import (
    check_hashing,
    choose_binding,
    foreign_record,
    open_hasher,
    read_pepper,
)
from lalepass_service.parts.keys import key_directory, key_vault, require_keys, vault
from lalepass_service.parts.moving import move, store_at
from lalepass_service.parts.operators import open_acts, open_directory, open_registry, open_trail
from lalepass_service.parts.policy import check_passwords, open_policy
from lalepass_service.parts.replicas import check_replicas
from lalepass_service.parts.service import Service, open_service
from lalepass_service.parts.trail import check_copy, copy_of_acts
from lalepass_service.parts.valkey import check_valkey, count_anew

__all__ = [
    "Service",
    "back_up",
    "check_copy",
    "check_hashing",
    "check_passwords",
    "check_replicas",
    "check_valkey",
    "choose_binding",
    "copy_of_acts",
    "count_anew",
    "file_of",
    "foreign_record",
    "hides_rank",
    "key_directory",
    "key_vault",
    "migrate",
    "move",
    "no_tables",
    "open_acts",
    "open_database",
    "open_directory",
    "open_hasher",
    "open_hot",
    "open_policy",
    "open_registry",
    "open_service",
    "open_trail",
    "read_pepper",
    "require_current_schema",
    "require_keys",
    "restore",
    "schema_of",
    "store_at",
    "store_faults",
    "store_of",
    "vault",
]
