"""Proof that rows are as they were: the fingerprints of every table, before and after.

Only what existed before is compared, so rows and columns that were added since do not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from toolkit.migrate.catalog import reading
from toolkit.migrate.catalog.row_digests import RowFingerprints, compare_rows, fingerprint_rows, user_tables
from toolkit.postgres.connection import Connection

SCHEMA = "public."


@dataclass(frozen=True)
class Rows:
    """Every table of schema public, by `schema.name`."""

    tables: Mapping[str, RowFingerprints]

    @property
    def count(self) -> int:
        """Rows over all tables."""
        return sum(len(table.rows) for table in self.tables.values())

    @property
    def values(self) -> int:
        """Single values over all tables."""
        return sum(len(table.rows) * len(table.columns) for table in self.tables.values())

    def without(self, owned: Mapping[str, Collection[str]]) -> Rows:
        """These rows but those that somebody else writes: table → keys."""
        return Rows(
            {
                name: replace(
                    table, rows={key: row for key, row in table.rows.items() if key not in owned.get(name, ())}
                )
                for name, table in self.tables.items()
            }
        )

    def like(self, other: Rows, *, keys: bool = False) -> Rows:
        """These rows with the tables and columns of `other` alone, and with `keys` its rows alone, as far as they
        exist."""
        found: dict[str, RowFingerprints] = {}
        for name, wanted in other.tables.items():
            mine = self.tables.get(name)
            if mine is None:
                continue
            columns = tuple(column for column in wanted.columns if column in mine.columns)
            places = [mine.columns.index(column) for column in columns]
            chosen = mine.rows.keys() & wanted.rows.keys() if keys else mine.rows.keys()
            rows = {key: tuple(mine.rows[key][place] for place in places) for key in chosen}
            found[name] = RowFingerprints(name, columns, rows)
        return Rows(found)

    def digest(self) -> str:
        """SHA-256 over every value, in an order of its own."""
        hashed = hashlib.sha256()
        for name, table in sorted(self.tables.items()):
            hashed.update(f"{name}({','.join(table.columns)})\n".encode())
            for key, row in sorted(table.rows.items()):
                hashed.update(f"{key!r} {row!r}\n".encode())
        return hashed.hexdigest()


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
        compared = compare_rows(table, other)
        found += [Change(name, "", column, "is gone") for column in table.columns if column not in other.columns]
        found += [Change(name, key, "", "is gone") for key in compared.lost]
        found += [
            Change(name, key, column, "is different")
            for key, columns in compared.differing.items()
            for column in columns
        ]
    return tuple(found)


async def read_rows(conn: Connection) -> Rows:
    """The fingerprints of every row of schema public, at one moment.

    Raises EnvironmentError_ for a table without a primary key: its rows have no names to compare by.
    """
    async with reading(conn):
        names = [name for name in await user_tables(conn) if name.startswith(SCHEMA)]
        return Rows({name: await fingerprint_rows(conn, name) for name in names})
