"""Who the caller is: uuid and text ids, claims, and what is asked anew for every row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.migrate.lint.reading.code import Code, calls, is_call, literal, operator, relations, unwrapped
from toolkit.migrate.lint.reading.findings import At, LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.names import Name, of_type
from toolkit.migrate.lint.rules.context import Context
from toolkit.sql.parse import AstNode, Piece, nodes, strings

UID_TEXT_COLUMN = Rule(
    "auth-uid-text-column",
    Severity.ERROR,
    "auth.uid() is compared with a text column or value",
    "auth.uid() is a uuid: Postgres refuses the comparison (42883), and ids of other identity providers "
    "(`user_2abc…`) can never equal it.",
    "Compare the text claim: `user_id = (select auth.jwt() ->> 'sub')`.",
)
UID_AS_TEXT = Rule(
    "auth-uid-as-text",
    Severity.WARNING,
    "auth.uid() is cast to text",
    "The ids it is compared with are text, so a `sub` may be no uuid (Clerk, Auth0, Firebase): auth.uid() then raises "
    "22P02 instead of filtering, and every read of the table fails.",
    "Take the text as it is: `(select auth.jwt() ->> 'sub')`.",
)
UID_MIXED = Rule(
    "auth-uid-among-text-ids",
    Severity.WARNING,
    "auth.uid() is used in a folder whose other policies read the `sub` as text",
    "Where ids are text, auth.uid() raises 22P02 for the first `sub` that is no uuid.",
    "Use `(select auth.jwt() ->> 'sub')` here as well.",
)
SUB_TO_UUID = Rule(
    "sub-cast-to-uuid",
    Severity.WARNING,
    "The `sub` claim is cast to uuid",
    "A `sub` of another identity provider is no uuid: the cast raises 22P02, and an error in a policy fails the query.",
    "Keep user ids as text and compare the claim as it is.",
)
CLAIMS_UNGUARDED = Rule(
    "claims-cast-unguarded",
    Severity.WARNING,
    "Request claims are cast to JSON without nullif",
    "A setting that was set and reset in a pooled session reads as an empty string, which is no JSON: the policy "
    "raises instead of answering.",
    "Write `nullif(current_setting('request.jwt.claims', true), '')::jsonb`, or call auth.jwt().",
)
UNCACHED = Rule(
    "policy-uncached-call",
    Severity.INFO,
    "A policy asks for the caller's identity for every row",
    "Postgres evaluates auth.uid(), auth.jwt() and current_setting() once for each row, Realtime for each change and "
    "subscriber.",
    "Wrap it in a subselect, which is evaluated once a query: `(select auth.uid())`.",
)
RULES = (UID_TEXT_COLUMN, UID_AS_TEXT, UID_MIXED, SUB_TO_UUID, CLAIMS_UNGUARDED, UNCACHED)
_TEXT = ("text", "character varying", "citext")
_IDENTITY = ("auth.uid", "auth.jwt", "auth.role", "auth.email", "current_setting")


@dataclass(frozen=True)
class _Place:
    """An expression: where it stands, what to call it, and whose columns it sees."""

    at: At
    label: str
    code: Code
    table: Name | None


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about identities, in policies and in function bodies."""
    policies = [
        _Place(policy.at, f"policy {policy.name} of {policy.table}", code, policy.table)
        for policy in context.schema.policies.values()
        for code in (policy.using, policy.check)
        if code
    ]
    bodies = [
        _Place(r.function.at, f"function {r.label}", r.function.body.pieces, None)
        for r in context.schema.functions.values()
    ]
    text_ids = any(_reads_sub_as_text(place.code) for place in (*policies, *bodies))
    for place in (*policies, *bodies):
        found = list(_types(context, place))
        yield from found
        if found or not text_ids or place not in policies:
            continue
        if (call := next(calls(place.code, "auth.uid"), None)) is not None:
            yield UID_MIXED.found(At(place.at.file, call[1]), f"{place.label} asks auth.uid()")
    for place in policies:
        yield from _uncached(place)


