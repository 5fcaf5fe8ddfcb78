"""What new passwords are held against."""

# ruff: noqa: PLC0415 - see the package

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lalepass_service.config import Config
    from lalepass_service.core.policy import PasswordPolicy, Unanswered


def check_passwords(config: "Config") -> None:
    """Say whether everything that new passwords are held against is there.

    Raises:
        BlocklistUnavailable: a list is missing, damaged or something else.
    """
    with open_policy(config):
        pass


@contextmanager
def open_policy(
    config: "Config", *, unanswered: "Unanswered | None" = None
) -> Iterator["PasswordPolicy"]:
    """Open what new passwords are held against.

    Raises:
        BlocklistUnavailable: a list is missing, damaged or something else.
    """
    from lalepass_service.adapters.blocklist.builtin import BuiltinBlocklist
    from lalepass_service.adapters.blocklist.file import MappedBlocklist
    from lalepass_service.adapters.blocklist.hibp import HibpRange
    from lalepass_service.adapters.blocklist.omissions import Omissions
    from lalepass_service.core.policy import PasswordPolicy

    rules = config.passwords
    with ExitStack() as opened:
        lists = [opened.enter_context(closing(MappedBlocklist.open(p))) for p in rules.blocklists]
        breaches = None
        if rules.breach_range_url:
            breaches = opened.enter_context(closing(HibpRange(rules.breach_range_url)))
        yield PasswordPolicy(
            min_length=rules.min_length,
            max_length=rules.max_length,
            words=rules.words,
            blocklists=[*([BuiltinBlocklist()] if rules.builtin_blocklist else []), *lists],
            breaches=breaches,
            unanswered=unanswered or Omissions(),
        )
