"""Postgres servers of our own, and connections to any server."""
