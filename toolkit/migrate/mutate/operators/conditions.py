"""Operators that turn what decides: conditions, comparisons, AND and OR, and the columns compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.migrate.mutate.operators.operator import Operator
from toolkit.migrate.mutate.operators.places import (
    Change,
    Place,
    cleared,
    column_name,
    kind_of,
    named,
    negated,
    replaced,
)
from toolkit.sql import parse
from toolkit.sql.parse import label

# The parts of statements that are conditions.
_CONDITIONS = {
    "SelectStmt": ("where_clause", "having_clause"),
    "UpdateStmt": ("where_clause",),
    "DeleteStmt": ("where_clause",),
    "OnConflictClause": ("where_clause",),
    "JoinExpr": ("quals",),
    "FuncCall": ("agg_filter",),
    "CreateTrigStmt": ("when_clause",),
}
_TURNED = {
    "=": ("<>",),
    "<>": ("=",),
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "@>": ("<@",),
    "&&": ("<@",),
    "~~": ("!~~",),
    "+": ("-",),
    "-": ("+",),
    "*": ("/",),
}


def _remove(place: Place) -> Iterator[Change]:
    for field in _CONDITIONS[place.kind]:
        if place.node.HasField(field):
            # A join without its condition is a join of everything.
            edit = _cross if place.kind == "JoinExpr" else cleared(field)
            yield Change("the condition is left out", edit)


def _cross(node: Any, _wrapper: Any) -> None:
    node.quals.CopyFrom(parse.expression("true"))


def _negate(place: Place) -> Iterator[Change]:
    for field in (*_CONDITIONS.get(place.kind, ()), *(("expr",) if place.kind == "CaseWhen" else ())):
        if place.node.HasField(field):
            yield Change("the condition is turned into its opposite", negated(field))
    if place.kind == "ResTarget" and place.surroundings.condition and place.around == ("SelectStmt",):
        yield Change("the condition is turned into its opposite", negated("val"))


def _always(place: Place) -> Iterator[Change]:
    if place.surroundings.condition and place.around == ("SelectStmt",):
        for value in ("true", "false"):
            if not (
                kind_of(place.node.val) == "A_Const" and place.node.val.a_const.boolval.boolval == (value == "true")
            ):
                yield Change(f"the condition is always {value}", _value(value))


def _value(text: str) -> Any:
    def edit(node: Any, _wrapper: Any) -> None:
        node.val.CopyFrom(parse.expression(text))

    return edit


def _arm(place: Place) -> Iterator[Change]:
    if label("BoolExprType", place.node.boolop) == "NOT_EXPR":
        return
    for number in range(len(place.node.args)):

        def edit(node: Any, wrapper: Any, number: int = number) -> None:
            if len(node.args) > 2:
                del node.args[number]
            else:
                other = parse.copied(node.args[1 - number])
                wrapper.CopyFrom(other)

        yield Change("one of the conditions is left out", edit)


def _and_or(place: Place) -> Iterator[Change]:
    match label("BoolExprType", place.node.boolop):
        case "AND_EXPR":
            yield Change("AND becomes OR", named("boolop", "OR_EXPR"))
        case "OR_EXPR":
            yield Change("OR becomes AND", named("boolop", "AND_EXPR"))
        case _:

            def edit(node: Any, wrapper: Any) -> None:
                wrapper.CopyFrom(parse.copied(node.args[0]))

            yield Change("NOT is left out", edit)


def _turn(place: Place) -> Iterator[Change]:
    kind = label("A_Expr_Kind", place.node.kind)
    name = place.node.name[-1].string.sval if place.node.name else ""
    if kind == "AEXPR_OP" and not place.node.HasField("lexpr"):
        return
    if kind in {"AEXPR_OP", "AEXPR_OP_ANY", "AEXPR_OP_ALL", "AEXPR_LIKE", "AEXPR_IN"}:
        for other in _TURNED.get(name, ()):
            yield Change(f"{name} becomes {other}", _named(other))
    elif kind == "AEXPR_DISTINCT":
        yield Change("IS DISTINCT FROM becomes IS NOT DISTINCT FROM", named("kind", "AEXPR_NOT_DISTINCT"))
    elif kind == "AEXPR_NOT_DISTINCT":
        yield Change("IS NOT DISTINCT FROM becomes IS DISTINCT FROM", named("kind", "AEXPR_DISTINCT"))


def _named(name: str) -> Any:
    def edit(node: Any, _wrapper: Any) -> None:
        node.name[-1].string.sval = name

    return edit


def _null_test(place: Place) -> Iterator[Change]:
    is_null = label("NullTestType", place.node.nulltesttype) == "IS_NULL"
    yield Change(
        "IS NULL becomes IS NOT NULL" if is_null else "IS NOT NULL becomes IS NULL",
        named("nulltesttype", "IS_NOT_NULL" if is_null else "IS_NULL"),
    )


def _member(place: Place) -> Iterator[Change]:
    """One value less in a list: IN (…), ARRAY […], (a, b) IS DISTINCT FROM (c, d)."""
    if place.kind == "A_Expr" and label("A_Expr_Kind", place.node.kind) in {"AEXPR_DISTINCT", "AEXPR_OP"}:
        left, right = place.node.lexpr, place.node.rexpr
        if kind_of(left) == kind_of(right) == "RowExpr" and len(left.row_expr.args) == len(right.row_expr.args) > 1:
            for number in range(len(left.row_expr.args)):

                def both(node: Any, _wrapper: Any, number: int = number) -> None:
                    del node.lexpr.row_expr.args[number]
                    del node.rexpr.row_expr.args[number]

                yield Change("one of the columns compared is left out", both)
        return
    if place.kind == "A_ArrayExpr" and len(place.node.elements) > 1:
        field = "elements"
    elif place.kind == "List" and place.field == "rexpr" and len(place.node.items) > 1:
        field = "items"
    else:
        return
    for number in range(len(getattr(place.node, field))):

        def less(node: Any, _wrapper: Any, number: int = number) -> None:
            del getattr(node, field)[number]

        yield Change("one value of the list is left out", less)


def _itself(place: Place) -> Iterator[Change]:
    if label("A_Expr_Kind", place.node.kind) not in {"AEXPR_OP", "AEXPR_DISTINCT", "AEXPR_NOT_DISTINCT"}:
        return
    left, right = column_name(place.node.lexpr), column_name(place.node.rexpr)
    if not left or not right or left == right:
        return
    for source, target in (("lexpr", "rexpr"), ("rexpr", "lexpr")):

        def edit(node: Any, _wrapper: Any, source: str = source, target: str = target) -> None:
            getattr(node, target).CopyFrom(parse.copied(getattr(node, source)))

        kept = left if source == "lexpr" else right
        yield Change(f"{'.'.join(kept)} is compared with itself", edit)


def _neighbour(place: Place) -> Iterator[Change]:
    """Another column of the same table and type, for a column that a comparison names."""
    if not place.around or place.around[0] not in {"A_Expr", "NullTest", "CoalesceExpr", "FuncCall", "ResTarget"}:
        return
    fields = place.node.fields
    if any(one.WhichOneof("node") != "string" for one in fields):
        return
    name = fields[-1].string.sval
    read = _tables(place)
    if place.surroundings.row_of:
        read |= {"new": place.surroundings.row_of, "old": place.surroundings.row_of}
    qualifier = fields[-2].string.sval if len(fields) > 1 else ""
    tables = [read[qualifier]] if qualifier in read else [] if qualifier else sorted({*read.values()})
    holders = [one for one in tables if name in place.surroundings.columns.get(one, {})]
    if len(holders) != 1:
        return
    columns = place.surroundings.columns[holders[0]]
    names = list(columns)
    at = names.index(name)
    other = next((one for one in names[at + 1 :] + names[:at] if columns[one] == columns[name]), None)
    if other is not None:

        def edit(node: Any, _wrapper: Any) -> None:
            node.fields[-1].string.sval = other

        yield Change(f"{name} becomes {other}, its neighbour of the same type", edit)


def _tables(place: Place) -> dict[str, str]:
    """Alias or name → table, of all that the statement reads or writes."""
    found: dict[str, str] = {}

    def look(message: Any) -> None:
        if message.DESCRIPTOR.name == "RangeVar":
            found[message.alias.aliasname or message.relname] = f"{message.schemaname or 'public'}.{message.relname}"
            return
        for descriptor, value in message.ListFields():
            if descriptor.message_type is not None:
                for one in value if descriptor.is_repeated else (value,):
                    look(one)

    look(place.root)
    return found


def _exists(place: Place) -> Iterator[Change]:
    if label("SubLinkType", place.node.sub_link_type) == "EXISTS_SUBLINK":
        yield Change("EXISTS (…) is always true", replaced("true"))


OPERATORS = (
    Operator(
        "condition-removed",
        "condition",
        "A condition is left out",
        "More rows are read, changed or deleted than the statement means to.",
        tuple(_CONDITIONS),
        _remove,
    ),
    Operator(
        "condition-negated",
        "condition",
        "A condition is turned into its opposite",
        "Exactly the wrong rows are chosen, or the wrong branch taken.",
        (*_CONDITIONS, "CaseWhen", "ResTarget"),
        _negate,
    ),
    Operator(
        "condition-constant",
        "condition",
        "A condition of a branch is always true, or never",
        "A guard lets everything through, or nothing.",
        ("ResTarget",),
        _always,
    ),
    Operator(
        "condition-exists",
        "condition",
        "EXISTS is taken to be true",
        "What a row's existence should allow is allowed to everybody.",
        ("SubLink",),
        _exists,
    ),
    Operator(
        "boolean-arm",
        "boolean",
        "One of several conditions is left out",
        "A part of a condition that nobody tests is forgotten.",
        ("BoolExpr",),
        _arm,
    ),
    Operator(
        "boolean-turned",
        "boolean",
        "AND and OR are exchanged, NOT is dropped",
        "Conditions are joined the wrong way.",
        ("BoolExpr",),
        _and_or,
    ),
    Operator(
        "comparison-turned",
        "comparison",
        "A comparison or sign is turned",
        "A limit is off by one, or the wrong way round.",
        ("A_Expr",),
        _turn,
    ),
    Operator(
        "comparison-null",
        "comparison",
        "IS NULL and IS NOT NULL are exchanged",
        "What is there is taken for missing.",
        ("NullTest",),
        _null_test,
    ),
    Operator(
        "list-member",
        "comparison",
        "A list has one value or column less",
        "One case of several is forgotten.",
        ("A_Expr", "A_ArrayExpr", "List"),
        _member,
    ),
    Operator(
        "column-itself",
        "column",
        "A column is compared with itself",
        "A missing alias makes a condition true for every row.",
        ("A_Expr",),
        _itself,
    ),
    Operator(
        "column-neighbour",
        "column",
        "A column is taken for its neighbour",
        "Two columns of one type are mixed up.",
        ("ColumnRef",),
        _neighbour,
    ),
)
