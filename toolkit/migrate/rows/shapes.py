"""Reads from the catalog what must be known of a table to insert rows into it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import asyncpg

from toolkit.migrate.catalog import reading
from toolkit.migrate.rows.values import Kind, choices
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_rows as sql
from toolkit.sql.quoting import quote_identifier

_DEADLINE_S = 60
_DEEPEST = 8
_ANY_TEXT = Kind("text", "S")


@dataclass(frozen=True)
class Column:
    """`type` as SQL writes it, `labels` those of its enum, `choices` those that a simple CHECK allows, `references`
    the table and column of a foreign key of its own. `identity` is '', 'a' (always) or 'd' (by default)."""

    name: str
    type: str
    not_null: bool
    has_default: bool
    generated: bool
    identity: str
    labels: tuple[str, ...]
    choices: tuple[str, ...]
    references: tuple[str, str] | None
    kind: Kind = _ANY_TEXT
    counted: bool = False  # the default counts: an identity, or a sequence

    @property
    def required(self) -> bool:
        """Whether a row cannot do without a value for it."""
        return self.not_null and not self.has_default and not self.generated and not self.identity

    @property
    def updatable(self) -> bool:
        """Whether an UPDATE may set it."""
        return not self.generated and self.identity != "a"


@dataclass(frozen=True)
class ForeignKey:
    """`columns` refer to `references` of `table` (`schema.name`)."""

    columns: tuple[str, ...]
    table: str
    references: tuple[str, ...]
    deferrable: bool = False


@dataclass(frozen=True)
class Condition:
    """What a CHECK, or having to fit a partition, asks of a row: an SQL expression over `columns`."""

    expression: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """A table to insert into. `table` is `schema.name` unquoted, `quoted` the same for SQL; `uniques` are the column
    sets of its unique constraints and indexes, without the primary key."""

    table: str
    quoted: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    uniques: tuple[tuple[str, ...], ...]
    foreign_keys: tuple[ForeignKey, ...]
    partitioned: bool
    conditions: tuple[Condition, ...] = ()

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)

    def hard(self, key: ForeignKey) -> bool:
        """Whether no row can be without the row that `key` refers to."""
        return all(self.column(name).not_null for name in key.columns)


async def read_shapes(conn: Connection) -> dict[str, Shape]:
    """Every user table (`schema.name` → shape), parents first; cycles are entered where a NULL may stand."""
    async with reading(conn):
        tables = await conn.fetch(sql.TABLES, timeout=_DEADLINE_S)
        columns = _by_table(await conn.fetch(sql.COLUMNS, timeout=_DEADLINE_S))
        constraints = _by_table(await conn.fetch(sql.CONSTRAINTS, timeout=_DEADLINE_S))
        indexes = _by_table(await conn.fetch(sql.UNIQUE_INDEXES, timeout=_DEADLINE_S))
        types = {row["oid"]: row for row in await conn.fetch(sql.TYPES, timeout=_DEADLINE_S)}
    names = {row["oid"]: row["name"] for row in tables}
    shapes = {
        row["name"]: _shape(
            row, columns[row["oid"]], constraints[row["oid"]], indexes[row["oid"]], names=names, types=types
        )
        for row in tables
    }
    return {table: shapes[table] for group in insertion_order(shapes) for table in group}


def insertion_order(shapes: Mapping[str, Shape]) -> list[tuple[str, ...]]:
    """Groups of tables, parents first. More than one in a group: they need each other, and only constraints that wait
    until the end of the transaction let them in."""
    soft = {name: _parents(shape, shapes, hard=False) for name, shape in shapes.items()}
    hard = {name: _parents(shape, shapes, hard=True) for name, shape in shapes.items()}
    left, groups = sorted(shapes), list[tuple[str, ...]]()
    done: set[str] = set()
    while left:
        ready = [name for name in left if soft[name] <= done]
        if not ready:
            # Fewest open ends first: as many references as possible find a row.
            ready = sorted((n for n in left if hard[n] <= done), key=lambda n: (len(soft[n] - done), n))[:1]
        groups += [(name,) for name in ready] or [_circle(left, {n: hard[n] - done for n in left})]
        done.update(name for group in groups for name in group)
        left = [name for name in left if name not in done]
    return groups


def _circle(left: list[str], needs: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Those that need each other, starting from wherever walking from need to need comes back to."""

    def reach(start: str) -> set[str]:
        found: set[str] = set()
        todo = [start]
        while todo:
            for parent in needs[todo.pop()] - found:
                found.add(parent)
                todo.append(parent)
        return found

    reached = {name: reach(name) for name in left}
    circles = [tuple(sorted({o for o in reached[n] if n in reached[o]})) for n in left if n in reached[n]]
    # A circle that needs no other one comes first.
    return next(c for c in circles if all(reached[name] <= set(c) for name in c))


def _parents(shape: Shape, shapes: Mapping[str, Shape], *, hard: bool) -> set[str]:
    return {
        key.table
        for key in shape.foreign_keys
        if key.table != shape.table and key.table in shapes and (not hard or shape.hard(key))
    }


