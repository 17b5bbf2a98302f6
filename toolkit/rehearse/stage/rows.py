"""Compares the rows of every table before and after.

Only what existed before is compared: rows and columns that were added since are ignored on purpose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from toolkit.migrate.catalog import reading
from toolkit.migrate.catalog.tables import user_tables
from toolkit.migrate.row_comparison.table_rows import TableRows, compare_rows, read_table_rows
from toolkit.postgres.connection import Connection

SCHEMA = "public."


@dataclass(frozen=True)
class Rows:
    """The rows of every table of schema public, by `schema.name`."""

    tables: Mapping[str, TableRows]

    @property
    def count(self) -> int:
        """The number of rows in all tables."""
        return sum(len(table.rows) for table in self.tables.values())

    @property
    def values(self) -> int:
        """The number of values in all tables."""
        return sum(len(table.rows) * len(table.columns) for table in self.tables.values())

    def without(self, owned: Mapping[str, Collection[str]]) -> Rows:
        """These rows without `owned` (table → keys), which another application writes."""
        return Rows(
            {
                name: replace(table, rows=tuple(row for row in table.rows if row[0] not in owned.get(name, ())))
                for name, table in self.tables.items()
            }
        )

    def like(self, other: Rows, *, keys: bool = False) -> Rows:
        """These rows restricted to the tables and columns of `other` and, with `keys`, to its rows."""
        found: dict[str, TableRows] = {}
        for name, wanted in other.tables.items():
            mine = self.tables.get(name)
            if mine is None:
                continue
            columns = tuple(column for column in wanted.columns if column in mine.columns)
            places = [mine.columns.index(column) for column in columns]
            known = {key for key, _ in wanted.rows}
            rows = [(key, tuple(row[place] for place in places)) for key, row in mine.rows if not keys or key in known]
            found[name] = TableRows(name, columns, tuple(rows), wanted.key)
        return Rows(found)

    def digest(self) -> str:
        """SHA-256 over every value, in a fixed order."""
        hashed = hashlib.sha256()
        for name, table in sorted(self.tables.items()):
            hashed.update(f"{name}({','.join(table.columns)})\n".encode())
            for key, row in sorted(table.rows, key=lambda row: row[0] or ""):
                hashed.update(f"{key!r} {row!r}\n".encode())
        return hashed.hexdigest()


def changes(before: Rows, after: Rows) -> tuple[str, ...]:
    """A line for everything of `before` that is gone or different in `after`."""
    found: list[str] = []
    for name, table in before.tables.items():
        other = after.tables.get(name)
        if other is None:
            found.append(f"{name} is gone")
            continue
        compared = compare_rows(table, other)
        found += [f"{name}.{column} is gone" for column in compared.missing_columns]
        found += [f"{name} of row {key} is gone" for key in compared.lost]
        found += [
            f"{name}.{column} of row {key} is different" for column, keys in compared.changed.items() for key in keys
        ]
    return tuple(found)


async def read_rows(conn: Connection) -> Rows:
    """Read every row of schema public in one snapshot. Those of a table without a primary key have no names: of each
    content there must be as many."""
    async with reading(conn):
        names = [name for name in await user_tables(conn) if name.startswith(SCHEMA)]
        return Rows({name: await read_table_rows(conn, name, unkeyed=True) for name in names})
