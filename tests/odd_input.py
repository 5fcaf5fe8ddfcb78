"""What people, programs and attackers put where a user name is wanted.

One table for every door: the provider's own rules, and a real homeserver.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class OddUser:
    """Something that is no account of this server."""

    why: str
    typed: Callable[[str], str]
    """Makes it, given the server's name."""


def _fixed(why: str, text: str) -> OddUser:
    return OddUser(why, lambda _: text)


ODD_USERS = [
    _fixed("a sigil alone", "@"),
    _fixed("two sigils", "@@"),
    _fixed("a colon alone", ":"),
    _fixed("a sigil and a colon", "@:"),
    OddUser("no localpart", lambda here: f"@:{here}"),
    OddUser("an mxid without its sigil", lambda here: f"alice:{here}"),
    _fixed("no server name", "@alice"),
    _fixed("an empty server name", "@alice:"),
    _fixed("another server", "@alice:evil.example"),
    OddUser("a subdomain", lambda here: f"@alice:sub.{here}"),
    OddUser("a longer domain", lambda here: f"@alice:{here}.evil.example"),
    OddUser("a trailing dot", lambda here: f"@alice:{here}."),
    OddUser("the server in capitals", lambda here: f"@alice:{here.upper()}"),
    OddUser("a port", lambda here: f"@alice:{here}:8448"),
    OddUser("the server twice", lambda here: f"@alice:{here}:{here}"),
    OddUser("a blank behind the sigil", lambda here: f"@ alice:{here}"),
    OddUser("a blank at the end", lambda here: f"@alice:{here} "),
    OddUser("a blank before the colon", lambda here: f"@alice :{here}"),
    OddUser("a line feed at the end", lambda here: f"@alice:{here}\n"),
    _fixed("a blank alone", " "),
    _fixed("a name with a trailing blank", "alice "),
    _fixed("a name with a leading blank", " alice"),
    _fixed("a name with a line feed", "alice\n"),
    _fixed("a name with a tab", "al\tice"),
    _fixed("a NUL", "alice\0"),
    _fixed("a NUL alone", "\0"),
    _fixed("a lone high surrogate", "alice\ud800"),
    _fixed("a lone low surrogate", "\udc00alice"),
    _fixed("200 kB", "a" * 200_000),
    OddUser("200 kB in an mxid", lambda here: f"@{'a' * 200_000}:{here}"),
    _fixed("256 characters", "a" * 256),
    _fixed("a per cent sign", "%"),
    _fixed("a pattern for LIKE", "al%"),
    _fixed("a pattern for LDAP", "al*"),
    _fixed("an LDAP filter", "*)(uid=*))(|(uid=*"),
    _fixed("SQL", "alice' OR '1'='1"),
    _fixed("a backslash", "ali\\ce"),
    _fixed("an e-mail address", "alice@example.org"),
    _fixed("an e-mail address as an mxid", "@alice@example.org"),
    _fixed("a Cyrillic a", "\u0430lice"),
    _fixed("full-width letters", "\uff41\uff4c\uff49\uff43\uff45"),
    _fixed("a Turkish dotted I", "al\u0130ce"),
    _fixed("a Turkish dotless i", "al\u0131ce"),
    _fixed("a Kelvin sign", "\u212aate"),
    _fixed("a long s", "\u017fam"),
    _fixed("an umlaut", "m\u00fcller"),
    _fixed("a combining umlaut", "mu\u0308ller"),
    _fixed("a right-to-left mark", "\u200falice"),
    _fixed("a right-to-left override", "\u202eecila"),
    _fixed("a zero-width joiner", "ali\u200dce"),
    _fixed("an emoji", "\U0001f600"),
    _fixed("a room alias", "#alice:hs.example"),
    _fixed("a historic character", "alice!"),
    _fixed("JSON", '{"$ne": null}'),
    _fixed("a path", "../alice\\..\\"),
]
