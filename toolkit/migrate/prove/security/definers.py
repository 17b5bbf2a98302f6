"""Calls every function that runs with its owner's rights as those who have none, with other people's ids."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from toolkit.migrate.access.matrix import Call, Cell, Key
from toolkit.migrate.access.ownership import USER_NAMES, snake
from toolkit.migrate.access.personas import (
    KEY,
    NOBODY,
    OWNER_OF_USER,
    PEOPLES,
    TEXT_ID,
    THEIRS,
    USERS,
    UUID_ID,
    PersonaSession,
    RowOwner,
)
from toolkit.migrate.access.privileges import Routine
from toolkit.migrate.access.staging import Staging
from toolkit.migrate.access.try_cells import literal
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_security as sql
from toolkit.sql.quoting import quote_identifier

MOST_CALLS = 400
_MOST_TRIES = 4  # combinations of ids a function
_CALL_MS = 2000
_DEADLINE_S = 30
_PREFIX = re.compile(r"^(p|in|arg|v|_)_?(?=[a-z])|^_+")
_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_SHORTEST = 8  # characters of a text that tells one row from another
_PLAIN = {
    "text": "toolkit",
    "character varying": "toolkit",
    "integer": "1",
    "bigint": "1",
    "smallint": "1",
    "numeric": "1",
    "double precision": "1",
    "boolean": "true",
    "jsonb": "{}",
    "json": "{}",
    "uuid": "0a7c5a10-0000-4000-8000-0000000000ff",
    "timestamp with time zone": "2026-01-01",
    "date": "2026-01-01",
    "timestamp without time zone": "2026-01-01",
    "interval": "1 day",
}


async def call_definers(
    conn: Connection, staging: Staging, cells: Mapping[Key, Cell], tell: Callable[[str], None]
) -> tuple[dict[str, tuple[Call, ...]], int]:
    """Calls by function, and how many calls were left out because there were too many."""
    catalog, ownership = staging.catalog, staging.ownership
    callers = [
        PersonaSession("anon", KEY, "anon", '{"role": "anon"}'),
        *(
            session
            for (_, session, _) in cells
            if session.persona == "other" and session.shape == (TEXT_ID if ownership.text_ids else UUID_ID)
        ),
    ]
    callers = [session for session in dict.fromkeys(callers) if session.role in catalog.roles]
    marks = _marks(staging)
    found: dict[str, tuple[Call, ...]] = {}
    calls = left_out = 0
    unseen = {session: _unseen(marks, cells, session) for session in callers}
    for routine in catalog.routines.values():
        if not (routine.definer and routine.callable):
            continue
        made: list[Call] = []
        for session in callers:
            if session.role not in routine.executors:
                continue
            for given in _arguments(routine, staging):
                if calls >= MOST_CALLS:
                    left_out += 1
                    continue
                calls += 1
                if calls % 50 == 1:
                    tell(f"calling {routine.name} as {session}")
                made.append(await _Calling(conn, staging, session, unseen[session]).call(routine, given))
        if made:
            found[routine.name] = tuple(made)
    return found, left_out


def _marks(staging: Staging) -> dict[tuple[str, RowOwner], frozenset[str]]:
    """(table, RowOwner) → texts by which a row is recognised: its ids, and values that no other owner's rows have."""
    found: dict[tuple[str, RowOwner], frozenset[str]] = {}
    for table, rows in staging.rows.items():
        relation = staging.catalog.relations.get(table)
        if relation is None or table not in staging.ownership.owned:
            continue
        texts = {column.name for column in relation.columns if column.type in {"text", "character varying", "uuid"}}
        for row_owner, values in rows.items():
            others = {value for other, row in rows.items() if other != row_owner for value in row.values()}
            found[table, row_owner] = frozenset(
                value
                for name, value in values.items()
                if name in texts and value and value not in others and (_UUID.match(value) or len(value) >= _SHORTEST)
            )
    return found


def _unseen(
    marks: Mapping[tuple[str, RowOwner], frozenset[str]], cells: Mapping[Key, Cell], session: PersonaSession
) -> dict[str, frozenset[str]]:
    """Table → texts of its rows that the session may not see by itself."""
    shown = {
        name: cell.row_owners
        for (name, who, verb), cell in cells.items()
        if verb == "select" and (who.persona, who.shape) == (session.persona, session.shape)
    }
    visible = frozenset[str]().union(
        *(texts for (table, row_owner), texts in marks.items() if row_owner in shown.get(table, ()))
    )
    found: dict[str, frozenset[str]] = {}
    for (table, _), texts in marks.items():
        found[table] = found.get(table, frozenset()) | (texts - visible)
    return found


def _arguments(routine: Routine, staging: Staging) -> list[dict[int, str | None]]:
    """Plausible arguments by position, with somebody else's ids wherever an id fits; a few combinations."""
    required = len(routine.types) - routine.defaults - int(routine.variadic)
    choices: list[list[tuple[int, str | None]]] = []
    for position, (type_, name) in enumerate(zip(routine.types, _padded(routine), strict=True)):
        ids = _ids(type_, name, staging, routine.bare.partition(".")[0])
        if position >= required and (not ids or not name):
            continue
        values: list[str | None] = list(ids[:_MOST_TRIES]) or [_PLAIN.get(type_, "{}" if "[]" in type_ else None)]
        choices.append([(position, value) for value in values])
    return [dict(one) for one in itertools.islice(itertools.product(*choices), _MOST_TRIES)]


