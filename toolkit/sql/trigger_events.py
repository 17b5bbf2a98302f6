"""For which of a trigger's events a branch of its function runs, as far as its conditions on TG_OP tell. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.sql.parse import AstNode, label, nodes, strings

EVENTS = frozenset({"insert", "update", "delete", "truncate"})


def holds(condition: AstNode | None, event: str, subject: str = "tg_op") -> bool | None:
    """Whether a condition is true for this event; None where it hangs on more than `subject`."""
    match condition:
        case nodes.BoolExpr(args=args):
            return _combined(label("BoolExprType", condition.boolop), [holds(one, event, subject) for one in args])
        case nodes.A_Expr():
            return _compared(condition, event, subject)
        case nodes.A_Const(val=nodes.Boolean(boolval=value)):
            return value
    return None


def _combined(kind: str, parts: list[bool | None]) -> bool | None:
    if kind == "NOT_EXPR":
        return None if parts[0] is None else not parts[0]
    decisive = kind == "OR_EXPR"
    if decisive in parts:
        return decisive
    return None if None in parts else not decisive


def _compared(node: nodes.A_Expr, event: str, subject: str) -> bool | None:
    kind, operator = label("A_Expr_Kind", node.kind), strings(node.name)[-1]
    for side, other in ((node.lexpr, node.rexpr), (node.rexpr, node.lexpr)):
        if not (isinstance(side, nodes.ColumnRef) and strings(side.fields) == (subject,)):
            continue
        values = _texts(other)
        if values is None:
            return None
        among = event.upper() in values
        if kind in {"AEXPR_IN", "AEXPR_OP", "AEXPR_OP_ANY"} and operator == "=":
            return among
        if kind in {"AEXPR_IN", "AEXPR_OP", "AEXPR_OP_ALL"} and operator in {"<>", "!="}:
            return not among
    return None


def _texts(node: AstNode | None) -> set[str] | None:
    """The texts of a constant or a list of constants; None where something else is among them."""
    match node:
        case nodes.A_Const(val=nodes.String(sval=text)):
            return {text}
        case nodes.TypeCast(arg=value):
            return _texts(value)
        case nodes.List(items=listed) | nodes.A_ArrayExpr(elements=listed):
            return _union(_texts(one) for one in listed)
    return None


def _union(sets: Iterable[set[str] | None]) -> set[str] | None:
    found: set[str] = set()
    for one in sets:
        if one is None:
            return None
        found |= one
    return found
