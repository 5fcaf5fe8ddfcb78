"""A database with something of everything in it."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import NullPool, Table, create_engine, delete, insert

from lalepass_service.adapters.sql import tables
from lalepass_service.adapters.sql.migrate import upgrade
from tests.lalepass_service.accounts import NOW

# Characters that databases sort, fold or normalise differently where they are not told.
NAMES: Final = ("alice", "Alice", "ärger", "A\u0308rger", "z_%", "\U0001f600", "\uffff", "ß", "")


def fill(path: Path, people: int) -> None:
    """Make a file in which so many people have all that one can have."""
    upgrade(path)
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.begin() as connection:
        for table, rows in _rows(people).items():
            connection.execute(insert(table), rows)
        # The highest number of the feed is gone, and must not be given again.
        connection.execute(delete(tables.changes).where(tables.changes.c.seq == people))
    engine.dispose()


def _rows(people: int) -> dict[Table, list[dict[str, Any]]]:
    numbers = range(1, people + 1)
    return {
        tables.users: [
            {
                "id": f"id-{n:06}",
                "localpart": f"user-{n:06}",
                "display_name": NAMES[n % 9] if n % 3 else None,
                "state": "active" if n % 7 else "disabled",
                "admin": n % 2 == 0,
                "created_at": NOW + timedelta(microseconds=n),
            }
            for n in numbers
        ],
        tables.user_emails: _lists("address", people, "{}@example.org"),
        tables.user_phones: _lists("number", people, "4917{:09}"),
        tables.passwords: [
            {
                "user_id": f"id-{n:06}",
                "phc": f"$argon2id$v=19$m=19456,t=2,p=1${n:022}${n:043}",
                "changed_at": NOW,
                "normal_form": ("nfc", "nfkc", "none")[n % 3],
                "key_id": f"key-{n % 2}" if n % 3 else None,
                "must_change": n % 5 == 0,
                "expires_at": NOW + timedelta(days=n) if n % 11 == 0 else None,
                "scheme": "argon2id" if n % 2 else "bcrypt",
            }
            for n in numbers
        ],
        tables.lanes: [
            {
                "account": f"id-{n:06}",
                "lane": bytes([n % 256, 0, 255]) if n % 2 else b"",
                "failures": n,
                "not_before": NOW if n % 2 else None,
                "ring": bytes(range(n % 40)),
                "changed_at": NOW,
            }
            for n in numbers
        ],
        tables.known_sources: [
            {"user_id": f"id-{n:06}", "source": bytes([n % 256, 128]), "seen_at": NOW}
            for n in numbers
        ],
        tables.audit: [
            {
                "id": 3 * n,
                "at": NOW,
                "event": "check",
                "outcome": "refused",
                "actor": "caller:synapse",
                "user_id": f"id-{n:06}",
                "localpart": None,
                "source_ip": "::1",
                "user_agent": "odd\0agent" if n % 100 == 0 else NAMES[n % 9],
                "request_id": f"{n:032x}",
                "details": '{"a": 1}',
            }
            for n in numbers
        ],
        tables.retired_names: [{"localpart": f"gone-{n}", "retired_at": NOW} for n in numbers],
        tables.tokens: [
            {
                "id": "000000000001",
                "name": "synapse",
                "scopes": "check feed",
                "digest": bytes(range(32)),
                "created_at": NOW,
                "revoked_at": None,
            }
        ],
        tables.changes: [
            {"seq": n, "user_id": f"id-{n:06}", "localpart": f"user-{n:06}"} for n in numbers
        ],
        tables.sign_outs: [
            {
                "seq": n,
                "id": f"{n:016x}",
                "user_id": f"id-{n:06}",
                "localpart": f"user-{n:06}",
                "ordered_at": NOW,
            }
            for n in numbers
        ],
        tables.acknowledged: [{"caller": "synapse", "order_id": f"{n:016x}"} for n in numbers],
        tables.order_marks: [{"caller": "synapse", "seq": 5}],
        tables.turns: [{"name": "trail", "taken_at": NOW}],
        tables.sign_ins: [
            {
                "number": n,
                "in_id": f"in-{n}",
                "out_id": None,
                "user_id": f"id-{n:06}",
                "caller": "synapse",
                "device_id": "DEVICE",
                "signed_in_at": NOW,
                "signed_out_at": None,
                "ip": "192.0.2.1",
                "user_agent": "agent",
                "reported_at": NOW,
            }
            for n in numbers
        ],
    }


def _lists(column: str, people: int, form: str) -> list[dict[str, Any]]:
    return [
        {"user_id": f"id-{n:06}", "position": position, column: form.format(2 * n + position)}
        for n in range(1, people + 1)
        for position in range(2)
    ]
