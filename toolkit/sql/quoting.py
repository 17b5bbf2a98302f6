"""Names as SQL text."""

from __future__ import annotations


def quote_identifier(name: str) -> str:
    """A name as SQL, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def quote_name(table: str) -> str:
    """`schema.table` as SQL."""
    schema, _, name = table.partition(".")
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"
