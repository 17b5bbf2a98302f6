"""Writes numbered probe rows as an application would: each INSERT, UPDATE and DELETE in a transaction of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import asyncpg

from toolkit.migrate.prove.delivery.wal import Operation
from toolkit.migrate.prove.delivery.wal_judge import NO_IDENTITY, Phase, Write
from toolkit.migrate.rows.inserting import Row, RowRefused, where_key
from toolkit.migrate.rows.one_row import insert_row, insert_statement, update_statements
from toolkit.migrate.rows.shapes import Shape
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_delivery as sql

ADMINISTRATOR = "the administrator"
_DEADLINE_S = 30
_PAUSE_S = 0.003
_CODE = re.compile(r"\[([0-9A-Z]{5})\]$")
_CLOCKS = ("timestamp", "date", "time")


@dataclass(frozen=True)
class _Failed:
    why: str
    sqlstate: str = ""
    suppressed: bool = False


@dataclass(frozen=True)
class _Done:
    xid: int
    row: Row


class Writer:
    """The probes of one connection. `writes`: each write with its outcome, in the order of commits.

    It writes as an application's role where one may write the table without a policy in the way, else as the session's
    own. From the second row on it sends the values that the table returned for the first, so that a rewrite of values
    shows. `given`: table → values that its rows must have.
    """

    def __init__(
        self, conn: Connection, first_serial: int, given: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        self.writes: list[Write] = []
        self.wrote = asyncio.Event()
        self.given: Mapping[str, Mapping[str, str]] = given or {}
        self._conn, self._serial = conn, first_serial
        self._accepted: dict[str, Mapping[str, str | None]] = {}
        self._works: dict[str, tuple[str, bool]] = {}

    async def prepare(self) -> None:
        """Set the session so that a commit can be decoded at once."""
        await self._conn.execute(sql.WRITE_DURABLY, timeout=_DEADLINE_S)

    async def round(
        self, phase: Phase, shapes: Mapping[str, Shape], tables: Iterable[str], pause: Callable[[], Awaitable[None]]
    ) -> None:
        """Insert and update one row in each table, pause, and delete them, those that refer to others first.

        The pause is there because the endpoint asks the database whether a subscriber may see a row.
        """
        there = {}
        for table in tables:
            if table in shapes and (row := await self._bring(phase, shapes, shapes[table])) is not None:
                there[table] = self._serial, row
        await pause()
        for table in reversed(list(shapes)):
            if table in there:
                await self._take(phase, shapes[table], *there[table])

    async def keep_on(
        self, phase: Phase, shapes: Mapping[str, Shape], tables: Iterable[str], enough: asyncio.Event
    ) -> None:
        """Write rounds until `enough` is set; the current row is finished."""
        while not enough.is_set():
            for table in tables:
                if table in shapes and not enough.is_set():
                    row = await self._bring(phase, shapes, shapes[table])
                    if row is not None:
                        await self._take(phase, shapes[table], self._serial, row)
            await asyncio.sleep(_PAUSE_S)

    async def _bring(self, phase: Phase, shapes: Mapping[str, Shape], shape: Shape) -> Row | None:
        """Insert a row and update it; None when the table takes none."""
        self._serial += 1
        given = {n: v for n, v in self.given.get(shape.table, {}).items() if _has(shape, n)}
        # The required values may no longer fit; then any row is better than none.
        tries: list[Mapping[str, str | None]] = [{**self._to_echo(shape), **given}, given, {}]
        while True:
            values = tries.pop(0)
            write = partial(self._insert, shapes, shape, values)
            role, result = await self._as_somebody(shape, "INSERT", write)
            if not values or not isinstance(result, _Failed) or result.suppressed:
                break
        probe = Write(self._serial, phase, shape.table, "INSERT", role, key=shape.primary_key)
        if isinstance(result, _Failed):
            self._note(probe, result)
            return None
        row = result.row
        self._accepted.setdefault(shape.table, row.values)
        self._note(replace(probe, altered=_altered(shape, values, row)), result)
        role, result = await self._as_somebody(shape, "UPDATE", lambda: self._update(shape, row))
        self._note(replace(probe, operation="UPDATE", role=role), result)
        return row

    async def _take(self, phase: Phase, shape: Shape, serial: int, row: Row) -> None:
        role, result = await self._as_somebody(shape, "DELETE", lambda: self._delete(shape, row))
        self._note(Write(serial, phase, shape.table, "DELETE", role, key=shape.primary_key), result)

    def _to_echo(self, shape: Shape) -> dict[str, str | None]:
        first = self._accepted.get(shape.table, {})
        single = {name for names in (shape.primary_key, *shape.uniques) for name in names}
        single |= {name for key in shape.foreign_keys for name in key.columns}
        return {
            column.name: first[column.name]
            for column in shape.columns
            if column.name in first and column.name not in single and column.updatable and not column.identity
        }

    # -- one write ----------------------------------------------------------------------------

    async def _as_somebody(
        self, shape: Shape, operation: Operation, write: Callable[[], Awaitable[Row | _Failed]]
    ) -> tuple[str, _Done | _Failed]:
        try:
            role = await self._conn.fetchval(sql.WRITERS, shape.quoted, operation.lower(), timeout=_DEADLINE_S)
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
            return ADMINISTRATOR, _Failed(f"{error} [{error.sqlstate}]", error.sqlstate or "")  # gone, or renamed
        if role is not None:
            result = await self._commit(role, write)
            # It may not read a parent or what a trigger needs, which is for the security proof to judge.
            if not isinstance(result, _Failed) or result.sqlstate != "42501":
                return str(role), result
        return ADMINISTRATOR, await self._commit(None, write)

    async def _commit(self, role: str | None, write: Callable[[], Awaitable[Row | _Failed]]) -> _Done | _Failed:
        try:
            async with asyncio.timeout(_DEADLINE_S):
                transaction = self._conn.transaction()
                await transaction.start()
                try:
                    if role is not None:
                        await self._conn.execute(sql.BECOME.format(role=role.replace('"', '""')), timeout=_DEADLINE_S)
                    result = await write()
                    if isinstance(result, _Failed):
                        await transaction.rollback()
                        return result
                    xid = int(await self._conn.fetchval(sql.XID, timeout=_DEADLINE_S))
                except BaseException:
                    if not self._conn.is_closed():
                        await transaction.rollback()
                    raise
                await transaction.commit()
                return _Done(xid, result)
        except RowRefused as refused:
            code = _CODE.search(refused.why)
            return _Failed(refused.why, code.group(1) if code else "")
        except asyncpg.PostgresError as error:
            if self._conn.is_closed():
                raise
            return _Failed(f"{error} [{error.sqlstate}]", error.sqlstate or "")
        except TimeoutError:
            return _Failed(f"no answer within {_DEADLINE_S} s")

    async def _insert(
        self, shapes: Mapping[str, Shape], shape: Shape, given: Mapping[str, str | None]
    ) -> Row | _Failed:
        try:
            return await insert_row(self._conn, shapes, shape.table, self._serial, given)
        except RowRefused as refused:
            if _CODE.search(refused.why):
                raise
            # No error and no row: a trigger may discard rows.
            statement = await insert_statement(self._conn, shapes, shape.table, self._serial, given)
            if await self._conn.fetch(statement, timeout=_DEADLINE_S):
                raise
            return _Failed("an INSERT is answered with no row and no error", suppressed=True)

    async def _update(self, shape: Shape, row: Row) -> Row | _Failed:
        failed = _Failed("it has no column that may be updated")
        for name, other in self._ways(shape):
            statement = update_statements(shape, row, next_values=other).get(name)
            if statement is None:
                continue
            try:
                async with self._conn.transaction():
                    changed = await self._conn.execute(statement, timeout=_DEADLINE_S)
            except asyncpg.PostgresError as error:
                failed = _Failed(f"{error} [{error.sqlstate}]", error.sqlstate or "")
                if failed.sqlstate in NO_IDENTITY:
                    break
                continue
            if changed != "UPDATE 0":
                self._works[shape.table] = name, other
                return row
            failed = await self._unmoved(shape, row, "an UPDATE of a row that is there changes none")
        return failed

    def _ways(self, shape: Shape) -> list[tuple[str, bool]]:
        """Updates to try: the one that worked last, then another value in a column, then the same values again."""
        kept = self.given.get(shape.table, {})  # the owner must stay the same
        names = [column.name for column in shape.columns if column.updatable and column.name not in kept]
        free = [name for name in names if name not in shape.primary_key]
        # Without a key the row is found by its values, so these must stay.
        ways = [(name, True) for name in free if shape.primary_key] + [(name, False) for name in [*free, *names]]
        known = self._works.get(shape.table)
        return [known, *ways] if known in ways and known is not None else ways

    async def _delete(self, shape: Shape, row: Row) -> Row | _Failed:
        statement = sql.DELETE.format(table=shape.quoted, condition=where_key(shape, row))
        if await self._conn.execute(statement, timeout=_DEADLINE_S) == "DELETE 0":
            return await self._unmoved(shape, row, "a DELETE of a row that is there deletes none")
        return row

    async def _unmoved(self, shape: Shape, row: Row, what: str) -> _Failed:
        query = sql.IS_THERE.format(table=shape.quoted, condition=where_key(shape, row))
        there = await self._conn.fetchval(query, timeout=_DEADLINE_S)
        return _Failed(what, suppressed=True) if there else _Failed("the row went with another one")

    def _note(self, write: Write, result: _Done | _Failed) -> None:
        if isinstance(result, _Failed):
            write = replace(
                write, refused=" ".join(result.why.split()), sqlstate=result.sqlstate, suppressed=result.suppressed
            )
        else:
            write = replace(write, xid=result.xid, row=result.row.values)
        self.writes.append(write)
        self.wrote.set()


def _altered(shape: Shape, given: Mapping[str, str | None], row: Row) -> tuple[str, ...]:
    """Columns that hold another value than was sent; times of the last change are left out, since triggers set them."""
    return tuple(
        column.name
        for column in shape.columns
        if column.name in given
        and row.values.get(column.name) != given[column.name]
        and not column.type.startswith(_CLOCKS)
    )


def _has(shape: Shape, name: str) -> bool:
    return any(column.name == name for column in shape.columns)