def _padded(routine: Routine) -> Sequence[str]:
    return (*routine.names, *[""] * len(routine.types))[: len(routine.types)]


def _ids(type_: str, name: str, staging: Staging, schema: str) -> list[str]:
    """Somebody else's ids that an argument of this name may stand for; those of the function's own schema first."""
    bare = _PREFIX.sub("", snake(name))
    if any(pattern.search(bare) for pattern in USER_NAMES) and type_ in {"uuid", "text", "character varying"}:
        return [str(USERS[THEIRS])]
    referred = [
        (reference.parent, reference.referenced[0])
        for relation in staging.catalog.relations.values()
        for reference in relation.references
        if len(reference.columns) == 1 and snake(reference.columns[0]) == bare
    ]
    noun = bare.removesuffix("_id")
    named = [(table, "id") for table in staging.rows if noun and table.partition(".")[2].rstrip("s").endswith(noun)]
    found = _values((*referred, *named), staging, schema)
    if found or type_ not in {"uuid", "bigint", "integer"} or not (bare in {"", "id", "ids"} or bare.endswith("_id")):
        return found
    keys = [
        (table, "id")
        for table in staging.rows
        if (c := staging.catalog.relations[table].column("id")) is not None and c.type == type_
    ]
    return _values(keys, staging, schema)


def _values(places: Iterable[tuple[str, str]], staging: Staging, schema: str) -> list[str]:
    found: dict[str, None] = {}
    for table, column in sorted(places, key=lambda place: not place[0].startswith(f"{schema}.")):
        value = staging.rows.get(table, {}).get(THEIRS, {}).get(column)
        if value:
            found[value] = None
    return list(found)


@dataclass(frozen=True)
class _Calling:
    """One caller. `unseen`: table → texts of the rows that it may not see by itself."""

    conn: Connection
    staging: Staging
    session: PersonaSession
    unseen: Mapping[str, frozenset[str]]

    async def call(self, routine: Routine, given: Mapping[int, str | None]) -> Call:
        """Call, look at what came of it, take it back."""
        conn, session = self.conn, self.session
        names = _padded(routine)
        arguments = ", ".join(
            f"{quote_identifier(names[position])} => {literal(value)}::{routine.types[position]}"
            if names[position]
            else f"{literal(value)}::{routine.types[position]}"
            for position, value in given.items()
        )
        transaction = conn.transaction()
        await transaction.start()
        try:
            await conn.execute(sql.BOUND.format(ms=_CALL_MS), timeout=_DEADLINE_S)
            await conn.execute(sql.CLAIMS, session.claims or "", True, timeout=_DEADLINE_S)
            await conn.execute(sql.ASSUME, session.role, timeout=_DEADLINE_S)
            lines: list[str] = []
            if routine.procedure:
                await conn.execute(
                    sql.CALL_PROCEDURE.format(function=routine.quoted, arguments=arguments), timeout=_DEADLINE_S
                )
            else:
                query = sql.CALL.format(function=routine.quoted, arguments=arguments, most=500)
                lines = [line for line in await conn.fetchval(query, timeout=_DEADLINE_S) or [] if line]
            await conn.execute(sql.BE_ONESELF, timeout=_DEADLINE_S)
            leaks = _shown(lines, given.values(), self.unseen)
            leaks += await self._changed(given.values())
        except asyncpg.PostgresError as error:
            return Call(session, error.sqlstate or "", str(error).splitlines()[0])
        finally:
            await transaction.rollback()
        return Call(session, leaks=tuple(leaks))

    async def _changed(self, given: Iterable[str | None]) -> list[str]:
        by_oid = {relation.oid: relation for relation in self.staging.catalog.relations.values()}
        known = {value for value in given if value and (_UUID.match(value) or value in OWNER_OF_USER)}
        found = []
        for row in await self.conn.fetch(sql.TOUCHED, timeout=_DEADLINE_S):
            table = by_oid.get(row["relation"])
            if table is None or table.platform:
                continue
            places = self.staging.places.get(table.name, {})
            if row["changed"]:
                left = set(await self.conn.fetchval(sql.PLACES.format(table=table.quoted), timeout=_DEADLINE_S))
                hit = {whose for place, whose in places.items() if place not in left} & {*PEOPLES, NOBODY}
                if hit - self.session.entitled:
                    found.append(f"changed or deleted rows of {table.name}: {', '.join(sorted(hit))}")
            if row["inserted"]:
                lines = await self.conn.fetch(
                    sql.NEW_ROWS.format(table=table.quoted), list(places), timeout=_DEADLINE_S
                )
                if any(value in line["line"] for line in lines for value in known):
                    found.append(f"wrote a row of somebody else's into {table.name}")
        return found


def _shown(lines: Iterable[str], given: Iterable[str | None], unseen: Mapping[str, frozenset[str]]) -> list[str]:
    # What was put in and comes out again was known already.
    known = {value for value in given if value}
    found: dict[str, None] = {}
    for line in lines:
        # Rows of several tables share ids; the one that most of the line comes from is named.
        hits = {table: sum(mark in line for mark in marks - known) for table, marks in unseen.items()}
        most = max(hits.values(), default=0)
        if most:
            found[next(table for table, count in hits.items() if count == most)] = None
    return [f"returned somebody else's rows: of {', '.join(found)}"] if found else []
