"""Accounts and tokens in SQLite, through SQLAlchemy Core.

`engine` opens the file and translates its errors, `tables` says what is in it, `users` and
`callers` implement the ports, `migrate` makes the file and brings it up to date.
"""
