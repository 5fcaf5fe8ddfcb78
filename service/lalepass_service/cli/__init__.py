"""What an operator types: one file for each group of commands, put together in `main`.

Commands import what they need when they run, so that `lalepass --help` does not wait for a web
framework.
"""
