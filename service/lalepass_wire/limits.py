"""Sizes and grammars that both sides enforce. Bytes where the name says bytes, else code points."""

from typing import Final

MAX_REQUEST_BYTES: Final = 16 * 1024
"""A longer request body is answered with 413 before it is read. The largest valid check, each
code point of the password escaped as a surrogate pair, stays below 10 KiB."""

MAX_ANSWER_BYTES: Final = 64 * 1024
"""A caller stops reading here and treats the answer as broken."""

MAX_PASSWORD_LENGTH: Final = 512
"""What a check accepts; Synapse allows no longer ones (`rest/client/account.py`). New passwords
have their own, lower limit in the service."""

MAX_LOCALPART_LENGTH: Final = 252
"""An MXID has at most 255 bytes: `@`, the localpart, `:` and a server name of one byte or more
(https://spec.matrix.org/v1.16/appendices/#user-identifiers)."""

MAX_EMAIL_LENGTH: Final = 254
"""RFC 5321, section 4.5.3.1.3, less the angle brackets."""

MAX_USER_AGENT_LENGTH: Final = 512
MAX_DISPLAY_NAME_LENGTH: Final = 256
"""Synapse's own limit (`handlers/profile.py`, MAX_DISPLAYNAME_LEN)."""

MAX_EMAILS: Final = 16
MAX_PHONES: Final = 16

LOCALPART_PATTERN: Final = r"^[a-z0-9._=\-/+]+$"
"""The grammar for new localparts, https://spec.matrix.org/v1.16/appendices/#user-identifiers."""

EMAIL_PATTERN: Final = r"^[^@\s\x00-\x1f\x7f-\x9f\ufeff]+@[^@\s\x00-\x1f\x7f-\x9f\ufeff]+$"
"""Only the shape: one `@`, something on both sides, no blanks and no control characters. U+0085 and
U+FEFF are blanks in some dialects of regular expressions and not in others: here they are named."""

PHONE_PATTERN: Final = r"^[1-9][0-9]{4,14}$"
"""E.164 without the `+`, as Matrix writes an `msisdn`."""

REQUEST_ID_HEADER: Final = "X-Request-ID"
REQUEST_ID_PATTERN: Final = r"^[A-Za-z0-9._\-]{1,64}$"
"""A request id of any other shape is replaced by one of the service's own."""

CURSOR_PATTERN: Final = r"^[a-z0-9]{1,32}-[0-9]{1,19}$"
"""Which database, and how far in its feed."""

MAX_FEED_WAIT_SECONDS: Final = 30
"""How long the service may keep a request for changes waiting for one."""

MAX_CHANGES: Final = 200
"""Accounts in one answer of the feed: with the longest names and addresses each, they fit into
`MAX_FEED_ANSWER_BYTES`."""

MAX_ORDERS: Final = 100
MAX_LOCKED_PAGE: Final = 10_000
MAX_REPORTS: Final = 32
"""In one request, which also has to keep within `MAX_REQUEST_BYTES`."""

MAX_FEED_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""`MAX_ANSWER_BYTES` for the feed and the locked accounts."""

MAX_DEVICE_ID_LENGTH: Final = 255
REPORT_ID_PATTERN: Final = r"^[A-Za-z0-9_-]{16,64}$"
