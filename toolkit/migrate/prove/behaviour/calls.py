"""Calls functions and reads views, each in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from toolkit.migrate.prove.behaviour.answers import Answer, described, hangs_on, judge
from toolkit.migrate.prove.behaviour.arguments import Argument, Function, Known, argument_sets
from toolkit.migrate.rows.inserting import Row
from toolkit.migrate.rows.shapes import Shape, kind_of
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_behaviour as sql
from toolkit.sql import prove_rows
from toolkit.sql.quoting import quote_identifier

_DEADLINE_S = 20
_MOST_ROWS = 4
_AS_SERVER = 3  # how many argument sets are also tried as the server's role
SERVER_ROLE = "service_role"


@dataclass
class Called:
    """The results of the calls: `problems` by function or view, and how much was tried."""

    problems: dict[str, list[str]] = field(default_factory=dict)
    callees: int = 0
    calls: int = 0
    answered: set[str] = field(default_factory=set)  # functions that returned a result at least once
    undecided: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, problem: str) -> None:
        """Add a problem, unless it is known already."""
        if problem not in self.problems.setdefault(name, []):
            self.problems[name].append(problem)


async def read_functions(conn: Connection) -> dict[str, Function]:
    """Signature → function, without those of the system and of extensions."""
    rows = await conn.fetch(sql.FUNCTIONS, timeout=_DEADLINE_S)
    types = {row["oid"]: row for row in await conn.fetch(prove_rows.TYPES, timeout=_DEADLINE_S)}
    wanted = sorted({oid for row in rows for oid in row["arg_types"]})
    names = {row["oid"]: row["name"] for row in await conn.fetch(sql.TYPE_NAMES, wanted, timeout=_DEADLINE_S)}
    return {row["signature"]: _function(row, types, names) for row in rows}


def _function(row: asyncpg.Record, types: Mapping[int, asyncpg.Record], names: Mapping[int, str]) -> Function:
    oids = list(row["arg_types"])
    modes = list(row["arg_modes"] or ["i"] * len(oids))
    labels = list(row["arg_names"] or [""] * len(modes))
    given = [label or "" for label, mode in zip(labels, modes, strict=True) if mode in {"i", "b", "v"}]
    if row["kind"] == "p":  # procedures are called with their OUT arguments too
        given = [label or "" for label, mode in zip(labels, modes, strict=True) if mode in {"i", "b", "v", "o"}]
    given += [""] * (len(oids) - len(given))
    arguments = tuple(
        Argument(
            given[place],
            _concrete(names[oid]),
            kind_of(oid, -1, types),
            optional=place >= len(oids) - row["defaults"],
            variadic=row["variadic"] and place == len(oids) - 1,
        )
        for place, oid in enumerate(oids)
    )
    return Function(
        signature=row["signature"],
        quoted=row["quoted"],
        is_procedure=row["kind"] == "p",
        returns=row["returns"],
        strict=row["strict"],
        definer=row["definer"],
        pins_path=row["pins_path"],
        immutable=row["volatility"] == "i",
        source=row["source"] or "",
        definition=row["definition"],
        oid=row["oid"],
        arguments=arguments,
    )


_CONCRETE = {
    "anyelement": "text",
    "anycompatible": "text",
    "anynonarray": "text",
    "anyenum": "text",
    '"any"': "text",
    "anyarray": "text[]",
    "anycompatiblearray": "text[]",
}


def _concrete(type_name: str) -> str:
    """A concrete type for an argument of a polymorphic type."""
    return _CONCRETE.get(type_name, type_name)


async def sample_rows(conn: Connection, shapes: Mapping[str, Shape]) -> dict[str, list[Row]]:
    """A few rows of each table, as text."""
    found = {}
    for table, shape in shapes.items():
        names = [column.name for column in shape.columns]
        if not names:
            continue
        columns = ", ".join(prove_rows.AS_TEXT.format(column=quote_identifier(name)) for name in names)
        query = sql.SOME_ROWS.format(columns=columns, table=shape.quoted, limit=_MOST_ROWS)
        rows = await conn.fetch(query, timeout=_DEADLINE_S)
        found[table] = [Row(table, dict(zip(names, row.values(), strict=True))) for row in rows]
    return found


async def call_functions(conn: Connection, functions: Sequence[Function], known: Known) -> Called:
    """Call each with several argument sets: as the owner of the database, as the server's role where there is one, and
    SECURITY DEFINER functions also with an empty search_path. Every call is rolled back."""
    called = Called()
    await conn.execute(sql.BOUND, timeout=_DEADLINE_S)
    server = await conn.fetchval(sql.ROLE_EXISTS, SERVER_ROLE, timeout=_DEADLINE_S)
    for function in functions:
        called.callees += 1
        sets = argument_sets(function, known)
        values: list[str] = []
        for number, arguments in enumerate(sets):
            roles = ("", SERVER_ROLE) if server and number < _AS_SERVER else ("",)
            for role in roles:
                await _call(conn, function, arguments, role=role, called=called, values=values)
        if values and function.signature not in called.answered:
            if function.builds_statements and len(set(values)) > 1:
                # Which names and conditions it takes, nobody outside it knows.
                called.undecided.setdefault(function.signature, f"no argument list of {len(sets)} fits: {values[0]}")
            else:
                called.add(function.signature, f"it can handle none of {len(sets)} argument lists: {values[0]}")
        if function.signature in called.answered:
            await _look_closer(conn, function, sets, called)
    return called


async def _call(
    conn: Connection, function: Function, arguments: str, *, role: str, called: Called, values: list[str]
) -> None:
    called.calls += 1
    template = sql.CALL_PROCEDURE if function.is_procedure else sql.CALL_FUNCTION
    error = await _attempt(conn, template.format(function=function.quoted, arguments=arguments), role=role)
    if error is not None and function.is_procedure and error.sqlstate == "2D000":
        error = await _outside(conn, template.format(function=function.quoted, arguments=arguments))
    if error is None:
        called.answered.add(function.signature)
        return
    answer, shown = judge(error), described(error)
    if answer is Answer.BROKEN and hangs_on(error, arguments, function.source):
        answer = Answer.VALUE
    if role and shown not in called.problems.get(function.signature, ()):
        shown += f" (as {role})"
    if answer is Answer.BROKEN:
        called.add(function.signature, shown)
    elif answer is Answer.UNDECIDED:
        called.undecided.setdefault(function.signature, shown)
    elif answer is Answer.VALUE:
        values.append(described(error))
    else:
        called.answered.add(function.signature)


async def _look_closer(conn: Connection, function: Function, sets: Sequence[str], called: Called) -> None:
    if function.definer and not function.pins_path and not function.is_procedure:
        for arguments in sets[:2]:
            query = sql.CALL_FUNCTION.format(function=function.quoted, arguments=arguments)
            error = await _attempt(conn, query, before=sql.NO_PATH)
            if error is not None and judge(error) is Answer.BROKEN:
                called.add(
                    function.signature,
                    f"it runs with its owner's rights and finds what it needs by the caller's search_path: "
                    f"{described(error)}",
                )
    if function.immutable and not function.is_procedure:
        for arguments in sets[:2]:
            if problem := await _not_immutable(conn, function, arguments):
                called.add(function.signature, problem)


async def _not_immutable(conn: Connection, function: Function, arguments: str) -> str:
    query = sql.RESULT.format(function=function.quoted, arguments=arguments)
    results = []
    for settings in sql.SETTINGS:
        transaction = conn.transaction()
        await transaction.start()
        try:
            await conn.execute(settings, timeout=_DEADLINE_S)
            reads = await conn.fetchval(sql.READS, timeout=_DEADLINE_S)
            results.append([row[0] for row in await conn.fetch(query, timeout=_DEADLINE_S)])
            if await conn.fetchval(sql.READS, timeout=_DEADLINE_S) > reads:
                return "it is declared IMMUTABLE, but reads tables: what the planner or an index keeps of it goes stale"
        except asyncpg.PostgresError:
            return ""  # its errors were judged when it was called
        finally:
            await transaction.rollback()
    if results[0] != results[1]:
        return "it is declared IMMUTABLE, but gives another result at another time or with other settings"
    return ""


async def _attempt(
    conn: Connection, statement: str, *, role: str = "", before: str = ""
) -> asyncpg.PostgresError | None:
    transaction = conn.transaction()
    await transaction.start()
    try:
        if before:
            await conn.execute(before, timeout=_DEADLINE_S)
        if role:
            await conn.execute(sql.ASSUME, role, timeout=_DEADLINE_S)
        await conn.execute(statement, timeout=_DEADLINE_S)
        await conn.execute(sql.CHECK_NOW, timeout=_DEADLINE_S)
    except asyncpg.PostgresError as error:
        return error
    finally:
        await transaction.rollback()
    return None


async def _outside(conn: Connection, statement: str) -> asyncpg.PostgresError | None:
    """Call outside a transaction, for procedures that commit; their changes stay in the scratch database."""
    try:
        await conn.execute(statement, timeout=_DEADLINE_S)
    except asyncpg.PostgresError as error:
        return error
    return None


async def read_views(conn: Connection, only: Sequence[str] | None = None) -> tuple[Called, dict[str, str]]:
    """Read every column of every row of each view (or of `only` those); also returns name → digest of its
    definition."""
    called = Called()
    await conn.execute(sql.BOUND, timeout=_DEADLINE_S)
    definitions = {}
    for row in await conn.fetch(sql.VIEWS, timeout=_DEADLINE_S):
        definitions[row["name"]] = row["definition"]
        if only is not None and row["name"] not in only:
            continue
        called.callees += 1
        statements = [sql.READ_VIEW.format(view=row["quoted"])]
        if row["materialized"]:
            statements.insert(0, sql.REFRESH.format(view=row["quoted"]))
        for statement in statements:
            called.calls += 1
            error = await _attempt(conn, statement)
            if error is None:
                called.answered.add(row["name"])
            elif judge(error) in {Answer.BROKEN, Answer.VALUE}:
                called.add(row["name"], described(error))
                break
            else:
                called.undecided.setdefault(row["name"], described(error))
    return called, definitions
