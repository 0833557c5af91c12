"""Hostile bytes for what reads files from outside: `python -m tools.fuzz --help`."""
