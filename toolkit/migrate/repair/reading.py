"""What files and rows say: the objects that they create, and their statements without comments. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.migrate.folder.files import Migration
from toolkit.migrate.folder.statements import SplitError, Statement, split, to_run
from toolkit.migrate.repair.model import Named
from toolkit.migrate.run.history import AppliedRow, plain_text
from toolkit.sql.parse import AstNode, Unreadable, label, nodes, strings, tokens
from toolkit.sql.quoting import spelt

_COMPANIONS = frozenset({"COMMENT", "GRANT", "REVOKE"})
_UNSAID = frozenset({"SQL_COMMENT", "C_COMMENT", "ASCII_59"})


def created(statements: Iterable[Statement]) -> tuple[tuple[Named, ...], bool]:
    """The objects that statements create by name, and whether that is all they do (comments and grants apart)."""
    found: list[Named] = []
    all_of_it = True
    for statement in statements:
        if (name := _created(statement.node)) is not None:
            found.append(name)
        else:
            all_of_it = all_of_it and statement.verb in _COMPANIONS
    return tuple(dict.fromkeys(found)), all_of_it


def _created(node: AstNode | None) -> Named | None:
    match node:
        case (
            nodes.CreateStmt(relation=nodes.RangeVar() as made)
            | nodes.ViewStmt(view=nodes.RangeVar() as made)
            | nodes.CreateTableAsStmt(into=nodes.IntoClause(rel=nodes.RangeVar() as made))
        ) if made.relpersistence != "t":
            return Named("relation", spelt(made.schemaname, made.relname))
        case nodes.CreateFunctionStmt():
            return Named("function", spelt(*strings(node.funcname)))
        case nodes.CompositeTypeStmt(typevar=nodes.RangeVar() as made):
            return Named("type", spelt(made.schemaname, made.relname))
        case nodes.CreateEnumStmt() | nodes.CreateRangeStmt():
            return Named("type", spelt(*strings(node.type_name)))
        case nodes.DefineStmt() if label("ObjectType", node.kind) == "OBJECT_TYPE":
            return Named("type", spelt(*strings(node.defnames)))
    return None


def statements_of(row: AppliedRow) -> tuple[Statement, ...]:
    """What of the recorded statements is to run, cut again; empty where there are none or they cannot be read."""
    try:
        return to_run([piece for text in row.statements or () for piece in split(text)])
    except SplitError:
        return ()


def said_by(statements: Iterable[Statement]) -> tuple[str, ...]:
    """Each statement without comments and white space: what it does, however it is laid out."""
    return tuple(_said(statement) for statement in statements)


def says_the_same(row: AppliedRow, migration: Migration) -> bool:
    """Whether the recorded statements are those of the file, comments apart."""
    said = said_by(statements_of(row))
    return bool(said) and said == said_by(migration.up.statements)


def _said(statement: Statement) -> str:
    data = statement.text.encode()
    try:
        words = [data[one.start : one.end].decode() for one in tokens(data) if one.kind not in _UNSAID]
    except Unreadable:
        words = [plain_text(statement.text)]
    return " ".join([*words, statement.rows or ""])
