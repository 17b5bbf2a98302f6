"""Filters of a binding, `column=operator.value` joined by commas: read, and matched against rows.

Reading is pure. A predicate is compared in its column's type: equality of types whose text form is
canonical, and numbers, are decided here. What only Postgres can decide (collations, patterns, unusual types)
yields ASK and is asked of Postgres in a batch.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final, Literal

from reference_server.realtime.protocol.inspect_text import inspect_value
from reference_server.replication.facts import ColumnFacts, PgType

MAX_IN_VALUES = 100
OPERATORS: Final = frozenset(
    {"eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct"}
)
PATTERNS: Final = frozenset({"like", "ilike", "match", "imatch"})
EMPTY_SEGMENT = "Error parsing `filter` params: filter must not contain empty segments (check for extra commas)"
IN_PARENTHESES = "Error parsing `filter` params: `in` filter value must be wrapped by parentheses"

# The text form is canonical: equal values have equal text and the other way round.
_EXACT: Final = frozenset(
    {"bool", "uuid", "text", "varchar", "name", "bytea", "macaddr", "macaddr8", "pg_lsn"}
    | {"date", "time", "timestamp", "timestamptz"}
)
_NUMBERS: Final = frozenset({"int2", "int4", "int8", "numeric", "float4", "float8", "oid"})
Decision = Literal["exact", "number", "ask"]


class FilterError(ValueError):
    """The filter cannot be read; the text is what the client is told."""


class Unknown(Enum):
    """Postgres has to be asked."""

    ASK = "ask"


ASK = Unknown.ASK


@dataclass(frozen=True, slots=True)
class Predicate:
    """One `column=operator.value`. The value of `in` is an array literal, `{a,b}`."""

    column: str
    operator: str
    value: str
    negated: bool

    def shown(self) -> tuple[str, str, str, bool]:
        """As it appears in error texts."""
        return self.column, self.operator, self.value, self.negated


@dataclass(frozen=True, slots=True)
class Condition:
    """A predicate on a column of a known type, its operand in Postgres's canonical text.

    `operands` holds the values of `in` (None for NULL), otherwise the one value.
    """

    column: str
    type_oid: int
    type_sql: str
    collation: str | None
    decision: Decision
    operator: str
    operands: tuple[str | None, ...]
    negated: bool

    def test(self, value: bytes | None) -> bool | Unknown:
        """Whether a row with this value passes; SQL's NULL result does not."""
        result = self._truth(value)
        if result is ASK:
            return ASK
        return result is not None and bool(result) != self.negated

    @property
    def way_of_comparing(self) -> tuple[object, ...]:
        """Conditions that are the same in it are one piece of SQL with different operands."""
        return self.type_sql, self.collation, self.operator, self.negated

    @property
    def operand_text(self) -> str | None:
        """The operand as one text; of `in` an array literal."""
        if self.operator != "in":
            return self.operands[0]
        return "{" + ",".join("NULL" if operand is None else _quoted(operand) for operand in self.operands) + "}"

    def index_keys(self) -> tuple[Hashable, ...] | None:
        """The keys of which a passing value has one, for an index; None when the condition cannot be indexed."""
        if self.negated or self.decision == "ask" or self.operator not in ("eq", "in"):
            return None
        return tuple({self.key(operand) for operand in self.operands if operand is not None})

    def key(self, text: str) -> Hashable:
        """Two values of the column are equal exactly when their keys are equal."""
        return comparison_key(self.decision, text)

    def _truth(self, value: bytes | None) -> bool | Unknown | None:
        operator, operands = self.operator, self.operands
        if operator == "is":
            if operands[0] in ("null", "unknown"):
                return value is None
            return value == (b"t" if operands[0] == "true" else b"f")
        if operator == "in" and not operands:
            return False
        if value is None:
            return True if operator == "isdistinct" else None
        if self.decision == "ask" or operator in PATTERNS:
            return ASK
        key = self.key(value.decode(errors="replace"))
        if operator == "in":
            if any(operand is not None and self.key(operand) == key for operand in operands):
                return True
            return None if None in operands else False
        assert operands[0] is not None
        other = self.key(operands[0])
        if operator == "eq":
            return key == other
        if operator in ("neq", "isdistinct"):
            return key != other
        if self.decision != "number":
            return ASK
        assert isinstance(key, tuple)
        assert isinstance(other, tuple)
        match operator:
            case "lt":
                return key < other
            case "lte":
                return key <= other
            case "gt":
                return key > other
            case _:
                return key >= other

    def sql(self, value: str, operand: str) -> str:
        """The comparison for Postgres; `value` and `operand` are SQL expressions of type text.

        The operand of `in` is a text[] of canonical values.
        """
        collate = f" collate {self.collation}" if self.collation else ""
        if self.operator == "in":
            test = f"{value}::{self.type_sql}{collate} = any ({operand}::{self.type_sql}[])"
        elif self.operator in PATTERNS:
            test = f"{value}::{self.type_sql}::text{collate} {_SQL[self.operator]} {operand}"
        else:
            test = f"{value}::{self.type_sql}{collate} {_SQL[self.operator]} {operand}::{self.type_sql}"
        return f"(not ({test})) is true" if self.negated else f"({test}) is true"


