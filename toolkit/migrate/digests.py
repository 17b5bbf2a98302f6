"""Were rows preserved? A dump of the schema cannot tell: drop a column, add it again, and it looks the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from toolkit.migrate.catalog import reading
from toolkit.migrate.export import quote_identifier, quote_name
from toolkit.migrate.ledger import Connection
from toolkit.sql import digests as sql
from toolkit.sql.ledger import PRIMARY_KEY

_DEADLINE_S = 600


@dataclass(frozen=True)
class TableDigest:
    """`rows` and, for each column, a digest of all its values tied to their rows' keys."""

    table: str
    rows: int
    columns: Mapping[str, str]


@dataclass(frozen=True)
class RowFingerprints:
    """Key (text of the primary key) → digest of the row's chosen columns."""

    table: str
    columns: tuple[str, ...]
    rows: Mapping[str, str]


@dataclass(frozen=True)
class RowComparison:
    """Keys of rows that are gone, that differ, and that are new."""

    table: str
    lost: tuple[str, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]

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
    """A digest for each row, for tables small enough to name every row that changed. The table needs a primary key."""
    async with reading(conn):
        chosen = tuple(columns or await _columns(conn, table))
        key = await _key(conn, table)
        assert key != "''", f"{table} has no primary key to tell its rows apart"
        query = sql.ROW_FINGERPRINTS.format(
            key=key,
            values=", ".join(sql.ROW_VALUE.format(column=quote_identifier(name)) for name in chosen),
            table=quote_name(table),
            where=f" where {where}" if where else "",
        )
        rows = {row["key"]: row["digest"] for row in await conn.fetch(query, timeout=_DEADLINE_S)}
    return RowFingerprints(table, chosen, rows)


def compare_rows(before: RowFingerprints, after: RowFingerprints) -> RowComparison:
    """Row by row; both must cover the same columns."""
    assert (before.table, before.columns) == (after.table, after.columns), "fingerprints of different columns"
    old, new = before.rows, after.rows
    return RowComparison(
        before.table,
        lost=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(sorted(key for key in old.keys() & new.keys() if old[key] != new[key])),
        added=tuple(sorted(new.keys() - old.keys())),
    )


async def _columns(conn: Connection, table: str) -> list[str]:
    return [row["name"] for row in await conn.fetch(sql.COLUMNS, quote_name(table), timeout=30)]


async def _key(conn: Connection, table: str) -> str:
    names = [row["name"] for row in await conn.fetch(PRIMARY_KEY, quote_name(table), timeout=30)]
    return f"concat_ws(chr(30), {', '.join(f'{quote_identifier(name)}::text' for name in names)})" if names else "''"


def _where(where: Mapping[str, str] | None, table: str) -> str:
    condition = (where or {}).get(table)
    return f" where {condition}" if condition else ""