def _types(context: Context, place: _Place) -> Iterator[LintFinding]:
    for piece in place.code:
        for cast in piece.find(nodes.TypeCast):
            yield from _cast(place, piece, cast)
        for comparison in piece.find(nodes.A_Expr):
            if operator(comparison) not in {"=", "<>"}:
                continue
            for side, other in ((comparison.lexpr, comparison.rexpr), (comparison.rexpr, comparison.lexpr)):
                match unwrapped(side):
                    case nodes.FuncCall() as call if is_call(call, "auth.uid") and _is_text(context, place, other):
                        at = At(place.at.file, piece.line(call.location))
                        yield UID_TEXT_COLUMN.found(at, f"{place.label} compares auth.uid() with {_spelt(other)}")


def _cast(place: _Place, piece: Piece, cast: nodes.TypeCast) -> Iterator[LintFinding]:
    to = of_type(cast.type_name)
    match unwrapped(cast.arg):
        case nodes.FuncCall() as call if to in _TEXT and is_call(call, "auth.uid"):
            yield UID_AS_TEXT.found(_at(place, piece, call.location), f"{place.label} casts auth.uid() to text")
        case nodes.FuncCall(args=[setting, *_]) as call if to in {"json", "jsonb"} and is_call(call, "current_setting"):
            if (name := literal(setting) or "").startswith("request.jwt"):
                what = f"{place.label} casts {name} to JSON as it is"
                yield CLAIMS_UNGUARDED.found(_at(place, piece, call.location), what)
        case nodes.A_Expr() as claim if to == "uuid" and _is_sub(claim):
            yield SUB_TO_UUID.found(_at(place, piece, claim.location), f"{place.label} casts the sub to uuid")


def _at(place: _Place, piece: Piece, location: int) -> At:
    return At(place.at.file, piece.line(location))


def _is_sub(node: nodes.A_Expr) -> bool:
    return operator(node) == "->>" and literal(node.rexpr) == "sub"


def _is_text(context: Context, place: _Place, other: AstNode | None) -> bool:
    if (text := literal(other)) is not None:
        return len(text.replace("-", "")) != 32
    table = context.schema.tables.get(place.table) if place.table is not None else None
    names = strings(other.fields) if isinstance(other, nodes.ColumnRef) else ()
    if table is None or not names:
        return False
    qualified = names[:-1] == (table.name.name,)
    if not qualified and (len(names) > 1 or relations(place.code)):
        return False  # the name may be another table's
    column = table.column(names[-1])
    return column is not None and column.type in _TEXT


def _spelt(node: AstNode | None) -> str:
    if isinstance(node, nodes.ColumnRef):
        return ".".join(strings(node.fields))
    return f"'{literal(node)}'"


def _reads_sub_as_text(code: Code) -> bool:
    """`… ->> 'sub'` that is not cast to uuid."""
    for piece in code:
        casts = (unwrapped(cast.arg) for cast in piece.find(nodes.TypeCast) if of_type(cast.type_name) == "uuid")
        cast = {claim.location for claim in casts if isinstance(claim, nodes.A_Expr)}
        if any(_is_sub(claim) and claim.location not in cast for claim in piece.find(nodes.A_Expr)):
            return True
    return False


def _uncached(place: _Place) -> Iterator[LintFinding]:
    for piece in place.code:
        cached: set[int] = set()
        for subselect in piece.find(nodes.SubLink):
            within = piece.under(subselect)
            if not any(within.find(nodes.RangeVar)):  # it does not depend on the row
                cached |= {call.location for call in within.find(nodes.FuncCall)}
        for call, line in calls((piece,), *_IDENTITY):
            if call.location not in cached:
                what = f"{place.label} calls {'.'.join(strings(call.funcname))}() for every row"
                yield UNCACHED.found(At(place.at.file, line), what)
                return
