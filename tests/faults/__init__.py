"""What users, operators and homeservers notice when a part of a larger installation fails.

Everything here is real: replicas of the service, PostgreSQL with a standby, Valkey, PgBouncer and
HAProxy as processes. docs/faults.md says the same in words.
"""
