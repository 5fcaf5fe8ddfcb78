"""The settings: one TOML file, and the environment, which wins.

What is wrong is said in one sentence with the option's name, before anything is opened.
"""

from lalepass_service.config.loading import FILE_VARIABLE, Config, find, load
from lalepass_service.config.sections import (
    Audit,
    Check,
    Database,
    Hashing,
    Keys,
    Log,
    Passwords,
    Server,
    Throttle,
    Valkey,
)

__all__ = [
    "FILE_VARIABLE",
    "Audit",
    "Check",
    "Config",
    "Database",
    "Hashing",
    "Keys",
    "Log",
    "Passwords",
    "Server",
    "Throttle",
    "Valkey",
    "find",
    "load",
]
