"""What files name of a Supabase project and the database does not have: seen before anything is run.

Only what certainly runs is read: no DO block, which may ask first, and no body in PL/pgSQL, which is read when it is
called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolkit.migrate.bootstrap.parts import CLAIM_FUNCTIONS, PUBLICATION, parts
from toolkit.migrate.folder.files import Script
from toolkit.migrate.folder.statements import Statement
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import bootstrap as sql
from toolkit.sql.bodies import body_of, run_by
from toolkit.sql.parse import AstNode, Piece, nodes, strings
from toolkit.sql.platform import MADE_BY_EXTENSION, PLATFORM_SCHEMAS

_DEADLINE_S = 30
_SCHEMAS = frozenset(PLATFORM_SCHEMAS) - MADE_BY_EXTENSION.keys()


@dataclass(frozen=True)
class Missing:
    """`what` is missing, first named at `where` (file:line); `made` says that `toolkit bootstrap` makes it."""

    what: str
    where: str
    made: bool


async def missing_for(dsn: str, scripts: Sequence[Script]) -> tuple[Missing, ...]:
    """What these files name and neither they nor the database make, in the order in which they name it; of a schema
    that is missing nothing further."""
    named = named_by(scripts)
    missing: list[Missing] = []
    if named:
        async with connected(dsn) as conn:
            for what, where in named.items():
                if not await _is_there(conn, what):
                    missing.append(Missing(what, where, what in _questions() or what == "schema auth"))
    without = {one.what for one in missing}
    return tuple(one for one in missing if _schema_of(one.what) not in without)


def named_by(scripts: Sequence[Script]) -> dict[str, str]:
    """`role anon`, `schema auth`, `function auth.uid`, `table storage.objects`, … with the place that names it first;
    not what the files make themselves."""
    found: dict[str, str] = {}
    made: set[str] = set()
    for script in scripts:
        for statement in script.statements:
            if statement.tree is None:
                continue
            for what in _named(statement, statement.tree):
                found.setdefault(what, script.where(statement))
            for node in run_by(statement.tree):
                made |= set(_makes(node))
    return {what: where for what, where in found.items() if not {what, _schema_of(what)} & made}


def _schema_of(what: str) -> str:
    schema, dot, _ = what.partition(" ")[2].partition(".")
    return f"schema {schema}" if dot else ""


def _named(statement: Statement, tree: Piece) -> Iterator[str]:
    if isinstance(statement.node, nodes.DoStmt):
        return
    pieces = [tree]
    if isinstance(statement.node, nodes.CreateFunctionStmt) and _is_sql(statement.node):
        pieces += body_of(tree).pieces
    for piece in pieces:
        yield from (f"role {role.rolename}" for role in piece.find(nodes.RoleSpec) if role.rolename in sql.API_ROLES)
        for called in piece.find(nodes.FuncCall):
            name = ".".join(strings(called.funcname))
            if (schema := name.rpartition(".")[0]) in _SCHEMAS:
                yield f"schema {schema}"
            if name in CLAIM_FUNCTIONS:
                yield f"function {name}"
        for table in piece.find(nodes.RangeVar):
            if table.schemaname in _SCHEMAS:
                yield f"schema {table.schemaname}"
                yield f"table {table.schemaname}.{table.relname}"
    if isinstance(statement.node, nodes.AlterPublicationStmt) and statement.node.pubname == PUBLICATION:
        yield f"publication {PUBLICATION}"


def _is_sql(function: nodes.CreateFunctionStmt) -> bool:
    given = {one.defname: one.arg for one in function.options if isinstance(one, nodes.DefElem)}
    language = given.get("language")
    return isinstance(language, nodes.String) and language.sval.lower() == "sql"


def _makes(node: AstNode) -> Iterator[str]:
    if isinstance(node, nodes.CreateRoleStmt):
        yield f"role {node.role}"
    elif isinstance(node, nodes.CreateSchemaStmt):
        yield f"schema {node.schemaname}"
    elif isinstance(node, nodes.CreatePublicationStmt):
        yield f"publication {node.pubname}"
    elif isinstance(node, nodes.CreateFunctionStmt):
        yield f"function {'.'.join(strings(node.funcname))}"
    elif isinstance(node, nodes.CreateStmt) and node.relation is not None:
        yield f"table {node.relation.schemaname}.{node.relation.relname}"


def _questions() -> dict[str, str]:
    by_id = {part.id: part.question for part in parts()}
    return {
        **{f"role {role}": by_id[f"role-{role}"] for role in sql.API_ROLES},
        **{f"function {name}": by_id[f"function-{name}"] for name in CLAIM_FUNCTIONS},
        f"publication {PUBLICATION}": by_id["publication"],
    }


async def _is_there(conn: Connection, what: str) -> bool:
    kind, name = what.split()
    if (question := _questions().get(what)) is not None:
        return bool(await conn.fetchval(question, timeout=_DEADLINE_S))
    question = sql.HAS_RELATION if kind == "table" else sql.HAS_NAMESPACE
    return bool(await conn.fetchval(question, name, timeout=_DEADLINE_S))
