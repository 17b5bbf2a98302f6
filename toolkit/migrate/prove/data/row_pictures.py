"""What the rows of a database hold at one moment, and what two such pictures say about each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import asyncpg

from toolkit.migrate.catalog import reading
from toolkit.migrate.folder.files import Destroyed
from toolkit.migrate.rows.shapes import Column, Shape
from toolkit.postgres.connection import Connection
from toolkit.report.record import shortened
from toolkit.sql import prove_data as sql
from toolkit.sql.quoting import quote_identifier

_DEADLINE_S = 300
_MOST_ROWS = 20_000  # of one table; of a larger one every second, third … row is looked at
_MOST_EXAMPLES = 3
_FLOATS = {"float4", "float8"}


@dataclass(frozen=True)
class TablePicture:
    """`rows` are (key, a digest for each of `columns`); the key is None where the table has none. `one_in` says how
    many rows stand behind each one that was looked at."""

    table: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, tuple[str, ...]], ...]
    key: tuple[str, ...]
    one_in: int = 1


@dataclass(frozen=True)
class Picture:
    """Of every table that exists; `shapes` say how its values were read."""

    shapes: Mapping[str, Shape]
    tables: Mapping[str, TablePicture]

    @property
    def rows(self) -> int:
        """How many rows were looked at."""
        return sum(len(table.rows) for table in self.tables.values())


@dataclass(frozen=True)
class Damage:
    """What became of a table's rows: numbers of rows, with keys for examples; `changed` by column."""

    table: str
    gone: bool = False
    missing_columns: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def lines(self) -> tuple[str, ...]:
        """A sentence each."""
        if self.gone:
            return (f"{self.table} is gone, with all its rows",)
        found = [f"{self.table}.{name} is gone, with its values" for name in self.missing_columns]
        if self.lost:
            found.append(f"{self.table}: {len(self.lost)} rows are lost{_examples(self.lost)}")
        if self.added:
            found.append(f"{self.table}: {len(self.added)} rows are there that were not{_examples(self.added)}")
        found += [
            f"{self.table}.{name}: {len(keys)} values are not what they were{_examples(keys)}"
            for name, keys in self.changed.items()
        ]
        return tuple(found)


def _examples(keys: Iterable[str]) -> str:
    shown = shortened(filter(None, keys), _MOST_EXAMPLES)
    return f" (of row {', '.join(shown)})" if shown else ""


async def take_picture(conn: Connection, shapes: Mapping[str, Shape], reference: Picture | None = None) -> Picture:
    """Look at every row of `shapes`; with a `reference`, at its tables and columns only, read as it read them.

    Of generated columns nothing is kept: their values follow from others.
    """
    found = {}
    async with reading(conn):
        for table, shape in shapes.items():
            if reference is None:
                found[table] = await _take(conn, shape, shape, None)
            elif table in reference.tables:
                found[table] = await _take(conn, shape, reference.shapes[table], reference.tables[table])
    return Picture(shapes if reference is None else reference.shapes, found)


async def _take(conn: Connection, shape: Shape, old: Shape, reference: TablePicture | None) -> TablePicture:
    present = {column.name: column for column in shape.columns if not column.generated}
    wanted = [column for column in old.columns if column.name in present and not column.generated]
    if reference is not None:
        wanted = [column for column in wanted if column.name in reference.columns]
    values = {column.name: await _value(conn, shape, present[column.name], column) for column in wanted}
    key = reference.key if reference is not None else _key(shape)
    keyed = bool(key) and set(key) <= values.keys()
    key_text = sql.KEY.format(parts=", ".join(values[name] for name in key)) if keyed else sql.NO_KEY
    one_in = reference.one_in if reference is not None else await _one_in(conn, shape, keyed=keyed)
    query = sql.PICTURE.format(
        key=key_text,
        digests=", ".join(sql.DIGEST.format(value=value) for value in values.values()),
        table=shape.quoted,
        where=sql.ONE_IN.format(key=key_text, parts=one_in) if one_in > 1 and keyed else "",
    )
    rows = await conn.fetch(query, timeout=_DEADLINE_S)
    return TablePicture(
        shape.table, tuple(values), tuple((row["key"], tuple(row["digests"])) for row in rows), key, one_in
    )


def _key(shape: Shape) -> tuple[str, ...]:
    """Primary key, or what else tells rows apart and is never NULL."""
    never_null = [names for names in shape.uniques if all(shape.column(name).not_null for name in names)]
    usable = [names for names in (shape.primary_key, *never_null) if names]
    return next((names for names in usable if not any(shape.column(name).generated for name in names)), ())


async def _one_in(conn: Connection, shape: Shape, *, keyed: bool) -> int:
    if not keyed:
        return 1
    rows = int(await conn.fetchval(sql.COUNT.format(table=shape.quoted), timeout=_DEADLINE_S))
    return rows // _MOST_ROWS + 1


