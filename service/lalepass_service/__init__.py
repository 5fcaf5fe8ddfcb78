"""The standalone Lalepass service: it owns the users, their password hashes and the rules."""
