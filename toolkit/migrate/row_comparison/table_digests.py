"""Tables in few numbers, whatever their size: how many rows, and a digest of all of them or of each column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from toolkit.migrate.catalog import reading
from toolkit.migrate.catalog.tables import columns_of, own_rows_of, primary_key_of
from toolkit.postgres.connection import Connection
from toolkit.sql import row_comparison as sql
from toolkit.sql.quoting import quote_identifier, quote_name

_DEADLINE_S = 600
_TABLES_A_QUERY = 100


@dataclass(frozen=True)
class TableDigest:
    """`rows` and, for each column, a digest of all its values tied to their rows' keys."""

    table: str
    rows: int
    columns: Mapping[str, str]


async def digest_whole_tables(conn: Connection, tables: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Table → how many rows it has, and one digest of all of them; a hundred tables a question."""
    found = {}
    for start in range(0, len(tables), _TABLES_A_QUERY):
        some = tables[start : start + _TABLES_A_QUERY]
        query = sql.ALL_OF.join(
            sql.WHOLE_TABLE.format(number=number, table=quote_name(table)) for number, table in enumerate(some)
        )
        for row in await conn.fetch(query, timeout=_DEADLINE_S):
            found[some[row["number"]]] = (row["rows"], row["digest"])
    return found


async def digest_tables(
    conn: Connection,
    tables: Iterable[str],
    columns: Mapping[str, Sequence[str]] | None = None,
    where: Mapping[str, str] | None = None,
) -> dict[str, TableDigest]:
    """Digest tables (`schema.name`) column by column at one moment.

    `columns` limits a table to these (for example to those of before a migration), `where` to rows that satisfy an
    SQL condition of the caller's own making.
    """
    found = {}
    async with reading(conn):
        for table in tables:
            chosen = list((columns or {}).get(table) or await columns_of(conn, table))
            names = await primary_key_of(conn, table)
            key = sql.KEY.format(parts=", ".join(as_text(name) for name in names)) if names else "''"
            digests = "".join(
                f", {sql.COLUMN_DIGEST.format(key=key, column=quote_identifier(name))} as d{number}"
                for number, name in enumerate(chosen)
            )
            condition = (where or {}).get(table)
            query = sql.TABLE_DIGEST.format(
                digests=digests,
                table=await own_rows_of(conn, table),
                where=f" where {condition}" if condition else "",
            )
            row = await conn.fetchrow(query, timeout=_DEADLINE_S)
            assert row is not None
            found[table] = TableDigest(table, row["rows"], dict(zip(chosen, list(row.values())[1:], strict=True)))
    return found


def compare_digests(before: Mapping[str, TableDigest], after: Mapping[str, TableDigest]) -> tuple[str, ...]:
    """What differs, a sentence each; empty when every digested value is as it was. Pure."""
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


def as_text(column: str) -> str:
    """A column's value as Postgres writes it."""
    return sql.TEXT.format(column=quote_identifier(column))
