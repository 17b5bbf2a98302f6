"""Which columns policies compare with the session's subject, read from the trees of their expressions. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from toolkit.migrate.access.privileges import Relation
from toolkit.sql import parse
from toolkit.sql.parse import AstNode, Piece, Source, Unreadable, label, nodes, strings

TEXTS = frozenset({"text", "character varying", "character", "citext", "name"})
_COMPARING = {"AEXPR_OP", "AEXPR_NOT_DISTINCT", "AEXPR_DISTINCT", "AEXPR_OP_ANY", "AEXPR_IN"}


def compared(expression: str, table: Relation, tables: Mapping[str, Relation]) -> frozenset[tuple[str, str]]:
    """(table, column) of each column that an expression of this table's policies, as Postgres prints it, compares with
    the subject of the claims. Columns of tables that it looks up are among them."""
    whole = _read(expression)
    if whole is None:
        return frozenset()
    named: dict[str, set[str]] = defaultdict(set)
    for alias, full in _looked_up(whole):
        named[alias].add(full)
    named.setdefault(table.name.partition(".")[2], {table.name})
    found: set[tuple[str, str]] = set()
    for column in _against_subject(whole):
        parts = strings(column.fields)
        qualifier, bare = parts[:-1], parts[-1] if parts else ""
        # Inside a subselect Postgres prints every column with the name of its table.
        for name in named.get(qualifier[-1], set()) if qualifier else {table.name}:
            if (of := tables.get(name)) is not None and of.column(bare) is not None:
                found.add((name, bare))
    return frozenset(found)


def looked_up(expression: str) -> frozenset[str]:
    """The tables that an expression reads, by `schema.name`."""
    whole = _read(expression)
    return frozenset(full for _, full in _looked_up(whole)) if whole is not None else frozenset()


def _read(expression: str) -> Piece | None:
    if not expression:
        return None
    data = parse.as_statement(expression)
    try:
        ((node, start, end),) = parse.statements(data)
    except (Unreadable, ValueError):
        return None
    return Piece(node, Source(data), start, end)


def _looked_up(whole: Piece) -> Iterator[tuple[str, str]]:
    """The name under which each table is read, and its own."""
    for one in whole.find(nodes.RangeVar):
        alias = one.alias.aliasname if one.alias is not None else one.relname
        yield alias, f"{one.schemaname or 'public'}.{one.relname}"


def _against_subject(whole: Piece) -> Iterator[nodes.ColumnRef]:
    for comparison in whole.find(nodes.A_Expr):
        if label("A_Expr_Kind", comparison.kind) not in _COMPARING or strings(comparison.name)[-1] not in {"=", "<>"}:
            continue
        for side, other in ((comparison.lexpr, comparison.rexpr), (comparison.rexpr, comparison.lexpr)):
            column = _column(side)
            if column is not None and other is not None and _is_subject(whole.under(other)):
                yield column
    for within in whole.find(nodes.SubLink):
        # `subject IN (SELECT column …)`
        match within:
            case nodes.SubLink(testexpr=AstNode() as tested, subselect=nodes.SelectStmt(target_list=[first, *_])):
                chosen = _column(first.val) if isinstance(first, nodes.ResTarget) else None
                if chosen is not None and _is_subject(whole.under(tested)):
                    yield chosen


def _column(node: AstNode | None) -> nodes.ColumnRef | None:
    """The column under casts and functions of one argument."""
    match node:
        case nodes.ColumnRef():
            return node
        case nodes.TypeCast(arg=value) | nodes.FuncCall(args=[value]) | nodes.CoalesceExpr(args=[value, *_]):
            return _column(value)
    return None


def _is_subject(side: Piece) -> bool:
    """Whether it is made from who the caller is, and not looked up in a table by it."""
    if any(side.find(nodes.RangeVar)):
        return False
    return any(_identifies(call) for call in side.find(nodes.FuncCall)) or any(
        constant.val.sval == "sub" for constant in side.find(nodes.A_Const) if isinstance(constant.val, nodes.String)
    )


def _identifies(call: nodes.FuncCall) -> bool:
    name = strings(call.funcname)[-1]
    return not call.args and (name == "uid" or name.endswith("user_id"))
