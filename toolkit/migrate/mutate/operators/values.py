"""Operators that change what is written and read: constants, assignments, conflicts, order and locks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from toolkit.migrate.mutate.operators.operator import Operator
from toolkit.migrate.mutate.operators.places import Change, Place, cleared, kind_of, named, replaced, strings, without
from toolkit.sql import parse
from toolkit.sql.parse import label

_INTERVAL = re.compile(r"^\s*(\d+)\s*(second|sec|minute|min|hour|day|week|month|year)s?\s*$", re.IGNORECASE)
# Constants here are names, options and types of Postgres, which have operators of their own.
_NO_CONSTANT = frozenset({"TypeName", "DefElem", "VariableSetStmt", "CommentStmt", "AlterEnumStmt", "CreateEnumStmt"})
_FUNCTIONS = {"greatest": "least", "least": "greatest", "min": "max", "max": "min", "bool_and": "bool_or"}


def _constant(place: Place) -> Iterator[Change]:
    if _NO_CONSTANT & {*place.around} or "RawStmt" in place.around:
        return
    match place.node.WhichOneof("val"):
        case "ival":
            value = place.node.ival.ival
            for other in (value + 1, *((0,) if value > 1 else ())):
                yield Change(f"{value} becomes {other}", replaced(str(other)))
        case "boolval":
            value = place.node.boolval.boolval
            other = str(not value).lower()
            yield Change(f"{str(value).lower()} becomes {other}", replaced(other))
        case "fval":
            yield Change(f"{place.node.fval.fval} is doubled", replaced(f"{place.node.fval.fval} * 2"))
        case "sval":
            text = place.node.sval.sval
            if (interval := _INTERVAL.match(text)) is not None:
                other = f"{int(interval[1]) * 2} {interval[2]}s"
                yield Change(f"{text} becomes {other}", replaced(_quoted(other)))
            elif place.around and place.around[0] == "TypeCast" and text and not text[0].isalpha():
                return  # '{}', '[]': what stands for nothing of a type
            else:
                other = f"{text}_" if text else "_"
                yield Change(f"'{text}' becomes '{other}'", replaced(_quoted(other)))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _assignment(place: Place) -> Iterator[Change]:
    """SET a = …, b = …: one less."""
    if len(place.node.target_list) > 1:
        for number, target in enumerate(place.node.target_list):
            yield Change(f"{target.res_target.name} is not set", without("target_list", number))


def _inserted(place: Place) -> Iterator[Change]:
    """A column and its value less, so that its default is written."""
    select = place.node.select_stmt.select_stmt if place.node.HasField("select_stmt") else None
    if select is None:
        return
    for number, column in enumerate(place.node.cols):

        def edit(node: Any, _wrapper: Any, number: int = number) -> None:
            del node.cols[number]
            chosen = node.select_stmt.select_stmt
            for row in chosen.values_lists:
                del row.list.items[number]
            if not chosen.values_lists:
                del chosen.target_list[number]

        yield Change(f"{column.res_target.name} is not written", edit)


def _coalesce(place: Place) -> Iterator[Change]:
    for number in (0, len(place.node.args) - 1):

        def edit(node: Any, wrapper: Any, number: int = number) -> None:
            wrapper.CopyFrom(parse.copied(node.args[number]))

        yield Change("coalesce is left out" if number == 0 else "only coalesce's last value is taken", edit)


def _function(place: Place) -> Iterator[Change]:
    name = strings(place.node.funcname)[-1:]
    if name and (other := _FUNCTIONS.get(name[0])):

        def edit(node: Any, _wrapper: Any) -> None:
            node.funcname[-1].string.sval = other

        yield Change(f"{name[0]} becomes {other}", edit)


def _least(place: Place) -> Iterator[Change]:
    greatest = label("MinMaxOp", place.node.op) == "IS_GREATEST"
    yield Change(
        "greatest becomes least" if greatest else "least becomes greatest",
        named("op", "IS_LEAST" if greatest else "IS_GREATEST"),
    )
    if len(place.node.args) == 2:
        for number in (0, 1):

            def edit(node: Any, wrapper: Any, number: int = number) -> None:
                wrapper.CopyFrom(parse.copied(node.args[number]))

            yield Change("the other limit is left out", edit)


def _concatenated(place: Place) -> Iterator[Change]:
    if strings(place.node.name)[-1:] != ("||",):
        return
    for side in ("lexpr", "rexpr"):

        def edit(node: Any, wrapper: Any, side: str = side) -> None:
            wrapper.CopyFrom(parse.copied(getattr(node, side)))

        yield Change("only one side of || is taken", edit)


def _conflict(place: Place) -> Iterator[Change]:
    clause = place.node.on_conflict_clause
    if not place.node.HasField("on_conflict_clause"):
        return
    yield Change("ON CONFLICT is left out", cleared("on_conflict_clause"))
    if label("OnConflictAction", clause.action) == "ONCONFLICT_UPDATE":

        def nothing(node: Any, _wrapper: Any) -> None:
            named("action", "ONCONFLICT_NOTHING")(node.on_conflict_clause, None)
            node.on_conflict_clause.ClearField("target_list")
            node.on_conflict_clause.ClearField("where_clause")

        yield Change("DO UPDATE becomes DO NOTHING", nothing)


def _lock(place: Place) -> Iterator[Change]:
    for number, clause in enumerate(place.node.locking_clause):
        yield Change("the rows are not locked", without("locking_clause", number))
        if label("LockWaitPolicy", clause.locking_clause.wait_policy) != "LockWaitBlock":

            def waits(node: Any, _wrapper: Any, number: int = number) -> None:
                named("wait_policy", "LockWaitBlock")(node.locking_clause[number].locking_clause, None)

            yield Change("a locked row is waited for", waits)
        if label("LockClauseStrength", clause.locking_clause.strength) in {"LCS_FORUPDATE", "LCS_FORNOKEYUPDATE"}:

            def weaker(node: Any, _wrapper: Any, number: int = number) -> None:
                named("strength", "LCS_FORKEYSHARE")(node.locking_clause[number].locking_clause, None)

            yield Change("the rows are only locked FOR KEY SHARE", weaker)


def _order(place: Place) -> Iterator[Change]:
    for number, one in enumerate(place.node.sort_clause):
        yield Change("an item of ORDER BY is left out", without("sort_clause", number))

        descending = label("SortByDir", one.sort_by.sortby_dir) == "SORTBY_DESC"

        def turned(node: Any, _wrapper: Any, number: int = number, to: str = "ASC" if descending else "DESC") -> None:
            named("sortby_dir", f"SORTBY_{to}")(node.sort_clause[number].sort_by, None)

        yield Change("the order is turned", turned)


def _limit(place: Place) -> Iterator[Change]:
    if place.node.HasField("limit_count"):
        yield Change("LIMIT is left out", cleared("limit_count", "limit_option"))
    if place.node.distinct_clause:
        yield Change("DISTINCT is left out", cleared("distinct_clause"))


def _join(place: Place) -> Iterator[Change]:
    match label("JoinType", place.node.jointype):
        case "JOIN_LEFT":
            yield Change("LEFT JOIN becomes JOIN", named("jointype", "JOIN_INNER"))
        case "JOIN_INNER" if place.node.HasField("quals"):
            yield Change("JOIN becomes LEFT JOIN", named("jointype", "JOIN_LEFT"))


def _case(place: Place) -> Iterator[Change]:
    if place.node.HasField("defresult") and kind_of(place.node.defresult):
        yield Change("ELSE is left out", cleared("defresult"))
    if len(place.node.args) == 1 and place.node.HasField("defresult"):

        def swapped(node: Any, _wrapper: Any) -> None:
            first = parse.copied(node.args[0].case_when.result)
            node.args[0].case_when.result.CopyFrom(node.defresult)
            node.defresult.CopyFrom(first)

        yield Change("THEN and ELSE are exchanged", swapped)


OPERATORS = (
    Operator(
        "constant",
        "constant",
        "A constant or interval is another",
        "A limit, a default, a name or a period is wrong.",
        ("A_Const",),
        _constant,
    ),
    Operator(
        "assignment-removed",
        "assignment",
        "A column is not set",
        "A row keeps an old value that should have changed with the others.",
        ("UpdateStmt", "OnConflictClause"),
        _assignment,
    ),
    Operator(
        "insert-column",
        "assignment",
        "A column is not written",
        "A new row has a default where it should have a value.",
        ("InsertStmt",),
        _inserted,
    ),
    Operator("coalesce", "value", "coalesce is left out", "NULL is not thought of.", ("CoalesceExpr",), _coalesce),
    Operator("function", "value", "An aggregate is its opposite", "min is taken for max.", ("FuncCall",), _function),
    Operator(
        "least-greatest",
        "value",
        "least and greatest are exchanged or dropped",
        "A bound is on the wrong side, or missing.",
        ("MinMaxExpr",),
        _least,
    ),
    Operator(
        "concatenation",
        "value",
        "Only one side of || is kept",
        "What was there is overwritten instead of extended.",
        ("A_Expr",),
        _concatenated,
    ),
    Operator(
        "conflict",
        "conflict",
        "An ON CONFLICT action is another",
        "Two writers at once end otherwise than one after the other.",
        ("InsertStmt",),
        _conflict,
    ),
    Operator(
        "lock",
        "lock",
        "A row lock is dropped, weakened or waited for",
        "Two sessions decide on the same row, or workers queue up behind each other.",
        ("SelectStmt",),
        _lock,
    ),
    Operator("order", "order", "An order is turned or dropped", "Rows come in another order.", ("SelectStmt",), _order),
    Operator(
        "limit", "order", "LIMIT or DISTINCT is dropped", "More rows come than one asked for.", ("SelectStmt",), _limit
    ),
    Operator(
        "join",
        "condition",
        "A join is of the other kind",
        "Rows without a partner are lost, or added.",
        ("JoinExpr",),
        _join,
    ),
    Operator(
        "case",
        "branch",
        "The results of CASE are exchanged or one is dropped",
        "A case is forgotten.",
        ("CaseExpr",),
        _case,
    ),
)
