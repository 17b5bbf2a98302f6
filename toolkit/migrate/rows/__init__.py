"""Plausible rows for the tables of any schema."""
