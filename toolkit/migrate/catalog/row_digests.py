"""Were rows preserved? A dump of the schema cannot tell: drop a column, add it again, and it looks the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from toolkit.errors import EnvironmentError_
from toolkit.migrate.catalog import reading
from toolkit.postgres.connection import Connection
from toolkit.sql import digests as sql
from toolkit.sql.history import PRIMARY_KEY
from toolkit.sql.quoting import quote_identifier, quote_name

_DEADLINE_S = 600


@dataclass(frozen=True)
class TableDigest:
    """`rows` and, for each column, a digest of all its values tied to their rows' keys."""

    table: str
    rows: int
    columns: Mapping[str, str]


@dataclass(frozen=True)
class RowFingerprints:
    """Key (text of the primary key) → a digest for each of the chosen columns, in their order."""

    table: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class RowComparison:
    """Keys of rows that are gone, that differ, and that are new; `differing` names the columns of those that differ."""

    table: str
    lost: tuple[str, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]
    differing: Mapping[str, tuple[str, ...]]

    @property
    def preserved(self) -> bool:
        """Whether every row that existed is there unchanged."""
        return not self.lost and not self.changed


async def user_tables(conn: Connection) -> tuple[str, ...]:
    """Every table (`schema.name`) outside the system's schemas and the migration history."""
    return tuple(row["name"] for row in await conn.fetch(sql.TABLES, timeout=30))


async def digest_tables(
    conn: Connection,
    tables: Iterable[str],
    columns: Mapping[str, Sequence[str]] | None = None,
    where: Mapping[str, str] | None = None,
) -> dict[str, TableDigest]:
    """Digest tables (`schema.name`) at one moment.

    `columns` limits a table to these (for example to those of before a migration), `where` to rows that satisfy an
    SQL condition of the caller's own making.
    """
    found = {}
    async with reading(conn):
        for table in tables:
            chosen = list((columns or {}).get(table) or await _columns(conn, table))
            key = await _key(conn, table)
            digests = "".join(
                f", {sql.COLUMN_DIGEST.format(key=key, column=quote_identifier(name))} as d{number}"
                for number, name in enumerate(chosen)
            )
            query = sql.TABLE_DIGEST.format(digests=digests, table=quote_name(table), where=_where(where, table))
            row = await conn.fetchrow(query, timeout=_DEADLINE_S)
            assert row is not None
            found[table] = TableDigest(table, row["rows"], dict(zip(chosen, list(row.values())[1:], strict=True)))
    return found


def compare_digests(before: Mapping[str, TableDigest], after: Mapping[str, TableDigest]) -> tuple[str, ...]:
    """What differs, a sentence each; empty when every digested value is as it was."""
    found = []
    for table, old in before.items():
        new = after.get(table)
        if new is None:
            found.append(f"{table} was not digested again")
            continue
        if old.rows != new.rows:
            found.append(f"{table} had {old.rows} rows, now {new.rows}")
        changed = [name for name, digest in old.columns.items() if new.columns.get(name) != digest]
        if changed and old.rows == new.rows:
            found.append(f"{table}: values differ in {', '.join(changed)}")
    return tuple(found)


async def fingerprint_rows(
    conn: Connection, table: str, columns: Sequence[str] | None = None, where: str | None = None
) -> RowFingerprints:
    """A digest for each value of each row, for tables small enough to name every row and column that changed.

    Of `columns` those that the table has; without, all it has. Raises EnvironmentError_ for a table without a
    primary key: its rows have no names to compare by.
    """
    async with reading(conn):
        existing = await _columns(conn, table)
        chosen = tuple(existing if columns is None else (name for name in columns if name in existing))
        key = await _key(conn, table)
        if key == "''":
            raise EnvironmentError_(
                f"{table} has no primary key, so its rows cannot be told apart.",
                "Add a primary key, or leave the table out.",
            )
        query = sql.ROW_FINGERPRINTS.format(
            key=key,
            digests=", ".join(sql.VALUE_DIGEST.format(column=quote_identifier(name)) for name in chosen),
            table=quote_name(table),
            where=f" where {where}" if where else "",
        )
        rows = {row["key"]: tuple(row["digests"]) for row in await conn.fetch(query, timeout=_DEADLINE_S)}
    return RowFingerprints(table, chosen, rows)


def compare_rows(before: RowFingerprints, after: RowFingerprints) -> RowComparison:
    """Row by row and column by column, as far as both have the column."""
    assert before.table == after.table, "fingerprints of different tables"
    old, new = before.rows, after.rows
    both = [
        (name, place, after.columns.index(name)) for place, name in enumerate(before.columns) if name in after.columns
    ]
    differing = {
        key: names
        for key in sorted(old.keys() & new.keys())
        if (names := tuple(name for name, there, here in both if old[key][there] != new[key][here]))
    }
    return RowComparison(
        before.table,
        lost=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(differing),
        added=tuple(sorted(new.keys() - old.keys())),
        differing=differing,
    )


async def _columns(conn: Connection, table: str) -> list[str]:
    return [row["name"] for row in await conn.fetch(sql.COLUMNS, quote_name(table), timeout=30)]


async def _key(conn: Connection, table: str) -> str:
    names = [row["name"] for row in await conn.fetch(PRIMARY_KEY, quote_name(table), timeout=30)]
    return f"concat_ws(chr(30), {', '.join(f'{quote_identifier(name)}::text' for name in names)})" if names else "''"


def _where(where: Mapping[str, str] | None, table: str) -> str:
    condition = (where or {}).get(table)
    return f" where {condition}" if condition else ""
