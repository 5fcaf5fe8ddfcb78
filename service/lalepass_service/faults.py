"""What keeps the program from doing its work, each in one sentence for the person who runs it.

These are not answers of the rules (`core/errors.py`): they end a command, and never become HTTP.
"""


class Fault(Exception):
    """Root of them. The text names what is wrong, and says what to do if that is not plain."""


class ConfigFault(Fault):
    """The configuration is missing, unreadable or wrong."""


class OutsideFault(Fault):
    """The database, a port or a file is not as it has to be."""
