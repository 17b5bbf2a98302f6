"""What functions with their owner's rights do, read from the definitions that a database keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.migrate.access.privileges import AccessCatalog, Routine
from toolkit.sql.bodies import Body, body_of
from toolkit.sql.openness import asks_caller, only_asks, takes_secret, writes
from toolkit.sql.parse import Piece, Source, Unreadable, nodes, statements, strings


def body(definition: str) -> Body:
    """The body of a function as pg_get_functiondef gives it; empty where it cannot be read."""
    source = Source(definition.encode())
    try:
        read = statements(source.data)
    except Unreadable:
        return Body()
    return body_of(Piece(*read[0][:1], source, *read[0][1:])) if read else Body()


def limited(catalog: AccessCatalog, bodies: Mapping[int, Body]) -> frozenset[str]:
    """The functions (by name) of which a call by anybody gives little: they take a secret, ask who calls through
    another function, answer yes or no, or tell whether rows exist."""
    asking = {one.bare for one in catalog.routines.values() if one.asks_caller}
    return frozenset(
        one.name for one in catalog.routines.values() if one.oid in bodies and _limited(one, bodies[one.oid], asking)
    )


def _limited(one: Routine, read: Body, asking: set[str]) -> bool:
    code = read.pieces
    called = {".".join(strings(call.funcname)) for piece in code for call in piece.find(nodes.FuncCall)}
    if (
        takes_secret(one.names)
        or asks_caller(code)
        or any(name in asking or f"public.{name}" in asking for name in called)
    ):
        return True
    return bool(code) and not read.executes and not writes(code) and (one.returns == "boolean" or only_asks(code))


def unqualified(definition: str) -> tuple[str, ...]:
    """The tables that a function names without a schema."""
    found = set()
    for piece in body(definition).pieces:
        own = {query.ctename for query in piece.find(nodes.CommonTableExpr)}
        tables = (one for one in piece.find(nodes.RangeVar) if not one.schemaname)
        found |= {one.relname for one in tables if one.relname not in own}
    return tuple(sorted(found))