_SQL = {
    "eq": "=",
    "neq": "<>",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "isdistinct": "is distinct from",
    "like": "like",
    "ilike": "ilike",
    "match": "~",
    "imatch": "~*",
}


def _quoted(text: str) -> str:
    """An element of an array literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def comparison_key(decision: Decision, text: str) -> Hashable:
    """The key by which values are compared. Numbers order as in Postgres: NaN equals itself and is the greatest."""
    if decision != "number":
        return text
    return (1, Decimal(0)) if text == "NaN" else (0, Decimal(text))


def decision_for(column: ColumnFacts, types: Mapping[int, PgType]) -> Decision:
    """How values of the column are compared."""
    pg = types[column.type_oid]
    while pg.kind == "d":
        pg = types[pg.base]
    if pg.kind == "e":
        return "exact"
    if pg.schema != "pg_catalog" or not column.deterministic:
        return "ask"
    if pg.name in _NUMBERS:
        return "number"
    return "exact" if pg.name in _EXACT else "ask"


def base_name(column: ColumnFacts, types: Mapping[int, PgType]) -> str:
    """Name of the column's type, domains resolved."""
    pg = types[column.type_oid]
    while pg.kind == "d":
        pg = types[pg.base]
    return pg.name


def parse_filter(text: str) -> tuple[Predicate, ...]:
    """Read a filter; blank means none. Raises FilterError with the text for the client."""
    if not text.strip():
        return ()
    predicates = []
    for segment in map(str.strip, _segments(text)):
        if not segment:
            raise FilterError(EMPTY_SEGMENT)
        predicates.append(_predicate(segment))
    return tuple(predicates)


def _segments(text: str) -> list[str]:
    """Split at commas outside of double quotes and parentheses."""
    segments = [""]
    depth, quoted, at = 0, False, 0
    while at < len(text):
        char = text[at]
        if quoted and char == "\\":
            segments[-1] += text[at : at + 2]
            at += 2
            continue
        if char == '"':
            quoted = not quoted
        elif not quoted:
            depth += (char == "(") - (char == ")" and depth > 0)
        if char == "," and not quoted and not depth:
            segments.append("")
        else:
            segments[-1] += char
        at += 1
    return segments


def _predicate(segment: str) -> Predicate:
    column, equals, rest = segment.partition("=")
    if not equals:
        raise _unreadable([segment])
    parts = rest.split(".", 1)
    negated = len(parts) == 2 and parts[0] == "not"
    if negated:
        parts = parts[1].split(".", 1)
    if len(parts) != 2 or parts[0] not in OPERATORS:
        raise _unreadable(parts)
    operator, value = parts
    if operator == "in":
        if not (len(value) > 1 and value.startswith("(") and value.endswith(")")):
            raise FilterError(IN_PARENTHESES)
        return Predicate(column, operator, "{" + value[1:-1] + "}", negated)
    return Predicate(column, operator, _unquote(value), negated)


def _unreadable(parts: list[str]) -> FilterError:
    return FilterError(f"Error parsing `filter` params: {inspect_value(parts)}")


def _unquote(value: str) -> str:
    if len(value) < 2 or not (value.startswith('"') and value.endswith('"')):
        return value
    out, at, inner = [], 0, value[1:-1]
    while at < len(inner):
        if inner[at] == "\\" and at + 1 < len(inner):
            at += 1
        out.append(inner[at])
        at += 1
    return "".join(out)
