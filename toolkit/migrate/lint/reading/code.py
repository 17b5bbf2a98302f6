"""Questions about code: the expressions of a policy, the body of a function, the query of a view. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain

from toolkit.migrate.lint.reading.names import Name, of_parts, of_relation
from toolkit.sql.parse import AstNode, Piece, label, nodes, strings

Code = tuple[Piece, ...]


def calls(code: Code, *names: str) -> Iterator[tuple[nodes.FuncCall, int]]:
    """Calls of functions, of these names (`auth.uid`, or `max` in any schema) where some are given, and their lines."""
    for piece in code:
        for call in piece.find(nodes.FuncCall):
            if not names or is_call(call, *names):
                yield call, piece.line(call.location)


def is_call(node: AstNode | None, *names: str) -> bool:
    """Whether it is a call of one of these functions."""
    if not isinstance(node, nodes.FuncCall):
        return False
    parts = strings(node.funcname)
    return ".".join(parts) in names or parts[-1] in names


def called(code: Code) -> set[Name]:
    """The functions that it calls."""
    return {of_parts(strings(call.funcname)) for call, _ in calls(code)}


def relations(code: Code) -> set[Name]:
    """The tables and views that it reads; not its own WITH queries, and not what it only writes to."""
    found: set[Name] = set()
    for piece in code:
        own = {query.ctename for query in piece.find(nodes.CommonTableExpr)}
        writes: Iterator[nodes.InsertStmt | nodes.UpdateStmt] = chain(
            piece.find(nodes.InsertStmt), piece.find(nodes.UpdateStmt)
        )
        targets = (one.relation for one in writes)
        written = {target.location for target in targets if target is not None}
        for relation in piece.find(nodes.RangeVar):
            if relation.location not in written and (relation.schemaname or relation.relname not in own):
                found.add(of_relation(relation))
    return found


def inserts(code: Code) -> Iterator[tuple[Piece, nodes.InsertStmt, Name]]:
    """Every INSERT with the piece it stands in and the table it writes."""
    for piece in code:
        for statement in piece.find(nodes.InsertStmt):
            if statement.relation is not None:
                yield piece, statement, of_relation(statement.relation)


def deletes(code: Code) -> Iterator[tuple[Name, int]]:
    """The table of every DELETE, and its line."""
    for piece in code:
        for statement in piece.find(nodes.DeleteStmt):
            if statement.relation is not None:
                yield of_relation(statement.relation), piece.line(statement.relation.location)


def unqualified(code: Code, functions: Collection[str], types: Collection[str]) -> set[str]:
    """The tables, and of these functions and types those, that it names without a schema."""
    found: set[str] = set()
    for piece in code:
        own = {query.ctename for query in piece.find(nodes.CommonTableExpr)}
        tables = (one for one in piece.find(nodes.RangeVar) if not one.schemaname)
        found |= {one.relname for one in tables if one.relname not in own}
        called_so = (strings(one.funcname) for one in piece.find(nodes.FuncCall))
        cast_so = (strings(one.names) for one in piece.find(nodes.TypeName))
        found |= {parts[0] for parts in called_so if len(parts) == 1 and parts[0] in functions}
        found |= {parts[0] for parts in cast_so if len(parts) == 1 and parts[0] in types}
    return found


def mentions(code: Code) -> set[str]:
    """Every name and every literal text in it."""
    words = {text.sval for piece in code for text in piece.find(nodes.String)}
    return words | {relation.relname for piece in code for relation in piece.find(nodes.RangeVar)}


def literals(code: Code) -> Iterator[str]:
    """Every literal text in it."""
    for piece in code:
        for constant in piece.find(nodes.A_Const):
            if (text := literal(constant)) is not None:
                yield text


def selects(code: Code) -> bool:
    """Whether it has a subselect, also one that reads no table."""
    return any(True for piece in code for _ in piece.find(nodes.SelectStmt))


def holds_false(code: Code) -> bool:
    """Whether the constant `false` stands in it."""
    constants = (constant.val for piece in code for constant in piece.find(nodes.A_Const))
    return any(isinstance(value, nodes.Boolean) and not value.boolval for value in constants)


def is_true(code: Code | None) -> bool:
    """Whether it is `true`, a constant that equals itself, or AND and OR of such."""
    return _is_true(code[0].node if code else None)


def _is_true(node: AstNode | None) -> bool:
    match node:
        case nodes.A_Const(val=nodes.Boolean(boolval=True)):
            return True
        case nodes.A_Expr(lexpr=nodes.A_Const(val=left), rexpr=nodes.A_Const(val=right)):
            return operator(node) == "=" and left == right
        case nodes.BoolExpr(args=args):
            parts = [_is_true(one) for one in args]
            kind = label("BoolExprType", node.boolop)
            return (kind == "OR_EXPR" and any(parts)) or (kind == "AND_EXPR" and all(parts))
    return False


def literal(node: AstNode | None) -> str | None:
    """The text of a literal, None for anything else."""
    match node:
        case nodes.A_Const(val=nodes.String(sval=text)):
            return text
    return None


def operator(node: nodes.A_Expr) -> str:
    """The operator of `a <operator> b`, "" for IN, ANY, LIKE and what else is no plain one."""
    return strings(node.name)[-1] if label("A_Expr_Kind", node.kind) == "AEXPR_OP" else ""


def unwrapped(node: AstNode | None) -> AstNode | None:
    """What `(select …)` without FROM around a value stands for: the value."""
    while isinstance(node, nodes.SubLink) and label("SubLinkType", node.sub_link_type) == "EXPR_SUBLINK":
        match node.subselect:
            case nodes.SelectStmt(target_list=[nodes.ResTarget(val=value)], from_clause=[]):
                node = value
            case _:
                break
    return node
