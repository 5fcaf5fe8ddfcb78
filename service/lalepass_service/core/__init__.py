"""The rules, free of HTTP, SQL and hash functions. Imports the standard library only.

`model` says what there is, `errors` what can go wrong, `ports` what the rules need of the outside.
`check` is what Lalepass exists for; `directory` and `callers` are what an operator does.
"""
