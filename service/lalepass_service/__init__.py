"""The standalone Lalepass service: it owns the users, their password hashes and the rules.

Where to look:

    the rules, and their ports  core
    what is behind the ports    adapters
    the API                     http
    the operators' commands     cli
    the settings                config
    built from the settings     parts, app
    lalepass topology check     topology
    what several need           faults, health, logs, version

Which of them may import which is a contract in `pyproject.toml`.
"""
