"""What a policy's condition can be for anon, whose token has a role and no subject: auth.uid() is null. Pure."""

from __future__ import annotations

from toolkit.migrate.lint.reading.code import Code, is_call, is_true, literal, operator, unwrapped
from toolkit.sql.parse import AstNode, label, nodes

_STRICT = {"=", "<>", "!=", "<", ">", "<=", ">="}
_OPERATORS = {"AEXPR_OP", "AEXPR_IN", "AEXPR_OP_ANY"}


def always(code: Code | None) -> bool:
    """Whether it is true for anon and every row: a constant, or `auth.role() = 'anon'`."""
    return is_true(code) or _asks_role(code[0].node if code else None) == "anon"


def never(code: Code | None) -> bool:
    """Whether it is false or null for anon, whatever the row holds. A missing condition lets no row in."""
    return code is None or not code or _never(code[0].node)


def _never(node: AstNode | None) -> bool:
    node = unwrapped(node)
    match node:
        case nodes.A_Const(val=nodes.Boolean(boolval=False)) | nodes.A_Const(isnull=True):
            return True
        case nodes.BoolExpr(args=args):
            kind = label("BoolExprType", node.boolop)
            parts = [_never(one) for one in args]
            return (kind == "AND_EXPR" and any(parts)) or (kind == "OR_EXPR" and all(parts))
        case nodes.NullTest(arg=value):
            return label("NullTestType", node.nulltesttype) == "IS_NOT_NULL" and _is_null(value)
        case nodes.SubLink(subselect=nodes.SelectStmt() as select):
            kind = label("SubLinkType", node.sub_link_type)
            return kind in {"EXISTS_SUBLINK", "ANY_SUBLINK"} and _finds_nothing(select)
        case nodes.A_Expr():
            if (role := _asks_role(node)) is not None:
                return role != "anon"
            strict = label("A_Expr_Kind", node.kind) in _OPERATORS and _last(node) in _STRICT
            return strict and (_is_null(node.lexpr) or _is_null(node.rexpr))
    return False


def _last(node: nodes.A_Expr) -> str:
    match node.name[-1]:
        case nodes.String(sval=text):
            return text
    return ""


def _finds_nothing(select: nodes.SelectStmt) -> bool:
    """An aggregate gives a row also of nothing, so only plain columns and constants are taken for certain."""
    if label("SetOperation", select.op) != "SETOP_NONE" or select.group_clause or select.having_clause is not None:
        return False
    plain = (nodes.A_Const, nodes.ColumnRef)
    values = [target.val for target in select.target_list if isinstance(target, nodes.ResTarget)]
    return all(isinstance(value, plain) for value in values) and _never(select.where_clause)


def _is_null(node: AstNode | None) -> bool:
    """Whether it is null for anon: auth.uid(), auth.email(), the subject of the token, and casts of them."""
    node = unwrapped(node)
    while isinstance(node, nodes.TypeCast):
        node = unwrapped(node.arg)
    match node:
        case nodes.A_Expr(lexpr=token, rexpr=key) if operator(node) == "->>":
            return is_call(unwrapped(token), "auth.jwt") and literal(key) in {"sub", "email"}
    return is_call(node, "auth.uid", "auth.email")


def _asks_role(node: AstNode | None) -> str | None:
    """The role with which `auth.role() = '…'` compares, None for anything else."""
    node = unwrapped(node)
    if isinstance(node, nodes.A_Expr) and operator(node) == "=":
        for side, other in ((node.lexpr, node.rexpr), (node.rexpr, node.lexpr)):
            if is_call(unwrapped(side), "auth.role"):
                return literal(other.arg if isinstance(other, nodes.TypeCast) else other)
    return None
