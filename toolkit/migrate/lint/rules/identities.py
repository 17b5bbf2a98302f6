"""Who the caller is: uuid and text ids, claims, and what is asked anew for every row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.migrate.lint.reading.facts import Policy
from toolkit.migrate.lint.reading.findings import At, Hit, Rule, Severity
from toolkit.migrate.lint.reading.reader import Name, calls, find, has
from toolkit.migrate.lint.reading.tokens import Token, Tokens
from toolkit.migrate.lint.rules.context import Context

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
_TEXT = ("text", "varchar", "charactervarying", "citext")
_CALLS = (("auth", "uid"), ("auth", "jwt"), ("auth", "role"), ("auth", "email"))


@dataclass(frozen=True)
class _Place:
    """An expression: where it stands, what to call it, and whose columns it sees."""

    at: At
    label: str
    tokens: Tokens
    table: Name | None


def look(context: Context) -> Iterator[Hit]:
    """Findings about identities, in policies and in function bodies."""
    policies = [
        _of(policy, tokens)
        for policy in context.schema.policies.values()
        for tokens in (policy.using, policy.check)
        if tokens
    ]
    bodies = [
        _Place(r.function.at, f"function {r.label}", r.function.body, None)
        for r in context.schema.functions.values()
        if r.function.body
    ]
    text_ids = any(_reads_sub_as_text(place.tokens) for place in (*policies, *bodies))
    for place in (*policies, *bodies):
        found = list(_types(context, place))
        yield from found
        if not found and text_ids and place in policies and (at := _first(place.tokens, "auth", "uid")) is not None:
            yield Hit(UID_MIXED, At(place.at.file, place.tokens[at].line), f"{place.label} asks auth.uid()")
    for place in policies:
        yield from _uncached(place)


def _of(policy: Policy, tokens: Tokens) -> _Place:
    return _Place(policy.at, f"policy {policy.name} of {policy.table}", tokens, policy.table)


def _first(tokens: Tokens, schema: str, name: str) -> int | None:
    return next(calls(tokens, schema, name), None)


def _types(context: Context, place: _Place) -> Iterator[Hit]:
    tokens = place.tokens
    for n in calls(tokens, "auth", "uid"):
        end = _closed(tokens, n + 3)
        at = At(place.at.file, tokens[n].line)
        start, end = _unwrapped(tokens, n, end)
        if _cast_to(tokens, end, *_TEXT) or _cast_call(tokens, start, end, *_TEXT):
            yield Hit(UID_AS_TEXT, at, f"{place.label} casts auth.uid() to text")
        elif (other := _compared(tokens, start, end)) and _is_text(context, place, other):
            yield Hit(UID_TEXT_COLUMN, at, f"{place.label} compares auth.uid() with {_spelt(other)}")
    for n, token in enumerate(tokens):
        if token.is_text and token.text == "sub" and n and tokens[n - 1].mark("->>"):
            end = _out_of_parens(tokens, n + 1)
            if _cast_to(tokens, end, "uuid") or _cast_to(tokens, n + 1, "uuid"):
                yield Hit(SUB_TO_UUID, At(place.at.file, token.line), f"{place.label} casts the sub to uuid")
    for n, token in enumerate(tokens):
        if token.word("current_setting") and n + 2 < len(tokens) and tokens[n + 1].mark("("):
            setting = tokens[n + 2]
            guarded = n > 1 and tokens[n - 1].mark("(") and tokens[n - 2].word("nullif")
            end = _closed(tokens, n + 1)
            claims = setting.is_text and setting.text.startswith("request.jwt")
            if claims and not guarded and _cast_to(tokens, _out_of_parens(tokens, end), "json", "jsonb"):
                what = f"{place.label} casts {setting.text} to JSON as it is"
                yield Hit(CLAIMS_UNGUARDED, At(place.at.file, token.line), what)


def _closed(tokens: Tokens, opening: int) -> int:
    """The position behind the parenthesis that closes the one at `opening`."""
    depth = 0
    for n in range(opening, len(tokens)):
        depth += tokens[n].mark("(") - tokens[n].mark(")")
        if depth == 0:
            return n + 1
    return len(tokens)


def _out_of_parens(tokens: Tokens, end: int) -> int:
    while end < len(tokens) and tokens[end].mark(")"):
        end += 1
    return end


def _unwrapped(tokens: Tokens, start: int, end: int) -> tuple[int, int]:
    """The widest stretch that is nothing but this call: parentheses and `(select …)` around it."""
    while end < len(tokens) and tokens[end].mark(")"):
        before = start - 1
        if before >= 0 and tokens[before].word("select"):
            before -= 1
        if (
            before < 0
            or not tokens[before].mark("(")
            or (before and tokens[before - 1].is_name and not tokens[before - 1].word(*_OPERATORS))
        ):
            break
        start, end = before, end + 1
    return start, end


_OPERATORS = ("and", "or", "not", "in", "any", "where", "when", "then", "is", "on", "select", "return", "using")


def _cast_to(tokens: Tokens, position: int, *types: str) -> bool:
    if position + 1 >= len(tokens) or not tokens[position].mark("::"):
        return False
    return _is_type(tokens, position + 1, types)


def _is_type(tokens: Tokens, position: int, types: tuple[str, ...]) -> bool:
    """Whether a type of this name stands there, quoted or not, with its schema or without."""
    if position + 2 < len(tokens) and tokens[position].text == "pg_catalog" and tokens[position + 1].mark("."):
        position += 2
    return tokens[position].is_name and tokens[position].text in types


def _cast_call(tokens: Tokens, start: int, end: int, *types: str) -> bool:
    return (
        start > 1
        and tokens[start - 1].mark("(")
        and tokens[start - 2].word("cast")
        and end + 1 < len(tokens)
        and tokens[end].word("as")
        and _is_type(tokens, end + 1, types)
    )


def _compared(tokens: Tokens, start: int, end: int) -> tuple[Token, ...]:
    """The name or literal on the other side of `=` or `<>`; empty when it is more than that."""
    if end < len(tokens) and tokens[end].mark("=", "<>", "!="):
        other = []
        for token in tokens[end + 1 :]:
            if not (token.is_name or token.is_text or token.mark(".")) or token.word("and", "or"):
                if token.mark("(", "::", "->", "->>", "||"):
                    return ()
                break
            other.append(token)
        return tuple(other)
    if start and tokens[start - 1].mark("=", "<>", "!="):
        back: list[Token] = []
        for token in reversed(tokens[: start - 1]):
            if not (token.is_name or token.is_text or token.mark(".")) or token.word(*_OPERATORS):
                if token.mark(")", "::", "->", "->>", "||"):
                    return ()
                break
            back.insert(0, token)
        return tuple(back)
    return ()


def _is_text(context: Context, place: _Place, other: tuple[Token, ...]) -> bool:
    if len(other) == 1 and other[0].is_text:
        return len(other[0].text.replace("-", "")) != 32
    table = context.schema.tables.get(place.table) if place.table is not None else None
    qualified = len(other) == 3 and place.table is not None and other[0].text == place.table.name
    if table is None or not (len(other) == 1 or qualified) or not other[-1].is_name:
        return False
    if find(place.tokens, "from") is not None and not qualified:
        return False  # the name may be another table's
    column = table.column(other[-1].text)
    return column is not None and column.type.startswith(_TEXT)


def _spelt(tokens: tuple[Token, ...]) -> str:
    return "".join(f"'{token.text}'" if token.is_text else token.text for token in tokens)


def _reads_sub_as_text(tokens: Tokens) -> bool:
    """`… ->> 'sub'` that is not cast to uuid."""
    for n, token in enumerate(tokens):
        if token.is_text and token.text == "sub" and n and tokens[n - 1].mark("->>"):
            return not _cast_to(tokens, _out_of_parens(tokens, n + 1), "uuid")
    return False


def _uncached(place: _Place) -> Iterator[Hit]:
    tokens = place.tokens
    starts = [(n, f"{schema}.{name}()") for schema, name in _CALLS for n in calls(tokens, schema, name)]
    starts += [(n, "current_setting()") for n, token in enumerate(tokens) if token.word("current_setting")]
    for n, call in sorted(starts):
        if not _in_scalar_subselect(tokens, n):
            yield Hit(UNCACHED, At(place.at.file, tokens[n].line), f"{place.label} calls {call} for every row")
            return


def _in_scalar_subselect(tokens: Tokens, position: int) -> bool:
    """Whether a parenthesis around it holds a subselect without FROM: that one does not depend on the row."""
    depth = 0
    for n in range(position - 1, -1, -1):
        token = tokens[n]
        depth += token.mark(")") - token.mark("(")
        if depth < 0:
            depth = 0
            if tokens[n + 1].word("select") and not has(tokens[n : _closed(tokens, n)], "from"):
                return True
    return False
