"""The conditions of bindings, as Postgres understands them, and which values pass them.

Operands come from clients. Whatever is asked about them is asked over a pool of its own and within a deadline of its
own, so that no filter holds up joins, deliveries or row policies.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import asyncpg

from reference_server.realtime.changes.bindings import Binding
from reference_server.realtime.changes.filters import (
    MAX_IN_VALUES,
    PATTERNS,
    Condition,
    Predicate,
    base_name,
    decision_for,
)
from reference_server.replication.catalog import Catalog, Pool
from reference_server.replication.facts import ColumnFacts, RolePrivileges, TableFacts

TEXT_TYPES = frozenset({"text", "varchar", "bpchar", "name", "citext"})
IS_VALUES = frozenset({"null", "true", "false", "unknown"})
MOST_OPERAND_CHARACTERS: Final = 16_384
# Of one statement: values times operands. More are asked for in further statements.
PAIRS_A_QUESTION: Final = 500
CHARACTERS_A_QUESTION: Final = 1_000_000
BACK_REFERENCE = (
    "back-references (`\\1`) are not supported in {operator} filters, because the time they take has no bound; "
    "write the pattern without them"
)
# Filters that are asked one by one may take so many deadlines together.
TOGETHER: Final = 10
# The statement's deadline, or that of a backend that does not heed it.
_SLOW: Final = (asyncpg.QueryCanceledError, TimeoutError)
# A condition and a value's text.
Pair: TypeAlias = tuple[Condition, str]


class InvalidBinding(ValueError):
    """A binding that Postgres refuses; the text is the whole message for the client. `slow` when it took too long."""

    def __init__(self, text: str, *, slow: bool = False) -> None:
        super().__init__(text)
        self.slow = slow


class TooSlow(Exception):
    """A condition was not answered within its deadline."""

    def __init__(self, condition: Condition, deadline_s: float) -> None:
        super().__init__(f"the filter on {condition.column} took longer than {deadline_s * 1000:.0f} ms")


class ConditionFailed(Exception):
    """Postgres raised an error where it compared a value."""


@dataclass
class Conditions:
    """Asks Postgres about operands and values. Its pool's connections end each statement after `deadline_s`."""

    pool: Pool
    catalog: Catalog
    deadline_s: float

    # -- subscribing --------------------------------------------------------------------------

    async def of(
        self, binding: Binding, facts: TableFacts, privileges: RolePrivileges, *, known_patterns: bool = False
    ) -> tuple[Condition, ...]:
        """The binding's conditions on this table. Raises InvalidBinding.

        With `known_patterns` regular expressions were compiled before and are not again.
        """
        readable = privileges.columns
        try:
            for predicate in binding.predicates:
                if predicate.column not in readable or predicate.column not in facts.columns:
                    raise _raised(f"invalid column for filter {predicate.column}")
            for name in binding.select or ():
                if name not in readable or name not in facts.columns:
                    raise _raised(f"invalid column for select {name}")
            return tuple(
                [
                    await self._condition(predicate, facts.columns[predicate.column], known_patterns)
                    for predicate in binding.predicates
                ]
            )
        except _Refused as refused:
            raise InvalidBinding(
                "Unable to subscribe to changes with given parameters. An exception happened so please check your "
                f"connect parameters: {binding.shown()}. Exception: {refused}",
                slow=refused.slow,
            ) from None

    async def _condition(self, predicate: Predicate, column: ColumnFacts, known_patterns: bool) -> Condition:
        """The predicate with its operand cast to the column's type by Postgres."""
        types = self.catalog.types
        sql_type = column.type_sql
        operator, value = predicate.operator, predicate.value
        if len(value) > MOST_OPERAND_CHARACTERS:
            raise _raised(f"the value of the {operator} filter is longer than {MOST_OPERAND_CHARACTERS} characters")
        if operator in PATTERNS and base_name(column, types) not in TEXT_TYPES:
            raise _raised(f"operator {operator} requires a text-compatible column type, got {column.type_name}")
        if operator == "is":
            if value not in IS_VALUES:
                raise _raised("invalid value for is filter: must be null, true, false, or unknown")
            if value != "null" and base_name(column, types) != "bool":
                raise _raised(f"is {value} filter requires a boolean column, got {column.type_name}")
        operands = await self._operands(operator, value, sql_type, known_patterns)
        condition = Condition(
            column.name,
            column.type_oid,
            sql_type,
            column.collation,
            decision_for(column, types),
            operator,
            operands,
            predicate.negated,
        )
        if condition.decision == "ask" and operator != "is":
            # The type may lack the operator: that is to be told at the join, not at the first change.
            await self._ask(
                f"select {condition.sql('null::text', 'null::text' if operator != 'in' else '$1::text[]')}",
                *([list(operands)] if operator == "in" else []),
            )
        return condition

    async def _operands(self, operator: str, value: str, sql_type: str, known_patterns: bool) -> tuple[str | None, ...]:
        if operator == "is":
            return (value,)
        if operator in PATTERNS:
            if operator in ("match", "imatch"):
                if has_back_reference(value):
                    raise _raised(BACK_REFERENCE.format(operator=operator))
                try:
                    if not known_patterns:
                        await self._ask("select '' ~ $1::text", value)
                except _Refused as refused:
                    words = f"invalid regular expression for {operator} filter: {refused.message}"
                    raise _raised(words, slow=refused.slow) from None
            return (value,)
        if operator == "in":
            # Cast as one array, so that the literal is read by Postgres's own rules.
            flat = tuple(await self._ask(_ELEMENTS.format(type=sql_type), value))
            if len(flat) > MAX_IN_VALUES:
                raise _raised(f"too many values for `in` filter. Maximum {MAX_IN_VALUES}")
            return flat
        # format() prints by the type's output function, as the stream does; a cast to text may not (bool).
        return (await self._ask(f"select pg_catalog.format('%s', $1::text::{sql_type})", value),)

    async def _ask(self, query: str, *args: object) -> Any:
        try:
            return await self.pool.fetchval(query, *args)
        except _SLOW:
            raise _raised(
                f"the filter takes longer than {self.deadline_s * 1000:.0f} ms to be read", slow=True
            ) from None
        except (asyncpg.PostgresConnectionError, asyncpg.InsufficientResourcesError):
            raise
        except asyncpg.PostgresError as error:
            raise _Refused.from_postgres(error) from None

    # -- values -------------------------------------------------------------------------------

    async def passing(self, pairs: Iterable[Pair]) -> set[Pair]:
        """Those pairs whose value passes. Raises TooSlow, ConditionFailed, and asyncpg's errors of a lost database."""
        passed: set[Pair] = set()
        for part in _parts(pairs):
            try:
                passed |= await self._passing(part)
            except _SLOW:  # many together, or one that waited for a busy machine: each by itself
                passed |= await self._each(part)
        return passed

    async def _each(self, pairs: Sequence[Pair]) -> set[Pair]:
        passed: set[Pair] = set()
        until = time.monotonic() + TOGETHER * self.deadline_s
        for pair in pairs:
            try:
                passed |= await self._passing([pair])
            except _SLOW:
                raise TooSlow(pair[0], self.deadline_s) from None
            if time.monotonic() > until:
                raise TooSlow(pair[0], TOGETHER * self.deadline_s)
        return passed

    async def _passing(self, pairs: Sequence[Pair]) -> set[Pair]:
        """One arm for each way of comparing, whatever the number of operands and values."""
        arms: dict[tuple[object, ...], list[int]] = {}
        for at, (condition, _) in enumerate(pairs):
            arms.setdefault(condition.way_of_comparing, []).append(at)
        selects: list[str] = []
        args: list[object] = []
        for numbers in arms.values():
            first = pairs[numbers[0]][0]
            operands = [pairs[at][0].operand_text for at in numbers]
            args += [numbers, operands, [pairs[at][1] for at in numbers]]
            operand = "o.y::text[]" if first.operator == "in" else "o.y"
            # Types and operators come from the catalog and from our table, operands are parameters.
            selects.append(
                f"select o.n from unnest(${len(args) - 2}::int[], ${len(args) - 1}::text[], "  # noqa: S608
                f"${len(args)}::text[]) as o (n, y, x) where {first.sql('o.x', operand)}"
            )
        try:
            rows = await self.pool.fetch(" union all ".join(selects), *args)
        except (*_SLOW, asyncpg.PostgresConnectionError, asyncpg.InsufficientResourcesError):
            raise
        except asyncpg.PostgresError as error:
            raise ConditionFailed(f"the filter on {pairs[0][0].column} failed: {error}") from None
        return {pairs[row["n"]] for row in rows}


