"""Real servers for tests, as processes on loopback, and what can go wrong with them.

The fixtures in `fixtures.py` are there for every test. The classes behind them are for tests that
want a server to themselves.
"""
