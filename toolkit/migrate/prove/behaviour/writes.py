"""Inserts, updates and deletes on the tables of any schema, so that their triggers fire; all are rolled back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from toolkit.migrate.prove.behaviour.answers import Answer, described, judge
from toolkit.migrate.rows.inserting import Row, RowRefused, where_key
from toolkit.migrate.rows.one_row import insert_row, insert_statement, update_statements
from toolkit.migrate.rows.shapes import Shape
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_behaviour as sql

_DEADLINE_S = 20
_SERIAL = 701


@dataclass(frozen=True)
class Trigger:
    """A trigger of a table or view, and the function behind it."""

    table: str
    name: str
    function: int
    signature: str
    enabled: bool
    on_view: bool
    needs_path: bool
    definition: str


@dataclass
class Fired:
    """The results of the writes. `problems` by (table, verb); `worked`: the (table, verb) that worked at least once;
    `refused`: the message for the others; `reached`: the functions that ran during a write."""

    problems: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    worked: set[tuple[str, str]] = field(default_factory=set)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    reached: set[int] = field(default_factory=set)
    counted: bool = True  # whether the server counts the calls of functions for us
    statements: int = 0
    tables: set[str] = field(default_factory=set)

    def add(self, table: str, verb: str, problem: str) -> None:
        """Add a problem, unless it is known already."""
        found = self.problems.setdefault((table, verb), [])
        if problem not in found:
            found.append(problem)


async def read_triggers(conn: Connection) -> dict[tuple[str, str], Trigger]:
    """(table, name) → trigger, without those of the system and of extensions."""
    return {
        (row["table_name"], row["name"]): Trigger(
            row["table_name"],
            row["name"],
            row["function"],
            row["signature"],
            row["enabled"],
            row["kind"] == "v",
            row["needs_path"],
            row["definition"],
        )
        for row in await conn.fetch(sql.TRIGGERS, timeout=_DEADLINE_S)
    }


async def write_everywhere(
    conn: Connection,
    shapes: Mapping[str, Shape],
    samples: Mapping[str, Sequence[Row]],
    *,
    thoroughly: Iterable[str],
    pathless: Iterable[str] = (),
) -> Fired:
    """Insert a row into each table, update rows, delete one. In the tables of `thoroughly` each column of two rows is
    updated, in others one column; those of `pathless` are also written to with an empty search_path."""
    fired = Fired()
    chosen, bare = set(thoroughly), set(pathless)
    await conn.execute(sql.BOUND, timeout=_DEADLINE_S)
    try:
        await conn.execute(sql.COUNT_CALLS, timeout=_DEADLINE_S)
    except asyncpg.InsufficientPrivilegeError:
        fired.counted = False
    for table, shape in shapes.items():
        fired.tables.add(table)
        rows = samples.get(table, [])
        await _insert(conn, shapes, table, fired)
        for row in rows[: 2 if table in chosen else 1]:
            statements = update_statements(shape, row, next_values=True)
            keys = [name for name in statements if table in chosen] or list(statements)[-1:]
            for name in keys:
                await _attempt(conn, table, "update", statements[name], fired)
        for row in rows:
            await _attempt(
                conn, table, "delete", sql.DELETE.format(table=shape.quoted, where=where_key(shape, row)), fired
            )
        if table in bare:
            await _without_a_path(conn, shapes, table, rows, fired)
    return fired


async def _insert(conn: Connection, shapes: Mapping[str, Shape], table: str, fired: Fired) -> None:
    transaction = conn.transaction()
    await transaction.start()
    try:
        try:
            statement = await insert_statement(conn, shapes, table, _SERIAL)
        except RowRefused as refused:
            fired.refused.setdefault((table, "insert"), refused.why)
            return
    finally:
        await transaction.rollback()
    error = await _attempt(conn, table, "insert", statement, fired)
    if error is None or judge(error) in {Answer.BROKEN, Answer.UNDECIDED}:
        return
    # Another row is tried before the table counts as taking none.
    transaction = conn.transaction()
    await transaction.start()
    try:
        await insert_row(conn, shapes, table, _SERIAL)
        await conn.execute(sql.CHECK_NOW, timeout=_DEADLINE_S)
        await _note_reached(conn, fired)
    except (RowRefused, asyncpg.PostgresError):
        return  # the first refusal stands
    finally:
        await transaction.rollback()
    fired.worked.add((table, "insert"))


async def _without_a_path(
    conn: Connection, shapes: Mapping[str, Shape], table: str, rows: Sequence[Row], fired: Fired
) -> None:
    """Write with an empty search_path: a SECURITY DEFINER trigger function without its own works for some writers
    only."""
    shape = shapes[table]
    statements: dict[str, str] = {}
    for row in rows[:1]:
        statements["delete"] = sql.DELETE.format(table=shape.quoted, where=where_key(shape, row))
        statements["update"] = list(update_statements(shape, row, next_values=True).values())[-1]
    try:
        statements["insert"] = await insert_statement(conn, shapes, table, _SERIAL)
    except RowRefused as refused:
        fired.refused.setdefault((table, "insert"), refused.why)
    for verb, statement in statements.items():
        if (table, verb) not in fired.worked:
            continue
        error = await _attempt(conn, table, verb, statement, Fired(), before=sql.NO_PATH)
        if error is not None and judge(error) is Answer.BROKEN:
            fired.add(
                table,
                verb,
                f"its trigger finds what it needs by the writer's search_path; with another one: {described(error)}",
            )


async def _attempt(
    conn: Connection, table: str, verb: str, statement: str, fired: Fired, *, before: str = ""
) -> asyncpg.PostgresError | None:
    fired.statements += 1
    transaction = conn.transaction()
    await transaction.start()
    try:
        if before:
            await conn.execute(before, timeout=_DEADLINE_S)
        await conn.execute(statement, timeout=_DEADLINE_S)
        await conn.execute(sql.CHECK_NOW, timeout=_DEADLINE_S)
        await _note_reached(conn, fired)
    except asyncpg.PostgresError as error:
        if judge(error) in {Answer.BROKEN, Answer.UNDECIDED}:
            fired.add(table, verb, described(error))
        else:
            fired.refused.setdefault((table, verb), described(error))
        return error
    finally:
        await transaction.rollback()
    fired.worked.add((table, verb))
    return None


async def _note_reached(conn: Connection, fired: Fired) -> None:
    if fired.counted:
        fired.reached |= {row["function"] for row in await conn.fetch(sql.CALLED, timeout=_DEADLINE_S)}