def _parts(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    part: list[Pair] = []
    characters = 0
    for pair in dict.fromkeys(pairs):
        size = len(pair[1]) + sum(len(operand or "") for operand in pair[0].operands)
        if part and (len(part) >= PAIRS_A_QUESTION or characters + size > CHARACTERS_A_QUESTION):
            yield part
            part, characters = [], 0
        part.append(pair)
        characters += size
    if part:
        yield part


def has_back_reference(pattern: str) -> bool:
    """Whether a regular expression refers to what it matched before: an escaped digit, anywhere."""
    return re.search(r"(?:^|[^\\])(?:\\\\)*\\[1-9]", pattern) is not None


def most_conditions(bindings: Iterable[Binding]) -> int:
    """How many conditions the bindings ask for, on one table each."""
    return sum(len(binding.predicates) for binding in bindings)


_ELEMENTS = """
select array(select case when e is not null then pg_catalog.format('%s', e) end
             from pg_catalog.unnest($1::text::{type}[]) with ordinality as u (e, n) order by n)
"""


class _Refused(Exception):
    """A filter that Postgres refuses, or that is refused here in Postgres's words."""

    def __init__(self, text: str, message: str, *, slow: bool = False) -> None:
        super().__init__(text)
        self.message, self.slow = message, slow

    @classmethod
    def from_postgres(cls, error: asyncpg.PostgresError) -> _Refused:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()
        message = str(error.args[0]) if error.args else str(error)
        detail = f"\n\n{error.detail}" if getattr(error, "detail", None) else ""
        return cls(f"ERROR {error.sqlstate} ({name}) {message}{detail}", message)


def _raised(message: str, *, slow: bool = False) -> _Refused:
    return _Refused(f"ERROR P0001 (raise_exception) {message}", message, slow=slow)
