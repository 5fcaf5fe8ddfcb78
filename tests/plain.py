"""For those who ask servers on this machine, without TLS."""

import ssl
from typing import Final

NO_AUTHORITIES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Believes nobody, and is given to httpx as `verify`: for each client of its own it would read the
list of the world's authorities, which takes 20 ms.
"""
