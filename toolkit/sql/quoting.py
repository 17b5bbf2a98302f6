"""Names and texts as SQL."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


def quote_identifier(name: str) -> str:
    """A name as SQL, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def quote_name(table: str) -> str:
    """`schema.table` as SQL."""
    schema, _, name = table.partition(".")
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"


def spelt(*parts: str) -> str:
    """A name, qualified or not, as people write it: in quotes only where it would mean another without."""
    return ".".join(part if _PLAIN.fullmatch(part) else quote_identifier(part) for part in parts if part)


def quote_literal(text: str) -> str:
    """A text as SQL, whatever it contains; under standard_conforming_strings, which is the default."""
    return "'" + text.replace("'", "''") + "'"
