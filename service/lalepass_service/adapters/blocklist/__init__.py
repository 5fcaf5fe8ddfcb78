"""Passwords that nobody may choose: lists on this machine, and a host that is asked.

`file` reads the compact form that `build` makes of an operator's lists, `builtin` has what a
package ships, `hibp` asks a range host, `omissions` says when that gave no answer. `memory` holds
the fakes.
"""