def _by_table(rows: Iterable[asyncpg.Record]) -> defaultdict[int, list[asyncpg.Record]]:
    found: defaultdict[int, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        found[row["oid"]].append(row)
    return found


def _shape(
    table: asyncpg.Record,
    columns: list[asyncpg.Record],
    constraints: list[asyncpg.Record],
    indexes: list[asyncpg.Record],
    *,
    names: Mapping[int, str],
    types: Mapping[int, asyncpg.Record],
) -> Shape:
    keys = tuple(
        ForeignKey(tuple(row["columns"]), names[row["target"]], tuple(row["references"]), row["deferrable"])
        for row in constraints
        if row["type"] == "f" and row["target"] in names
    )
    conditions = [Condition(row["expression"], tuple(row["columns"])) for row in constraints if row["type"] == "c"]
    if table["partitions"]:
        named = [row["name"] for row in columns if _mentions(table["partitions"], row["name"])]
        conditions.append(Condition(table["partitions"], tuple(named)))
    primary = next((tuple(row["columns"]) for row in constraints if row["type"] == "p"), ())
    return Shape(
        table=table["name"],
        quoted=table["quoted"],
        columns=tuple(_column(row, keys, conditions, types) for row in columns),
        primary_key=primary,
        uniques=tuple(dict.fromkeys(tuple(row["columns"]) for row in indexes)),
        foreign_keys=keys,
        partitioned=table["partitioned"],
        conditions=tuple(condition for condition in conditions if condition.columns),
    )


def _mentions(expression: str, name: str) -> bool:
    return bool(re.search(rf"(?<![\w\"'.]){re.escape(name)}(?![\w\"'(])", expression)) or (
        quote_identifier(name) in expression
    )


def _column(
    row: asyncpg.Record,
    keys: tuple[ForeignKey, ...],
    conditions: list[Condition],
    types: Mapping[int, asyncpg.Record],
) -> Column:
    name, default = row["name"], row["default"] or ""
    kind = kind_of(row["type_oid"], row["modifier"], types)
    if kind.name in {"json", "jsonb"} and default.startswith("'["):
        kind = Kind(kind.name, kind.category, labels=("array",))
    own = next((key for key in keys if key.columns == (name,)), None)
    allowed = [choices(c.expression, name) for c in conditions if c.columns == (name,)]
    return Column(
        name=name,
        type=row["type"],
        not_null=row["not_null"] or _never_null(row["type_oid"], types),
        has_default=bool(default) and not row["generated"] and not _is_null(default),
        generated=row["generated"],
        identity=row["identity"],
        labels=kind.labels if kind.shape == "enum" else (),
        choices=next((found for found in allowed if found), ()),
        references=(own.table, own.references[0]) if own else None,
        kind=kind,
        counted=bool(row["identity"]) or "nextval(" in default,
    )


def _is_null(default: str) -> bool:
    return default.upper().startswith("NULL::") or default.upper() == "NULL"


def _never_null(oid: int, types: Mapping[int, asyncpg.Record]) -> bool:
    row = types[oid]
    return bool(row["type"] == "d" and (row["not_null"] or _never_null(row["base"], types)))


def kind_of(oid: int, modifier: int, types: Mapping[int, asyncpg.Record], depth: int = 0) -> Kind:
    """The kind of a type, through domains, arrays, ranges and composites; `types` are the rows of sql.TYPES."""
    row = types.get(oid)
    if row is None or depth > _DEEPEST:
        return _ANY_TEXT
    deeper = depth + 1
    if row["type"] == "d":
        inner = kind_of(row["base"], row["modifier"] if row["modifier"] >= 0 else modifier, types, deeper)
        checks = (*inner.checks, *row["checks"])
        return Kind(
            inner.name,
            inner.category,
            inner.shape,
            inner.length,
            inner.precision,
            inner.scale,
            inner.labels,
            inner.element,
            inner.fields,
            checks,
        )
    if row["type"] == "e":
        return Kind(row["name"], "E", "enum", labels=tuple(row["labels"]))
    if row["element"]:
        return Kind(row["name"], "A", "array", element=kind_of(row["element"], modifier, types, deeper))
    if row["type"] in {"r", "m"}:
        shape = "range" if row["type"] == "r" else "multirange"
        return Kind(row["name"], "R", shape, element=kind_of(row["subtype"], -1, types, deeper))
    if row["type"] == "c":
        parts = [field.split(":") for field in row["fields"]]
        fields = tuple(kind_of(int(part[0]), int(part[1]), types, deeper) for part in parts)
        return Kind(row["name"], "C", "composite", fields=fields)
    return _sized(row["name"], row["category"], modifier)


def _sized(name: str, category: str, modifier: int) -> Kind:
    if modifier < 0:
        return Kind(name, category, length=1 if name == "bit" else None)
    if name == "numeric":
        scale = (modifier - 4) & 0x7FF
        scale -= 2048 if scale >= 1024 else 0  # two's complement: -3 rounds to thousands
        return Kind(name, category, precision=(modifier - 4) >> 16 & 0xFFFF, scale=scale)
    if category == "S":
        return Kind(name, category, length=modifier - 4)
    return Kind(name, category, length=modifier)
