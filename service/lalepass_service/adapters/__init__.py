"""The outside world, one thing a module, each behind a port of `core.ports`.

`memory` holds the fakes. The contract suite in `tests/lalepass_service/adapters` runs on them and
on the real ones alike.
"""
