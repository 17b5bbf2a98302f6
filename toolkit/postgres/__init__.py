"""Postgres servers of our own, and connections to anybody's."""
