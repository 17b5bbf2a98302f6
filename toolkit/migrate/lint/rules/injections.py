"""Statements that functions build of what they are given."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toolkit.migrate.lint.reading.code import literal, operator
from toolkit.migrate.lint.reading.findings import At, LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.schema import Routine
from toolkit.migrate.lint.rules.context import Context
from toolkit.sql.parse import AstNode, Piece, nodes, strings

WHY = "Who calls it writes SQL of his own: `'; drop table …` or a subselect in the place of a value or a name."
REMEDY = "Give values with USING, and names as `format('… %I …', name)`."
INJECTION = Rule(
    "dynamic-sql-injection",
    Severity.ERROR,
    "Clients write SQL that runs with the owner's rights",
    WHY,
    REMEDY,
)
CONCATENATED = Rule(
    "dynamic-sql-concatenated",
    Severity.WARNING,
    "A text that a function is given becomes SQL as it is",
    WHY,
    REMEDY,
)
RULES = (INJECTION, CONCATENATED)
_TEXTS = {"text", "character varying", "character", "name", "citext", "json", "jsonb"}
_PASS_ON = {"concat", "lower", "upper", "trim", "btrim", "ltrim", "rtrim", "replace", "array_to_string"}
_PLACE = re.compile(r"%(?:(\d+)\$)?-?\d*([sIL%])")


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about EXECUTE in functions; what DO blocks build comes from the file itself."""
    for routine in context.schema.functions.values():
        function = routine.function
        taken = zip(function.parameters, function.arguments, strict=False)
        texts = {name for name, kind in taken if name and kind.removesuffix("[]") in _TEXTS}
        for piece in function.body.built:
            given = sorted({name for name in _raw(_expression(piece)) if name in texts})
            if given:
                rule = INJECTION if routine.definer and _for_clients(context, routine) else CONCATENATED
                what = f"{routine.label} executes a statement with {', '.join(given)} in it as it is"
                yield rule.found(At(function.at.file, piece.line(-1)), what)


def _for_clients(context: Context, routine: Routine) -> bool:
    return routine.function.name.schema in context.exposed and (routine.public or routine.anon)


def _expression(piece: Piece) -> AstNode | None:
    match piece.node:
        case nodes.SelectStmt(target_list=[nodes.ResTarget(val=value), *_]):
            return value
    return None


def _raw(node: AstNode | None) -> Iterator[str]:
    """The names of what becomes part of the text without being quoted."""
    match node:
        case nodes.ColumnRef(fields=fields):
            yield strings(fields)[-1] if strings(fields) else ""
        case nodes.A_Expr(lexpr=left, rexpr=right) if operator(node) == "||":
            yield from _raw(left)
            yield from _raw(right)
        case nodes.TypeCast(arg=value, type_name=nodes.TypeName(names=names)):
            if strings(names)[-1] in _TEXTS | {"varchar", "bpchar"}:
                yield from _raw(value)
        case nodes.CoalesceExpr(args=values):
            for value in values:
                yield from _raw(value)
        case nodes.FuncCall(args=values):
            name = strings(node.funcname)[-1]
            if name == "format" and values:
                places = _plain(literal(values[0]) or "")
                for number, value in enumerate(values[1:], 1):
                    if number in places:
                        yield from _raw(value)
            elif name in _PASS_ON:
                for value in values:
                    yield from _raw(value)


def _plain(text: str) -> set[int]:
    """Which arguments of format() take a place that quotes nothing."""
    found, number = set(), 0
    for place in _PLACE.finditer(text):
        if place.group(2) == "%":
            continue
        number = int(place.group(1)) if place.group(1) else number + 1
        if place.group(2) == "s":
            found.add(number)
    return found