async def _value(conn: Connection, shape: Shape, now: Column, then: Column) -> str:
    """How to read a column so that the value it had reads the same in its present type, where that is possible."""
    quoted = quote_identifier(now.name)
    if now.type == then.type or _family(now) == _family(then) != "":
        return _canonical(now, quoted)
    for template in (sql.CAST, sql.CAST_BY_TEXT):
        value = _canonical(then, template.format(column=quoted, type=then.type))
        savepoint = conn.transaction()
        await savepoint.start()
        try:
            await conn.execute(sql.TRY.format(value=value, table=shape.quoted), timeout=_DEADLINE_S)
        except asyncpg.PostgresError:
            continue  # the old type cannot be made of it this way
        finally:
            await savepoint.rollback()
        return value
    return _canonical(now, quoted)


def _canonical(column: Column, value: str) -> str:
    return {
        "number": sql.NUMBER,
        "moment": sql.MOMENT if column.kind.name == "timestamptz" else sql.TEXT,
        "document": sql.DOCUMENT,
    }.get(_family(column), sql.TEXT).format(column=value)


def _family(column: Column) -> str:
    """Types of one family read alike; '' for those that stand alone."""
    kind = column.kind
    if kind.shape == "enum" or (kind.shape == "base" and (kind.category == "S" or kind.name == "uuid")):
        return "text"
    if kind.shape != "base":
        return ""
    if kind.name in {"int2", "int4", "int8", "numeric"}:
        return "number"
    if kind.name in {"timestamp", "timestamptz"}:
        return "moment"
    return "document" if kind.name in {"json", "jsonb"} else ""


# -- comparing --------------------------------------------------------------------------------------------------------


def compare(before: Picture, after: Picture, *, only_common: bool = False) -> tuple[Damage, ...]:
    """What became of the rows of `before`; a table without damage is not mentioned.

    `only_common` leaves out what `after` has no table or column for.
    """
    found = []
    for table, old in before.tables.items():
        new = after.tables.get(table)
        if new is None:
            if not only_common and old.rows:
                found.append(Damage(table, gone=True))
            continue
        damage = _compare(old, new)
        missing = tuple(name for name in old.columns if name not in new.columns) if not only_common else ()
        damage = Damage(table, False, missing if old.rows else (), damage.lost, damage.added, damage.changed)
        if damage.lines():
            found.append(damage)
    return tuple(found)


def _compare(old: TablePicture, new: TablePicture) -> Damage:
    common = [(name, place, new.columns.index(name)) for place, name in enumerate(old.columns) if name in new.columns]
    if any(key is None for key, _ in (*old.rows, *new.rows)):
        return _compare_unkeyed(old, new, common)
    before, after = dict(old.rows), dict(new.rows)
    changed: dict[str, list[str]] = {}
    for key in before.keys() & after.keys():
        for name, there, here in common:
            if before[key][there] != after[key][here]:
                changed.setdefault(name, []).append(str(key))
    return Damage(
        old.table,
        lost=tuple(sorted(str(key) for key in before.keys() - after.keys())),
        added=tuple(sorted(str(key) for key in after.keys() - before.keys())),
        changed={name: tuple(sorted(keys)) for name, keys in sorted(changed.items())},
    )


def _compare_unkeyed(old: TablePicture, new: TablePicture, common: list[tuple[str, int, int]]) -> Damage:
    """Rows without a name: as many of each content as there were. Of what differs, the columns are named."""
    then = Counter(tuple(digests[there] for _, there, _ in common) for _, digests in old.rows)
    now = Counter(tuple(digests[here] for _, _, here in common) for _, digests in new.rows)
    if then == now:
        return Damage(old.table)
    less, more = len(old.rows) - len(new.rows), len(new.rows) - len(old.rows)
    changed = {}
    if not less:
        for name, there, here in common:
            values = Counter(digests[there] for _, digests in old.rows)
            values.subtract(Counter(digests[here] for _, digests in new.rows))
            if different := sum(count for count in values.values() if count > 0):
                changed[name] = ("",) * different
        changed = changed or {"(values moved between rows)": ("",)}
    return Damage(old.table, lost=("",) * max(less, 0), added=("",) * max(more, 0), changed=changed)


def undeclared(damages: Iterable[Damage], declared: Iterable[Destroyed]) -> tuple[Damage, ...]:
    """The part of the damage that no header owns up to."""
    entries = tuple(declared)
    whole = {entry.table for entry in entries if entry.whole_table}
    rows = {entry.table for entry in entries if entry.rows_only}
    columns = {(entry.table, name) for entry in entries for name in entry.columns}
    found = []
    for damage in damages:
        if damage.table in whole or (damage.table in rows and not damage.gone and not damage.missing_columns):
            continue
        kept = Damage(
            damage.table,
            damage.gone,
            tuple(name for name in damage.missing_columns if (damage.table, name) not in columns),
            () if damage.table in rows else damage.lost,
            () if damage.table in rows else damage.added,
            {
                name: keys
                for name, keys in damage.changed.items()
                if damage.table not in rows and (damage.table, name) not in columns
            },
        )
        if kept.lines():
            found.append(kept)
    return tuple(found)
