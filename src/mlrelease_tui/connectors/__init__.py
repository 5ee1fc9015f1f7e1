"""Connectors: everything that talks to the outside. Read `api.py` to write one; nothing is imported here."""
