"""Whether a value that a file adds to an enum is left alone until the file is through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.migrate.lint.reading.facts import AlterTable, Create, CreateTable
from toolkit.migrate.lint.reading.findings import At, LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.names import Name, of_parts, of_relation, of_type
from toolkit.migrate.lint.reading.sources import Source
from toolkit.migrate.lint.rules.context import Context
from toolkit.sql.bodies import run_by
from toolkit.sql.parse import Piece, nodes, strings

USED_AT_ONCE = Rule(
    "enum-value-used-at-once",
    Severity.ERROR,
    "A file uses an enum value that it adds itself",
    "Postgres refuses the value in the transaction that adds it (55P04), and a file is one transaction.",
    "Use the value in the next migration.",
)
RULES = (USED_AT_ONCE,)


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about enums."""
    columns = _columns(context)
    for source in context.folder.ups:
        if source.transactional:
            yield from _used(source, columns)


@dataclass(frozen=True)
class _Added:
    """A value that a statement before adds to a type."""

    type: Name
    value: str
    at: At


def _used(source: Source, columns: dict[Name, set[str]]) -> Iterator[LintFinding]:
    made = {fact.name for fact in source.facts if isinstance(fact, Create) and fact.kind == "type"}
    added: list[_Added] = []
    for statement in source.statements:
        at, node = At(source.file, statement.line), statement.node
        if isinstance(node, nodes.AlterEnumStmt):
            if not node.old_val and (name := of_parts(strings(node.type_name))) not in made:
                added.append(_Added(name, node.new_val, at))
        elif statement.tree is not None and not isinstance(node, nodes.CommentStmt):
            for one in [one for one in added if _uses(statement.tree, one, columns)]:
                added.remove(one)
                what = f"{one.value!r} is added to {one.type} at {one.at}, in the same transaction"
                yield USED_AT_ONCE.found(at, what)


def _uses(statement: Piece, added: _Added, columns: dict[Name, set[str]]) -> bool:
    """Whether the value is cast to the type, or stands beside a table that has, or may have, a column of it."""
    type_ = _spelling(added.type)
    for node in run_by(statement):
        part = statement.under(node)
        casts = (cast for cast in part.find(nodes.TypeCast) if of_type(cast.type_name).removesuffix("[]") == type_)
        if any(_is(cast.arg, added.value) for cast in casts):
            return True
        if any(_is(constant, added.value) for constant in part.find(nodes.A_Const)):
            tables = [of_relation(table) for table in part.find(nodes.RangeVar)]
            if any(table not in columns or type_ in columns[table] for table in tables):
                return True
    return False


def _is(node: object, value: str) -> bool:
    return isinstance(node, nodes.A_Const) and isinstance(node.val, nodes.String) and node.val.sval == value


def _spelling(type_: Name) -> str:
    return type_.name if type_.schema == "public" else f"{type_.schema}.{type_.name}"


def _columns(context: Context) -> dict[Name, set[str]]:
    """The types of the columns of every table whose columns the folder shows, at any time."""
    found: dict[Name, set[str]] = {}
    for fact in context.facts:
        if isinstance(fact, CreateTable) and not fact.shape.others and fact.partition_of is None:
            found.setdefault(fact.name, set())
        if isinstance(fact, CreateTable | AlterTable) and fact.name in found:
            found[fact.name] |= {column.type.removesuffix("[]") for column in fact.shape.columns}
    return found
