"""Finds what a comparison of rows does not show: sequences that fell behind, defaults that older rows lack,
partitions."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from toolkit.migrate.folder.headers import Destroyed
from toolkit.migrate.rows.shapes import Shape
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_data as sql
from toolkit.sql.quoting import quote_identifier, quote_name

_DEADLINE_S = 60


async def counters_behind(conn: Connection) -> dict[str, str]:
    """`table.column` → what is wrong, for each unique column whose sequence will give out a number that is in use."""
    found = {}
    for row in await conn.fetch(sql.COUNTERS, timeout=_DEADLINE_S):
        if not row["is_unique"]:
            continue
        query = sql.BEHIND.format(
            step=row["step"],
            sequence=row["sequence"],
            column=quote_identifier(row["column_name"]),
            table=quote_name(row["table_name"]),
        )
        state = await conn.fetchrow(query, timeout=_DEADLINE_S)
        if state is None or state["highest"] is None or row["step"] < 0 or state["next"] > int(state["highest"]):
            continue
        column = f"{row['table_name']}.{row['column_name']}"
        found[column] = (
            f"{column}: {row['sequence']} will give out {state['next']}, but the highest number in use is "
            f"{state['highest']}: inserts will collide"
        )
    return found


async def left_without_default(
    conn: Connection, before: Mapping[str, Shape], declared: Container[tuple[str, str]]
) -> list[str]:
    """New columns with a constant default that no older row has: old and new rows differ without a reason.

    A computed default (a time, a random id) does not count, since its value for older rows is unknown.
    """
    found = []
    for row in await conn.fetch(sql.NEW_DEFAULTS, timeout=_DEADLINE_S):
        table, column = row["table_name"], row["column_name"]
        old = before.get(table)
        if old is None or (table, column) in declared or column in {known.name for known in old.columns}:
            continue
        query = sql.WITHOUT.format(column=quote_identifier(column), table=quote_name(table))
        counts = await conn.fetchrow(query, timeout=_DEADLINE_S)
        if counts is not None and counts["rows"] and counts["without"] == counts["rows"]:
            found.append(
                f"{table}.{column}: new rows get {row['default']}, but all {counts['rows']} rows from before have NULL"
            )
    return found


async def with_their_roots(conn: Connection, declared: Sequence[Destroyed]) -> tuple[Destroyed, ...]:
    """The declarations, and for each declared partition one for the rows of its root, which it takes with it."""
    roots = {row["name"]: row["root"] for row in await conn.fetch(sql.PARTITIONS, timeout=_DEADLINE_S)}
    return (
        *declared,
        *(
            Destroyed(roots[entry.table], rows_only=True)
            for entry in declared
            if entry.whole_table and entry.table in roots
        ),
    )
