"""Proof that rows are as they were: one hash a column of every row, before and after.

Only what existed before is compared, so rows and columns that were added since do not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from toolkit.errors import EnvironmentError_
from toolkit.migrate.ledger import Connection
from toolkit.sql import catalog
from toolkit.sql import rehearsal as sql

Key = tuple[str, ...]
Hashes = tuple[str | None, ...]
_DEADLINE_S = 120


@dataclass(frozen=True)
class TableRows:
    """Column hashes of every row, by primary key; None stands for null."""

    columns: tuple[str, ...]
    rows: Mapping[Key, Hashes]


@dataclass(frozen=True)
class Rows:
    """Every table of schema public."""

    tables: Mapping[str, TableRows]

    @property
    def count(self) -> int:
        """Rows over all tables."""
        return sum(len(table.rows) for table in self.tables.values())

    @property
    def values(self) -> int:
        """Single values over all tables."""
        return sum(len(table.rows) * len(table.columns) for table in self.tables.values())

    def without(self, owned: Mapping[str, Collection[Key]]) -> Rows:
        """These rows but those that somebody else writes: table → keys."""
        return Rows(
            {
                name: TableRows(
                    table.columns,
                    {key: hashes for key, hashes in table.rows.items() if key not in owned.get(name, ())},
                )
                for name, table in self.tables.items()
            }
        )

    def like(self, other: Rows) -> Rows:
        """Every row of these, with the tables and columns of `other` alone."""
        found: dict[str, TableRows] = {}
        for name, table in other.tables.items():
            mine = self.tables[name]
            places = [mine.columns.index(column) for column in table.columns]
            rows = {key: tuple(hashes[place] for place in places) for key, hashes in mine.rows.items()}
            found[name] = TableRows(table.columns, rows)
        return Rows(found)

    def digest(self) -> str:
        """SHA-256 over every value, in an order of its own."""
        hashed = hashlib.sha256()
        for name, table in sorted(self.tables.items()):
            hashed.update(f"{name}({','.join(table.columns)})\n".encode())
            for key, hashes in sorted(table.rows.items()):
                hashed.update(f"{key!r} {hashes!r}\n".encode())
        return hashed.hexdigest()

    def part_of(self, later: Rows) -> Rows:
        """What of `later` these rows are compared with: the same tables, columns and keys, as far as they exist."""
        found: dict[str, TableRows] = {}
        for name, table in self.tables.items():
            other = later.tables.get(name)
            if other is None:
                continue
            columns = tuple(column for column in table.columns if column in other.columns)
            places = [other.columns.index(column) for column in columns]
            found[name] = TableRows(
                columns,
                {key: tuple(other.rows[key][place] for place in places) for key in table.rows if key in other.rows},
            )
        return Rows(found)


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was. `row` and `column` are '' where all of the table or row is meant."""

    table: str
    row: str
    column: str
    what: str

    def __str__(self) -> str:
        where = ".".join(part for part in (self.table, self.column) if part)
        return f"{where}{f' of row {self.row}' if self.row else ''} {self.what}"


def changes(before: Rows, after: Rows) -> tuple[Change, ...]:
    """Everything of `before` that is gone or different in `after`."""
    found: list[Change] = []
    for name, table in before.tables.items():
        other = after.tables.get(name)
        if other is None:
            found.append(Change(name, "", "", "is gone"))
            continue
        gone = [column for column in table.columns if column not in other.columns]
        found += [Change(name, "", column, "is gone") for column in gone]
        pairs = [
            (n, column, other.columns.index(column)) for n, column in enumerate(table.columns) if column not in gone
        ]
        for key, hashes in table.rows.items():
            row = ", ".join(key)
            now = other.rows.get(key)
            if now is None:
                found.append(Change(name, row, "", "is gone"))
                continue
            found += [
                Change(name, row, column, "is different") for n, column, place in pairs if hashes[n] != now[place]
            ]
    return tuple(found)


async def read_rows(conn: Connection) -> Rows:
    """The hashes of every row of schema public, at one moment.

    Raises EnvironmentError_ for a table without a primary key: its rows have no names to compare by.
    """
    tables: dict[str, TableRows] = {}
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        await conn.execute(catalog.PIN_RENDERING, timeout=10)
        for table in await conn.fetch(sql.TABLES, timeout=_DEADLINE_S):
            name, columns, key = table["name"], tuple(table["columns"]), table["key"]
            if not key:
                raise EnvironmentError_(
                    f"{name} has no primary key, so its rows cannot be told apart.",
                    "Add a primary key, or leave the table out of schema public.",
                )
            rows = await conn.fetch(sql.row_hashes(name, columns, key), timeout=_DEADLINE_S)
            tables[name] = TableRows(columns, {tuple(row["key"]): tuple(row["hashes"]) for row in rows})
    return Rows(tables)
