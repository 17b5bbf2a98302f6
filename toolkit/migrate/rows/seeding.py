"""Rows for every table of a schema, parents first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from toolkit.migrate.rows.inserting import (
    DEADLINE_S,
    FIRST_TRY,
    SHIFT,
    TRIES,
    Row,
    RowRefused,
    insert,
    keys_of,
    returned,
    where_key,
    words,
)
from toolkit.migrate.rows.shapes import ForeignKey, Shape, insertion_order
from toolkit.migrate.rows.values import literal, natural
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_rows as sql
from toolkit.sql.quoting import quote_identifier

_MOST_FAILURES = 3  # rows in a row that a table refuses, until it is believed


@dataclass(frozen=True)
class Seeded:
    """`rows`: table → how many rows were inserted; `refused`: table → why none could be; `notes`: anything else."""

    rows: Mapping[str, int]
    refused: Mapping[str, str]
    notes: tuple[str, ...] = ()


async def seed(conn: Connection, shapes: Mapping[str, Shape], rows_each: int) -> Seeded:
    """Insert `rows_each` rows into each table, parents first, in one transaction; says which tables refuse."""
    counts: dict[str, int] = {}
    refused: dict[str, str] = {}
    notes: list[str] = []
    async with conn.transaction():
        await conn.execute(sql.BOUND, timeout=DEADLINE_S)
        for group in insertion_order(shapes):
            if len(group) > 1:
                await _seed_circle(conn, [shapes[name] for name in group], rows_each, counts, refused)
                continue
            shape = shapes[group[0]]
            found, why = await _seed_table(conn, shape, rows_each)
            if found:
                counts[shape.table] = found
            elif rows_each:
                refused[shape.table] = why
            if why and found:
                notes.append(f"{shape.table} took {found} of {rows_each} rows: {why}")
        for table in [*refused]:
            # Triggers on its parents may have filled it, so that there is no room left.
            there = await conn.fetchval(sql.COUNT.format(table=shapes[table].quoted), timeout=DEADLINE_S)
            if there:
                counts[table] = there
                notes.append(
                    f"{table} has {there} rows that others brought along, and takes no more: {refused.pop(table)}"
                )
        notes += await _close_links(conn, shapes, counts)
    return Seeded(counts, refused, tuple(notes))


async def _seed_table(conn: Connection, shape: Shape, rows_each: int) -> tuple[int, str]:
    """How many rows it took, and why not all."""
    serials = list(range(1, rows_each + 1))
    if await conn.fetchval(sql.HAS_ROWS.format(table=shape.quoted), timeout=DEADLINE_S):
        serials = [serial + SHIFT for serial in serials]
    # A table that refers to itself needs a row to refer to.
    itself = any(key.table == shape.table for key in shape.foreign_keys)
    batches = [serials[:1], serials[1:]] if itself else [serials]
    count, why = 0, ""
    for batch in batches:
        if not batch:
            continue
        savepoint = conn.transaction()
        await savepoint.start()
        try:
            count += len(await insert(conn, shape, batch, {}, FIRST_TRY))
            await conn.execute(sql.CHECK_NOW, timeout=DEADLINE_S)
        except (RowRefused, asyncpg.PostgresError, TimeoutError):
            await savepoint.rollback()
            found, why = await _row_by_row(conn, shape, batch)
            count += found
            if not found:
                return count, why
        else:
            await savepoint.commit()
    return count, why or ("" if count else "it answers every INSERT with no row: a trigger or a rule discards them")


async def _row_by_row(conn: Connection, shape: Shape, serials: Sequence[int]) -> tuple[int, str]:
    count, failures, why = 0, 0, ""
    tries = list(TRIES)
    for serial in serials:
        problem = ""
        for style in tuple(tries):
            savepoint = conn.transaction()
            await savepoint.start()
            try:
                rows = await insert(conn, shape, [serial], {}, style)
                await conn.execute(sql.CHECK_NOW, timeout=DEADLINE_S)
            except (RowRefused, asyncpg.PostgresError, TimeoutError) as error:
                await savepoint.rollback()
                problem = problem or (error.why if isinstance(error, RowRefused) else words(error))
            else:
                await savepoint.commit()
                count, failures, problem = count + len(rows), 0, ""
                tries.sort(key=lambda other: other is not style)  # what worked is tried first
                break
        if problem:
            why, failures = why or problem, failures + 1
            if failures == _MOST_FAILURES:
                break
    return count, why


# -- tables that need each other --------------------------------------------------------------------------------------


async def _seed_circle(
    conn: Connection, circle: Sequence[Shape], rows_each: int, counts: dict[str, int], refused: dict[str, str]
) -> None:
    """Rows whose keys are agreed on beforehand, inserted while the constraints between them wait."""
    names = {shape.table for shape in circle}
    savepoint = conn.transaction()
    await savepoint.start()
    try:
        await conn.execute(sql.DEFER, timeout=DEADLINE_S)
        for shape in _deferrable_first(circle):
            for serial in range(1, rows_each + 1):
                await insert(conn, shape, [serial], _agreed(shape, circle, names, serial), FIRST_TRY)
        await conn.execute(sql.CHECK_NOW, timeout=DEADLINE_S)
    except (RowRefused, asyncpg.PostgresError, TimeoutError) as error:
        await savepoint.rollback()
        why = error.why if isinstance(error, RowRefused) else words(error)
        walk = " → ".join(shape.table for shape in circle)
        for shape in circle:
            refused[shape.table] = f"{walk} need each other, and no constraint between them waits: {why}"
    else:
        await savepoint.commit()
        counts.update(dict.fromkeys(names, rows_each))


def _deferrable_first(circle: Sequence[Shape]) -> list[Shape]:
    """In an order in which only constraints that wait are not met at once."""
    left, done = list(circle), list[Shape]()
    while left:
        inside = {shape.table for shape in left}
        ready = [
            shape
            for shape in left
            if not any(
                key.table in inside - {shape.table} and not key.deferrable and shape.hard(key)
                for key in shape.foreign_keys
            )
        ]
        done += ready or left
        left = [shape for shape in left if shape not in done]
    return done


def _agreed(shape: Shape, circle: Sequence[Shape], names: Iterable[str], serial: int) -> dict[str, str | None]:
    """The key that others of the circle will refer to, and their keys that this row refers to."""
    by_name = {other.table: other for other in circle}
    values: dict[str, str | None] = {}
    for other in circle:
        for key in other.foreign_keys:
            if key.table == shape.table and other.hard(key):
                values |= {name: natural(shape.column(name).kind, name, serial) for name in key.references}
    for key in shape.foreign_keys:
        if key.table in names and shape.hard(key):
            target = by_name[key.table]
            for name, referred in zip(key.columns, key.references, strict=True):
                values[name] = natural(target.column(referred).kind, referred, serial)
    return values


async def _close_links(conn: Connection, shapes: Mapping[str, Shape], counts: Mapping[str, int]) -> list[str]:
    """Give one row of each table a parent that came after it, so that circles of references are closed."""
    position = {name: number for number, group in enumerate(insertion_order(shapes)) for name in group}
    notes = []
    for table in counts:
        shape = shapes[table]
        for key in shape.foreign_keys:
            if key.table not in counts or position[key.table] <= position[table]:
                continue
            savepoint = conn.transaction()
            await savepoint.start()
            try:
                await _close(conn, shape, key)
                await conn.execute(sql.CHECK_NOW, timeout=DEADLINE_S)
            except (asyncpg.PostgresError, TimeoutError) as error:
                await savepoint.rollback()
                notes.append(f"no row of {table} refers to {key.table}: {words(error)}")
            else:
                await savepoint.commit()
    return notes


async def _close(conn: Connection, shape: Shape, key: ForeignKey) -> None:
    parents = await keys_of(conn, key)
    query = sql.ONE_ROW.format(columns=returned(shape), table=shape.quoted)
    record = await conn.fetchrow(query, timeout=DEADLINE_S)
    if not parents or record is None:
        return
    row = Row(shape.table, dict(zip([column.name for column in shape.columns], record.values(), strict=True)))
    assignments = ", ".join(
        f"{quote_identifier(name)} = {literal(value, shape.column(name).type)}"
        for name, value in zip(key.columns, parents[0], strict=True)
    )
    await conn.execute(
        sql.LINK.format(table=shape.quoted, assignments=assignments, where=where_key(shape, row)), timeout=DEADLINE_S
    )
