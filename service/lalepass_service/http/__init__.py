"""The JSON API. Knows the contract and the rules; never the database or a hash function.

`problems` is the one table from exceptions to answers. `check` is the endpoint that all the rest
is there for.
"""
