"""Every value of every row of a table as a digest, and what two looks at one table say about each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.errors import EnvironmentError_
from toolkit.migrate.catalog import reading
from toolkit.migrate.catalog.tables import columns_of, own_rows_of, primary_key_of
from toolkit.migrate.row_comparison.table_digests import as_text
from toolkit.postgres.connection import Connection
from toolkit.report.record import counted, shortened
from toolkit.sql import row_comparison as sql

_DEADLINE_S = 600
_MOST_EXAMPLES = 3
_BETWEEN = "\x1f"  # the parts of a key, as `sql.KEY` joins them
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")


@dataclass(frozen=True)
class TableRows:
    """`rows` are (text of the key, a digest for each of `columns`); the text is None where the table has no `key`.
    `one_in` says how many rows stand behind each one that was looked at."""

    table: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, tuple[str, ...]], ...]
    key: tuple[str, ...] = ()
    one_in: int = 1


@dataclass(frozen=True)
class RowChanges:
    """What became of a table's rows: keys of those `lost` and `added` ('' for rows without a name), and by column the
    keys of rows whose value `changed`."""

    table: str
    gone: bool = False
    missing_columns: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def preserved(self) -> bool:
        """Whether every row that existed is there with the values it had."""
        return not (self.gone or self.missing_columns or self.lost or self.changed)

    def lines(self) -> tuple[str, ...]:
        """A sentence each."""
        if self.gone:
            return (f"{self.table} is gone, with all its rows",)
        found = [f"{self.table}.{name} is gone, with its values" for name in self.missing_columns]
        if self.lost:
            found.append(f"{self.table}: {_are(self.lost, 'row')} lost{_examples(self.lost)}")
        if self.added:
            found.append(f"{self.table}: {_are(self.added, 'row')} new{_examples(self.added)}")
        found += [
            f"{self.table}.{name}: {_are(keys, 'value')} not what {'it was' if len(keys) == 1 else 'they were'}"
            f"{_examples(keys)}"
            for name, keys in self.changed.items()
        ]
        return tuple(found)


def _are(keys: Sequence[str], noun: str) -> str:
    return f"{counted(len(keys), noun)} {'is' if len(keys) == 1 else 'are'}"


def _examples(keys: Iterable[str]) -> str:
    named = sorted((key for key in keys if key), key=_in_order)
    if not named:
        return ""
    shown = shortened((key.replace(_BETWEEN, " / ") for key in named), _MOST_EXAMPLES)
    return f" (of {'row' if len(named) == 1 else 'rows'} {', '.join(shown)})"


def _in_order(key: str) -> tuple[tuple[int, float, str], ...]:
    """Numbers by their value and before everything else, part by part of the key."""
    return tuple((0, float(part), part) if _NUMBER.fullmatch(part) else (1, 0.0, part) for part in key.split(_BETWEEN))


async def read_table_rows(
    conn: Connection, table: str, columns: Sequence[str] | None = None, *, unkeyed: bool = False
) -> TableRows:
    """Every row of a table (`schema.name`) small enough to name each row and column that changed.

    Of `columns` those that the table has; without, all it has. The rows of a table without a primary key have no names
    to compare by: with `unkeyed` they come without, otherwise EnvironmentError_ is raised.
    """
    async with reading(conn):
        existing = await columns_of(conn, table)
        chosen = tuple(existing if columns is None else (name for name in columns if name in existing))
        key = await primary_key_of(conn, table)
        if not key and not unkeyed:
            raise EnvironmentError_(
                f"{table} has no primary key, so its rows cannot be told apart.",
                "Add a primary key, or leave the table out.",
            )
        values = {name: as_text(name) for name in (*key, *chosen)}
        key_text = sql.KEY.format(parts=", ".join(values[name] for name in key)) if key else sql.NO_KEY
        rows = await fetch_rows(conn, await own_rows_of(conn, table), key_text, [values[name] for name in chosen])
    return TableRows(table, chosen, rows, key)


async def fetch_rows(
    conn: Connection, source: str, key: str, values: Iterable[str], where: str = ""
) -> tuple[tuple[str | None, tuple[str, ...]], ...]:
    """`TableRows.rows`: `source` is what stands after FROM, `key` and `values` are expressions of the type text."""
    query = sql.ROWS.format(
        key=key, digests=", ".join(sql.VALUE_DIGEST.format(value=value) for value in values), table=source, where=where
    )
    return tuple((row["key"], tuple(row["digests"])) for row in await conn.fetch(query, timeout=_DEADLINE_S))


def compare_rows(old: TableRows, new: TableRows) -> RowChanges:
    """Row by row and column by column, as far as both have the column. Pure."""
    assert old.table == new.table, "rows of different tables"
    common = [(name, place, new.columns.index(name)) for place, name in enumerate(old.columns) if name in new.columns]
    missing = tuple(name for name in old.columns if name not in new.columns)
    if any(key is None for key, _ in (*old.rows, *new.rows)):
        return _compare_unkeyed(old, new, common, missing)
    before, after = dict(old.rows), dict(new.rows)
    changed: dict[str, list[str]] = {}
    for key in before.keys() & after.keys():
        for name, there, here in common:
            if before[key][there] != after[key][here]:
                changed.setdefault(name, []).append(str(key))
    return RowChanges(
        old.table,
        missing_columns=missing,
        lost=tuple(sorted(str(key) for key in before.keys() - after.keys())),
        added=tuple(sorted(str(key) for key in after.keys() - before.keys())),
        changed={name: tuple(sorted(keys)) for name, keys in sorted(changed.items())},
    )


def _compare_unkeyed(
    old: TableRows, new: TableRows, common: list[tuple[str, int, int]], missing: tuple[str, ...]
) -> RowChanges:
    """Rows without a name: as many of each content as there were. Of what differs, the columns are named."""
    then = Counter(tuple(digests[there] for _, there, _ in common) for _, digests in old.rows)
    now = Counter(tuple(digests[here] for _, _, here in common) for _, digests in new.rows)
    if then == now:
        return RowChanges(old.table, missing_columns=missing)
    less, more = len(old.rows) - len(new.rows), len(new.rows) - len(old.rows)
    changed = {}
    if not less:
        for name, there, here in common:
            values = Counter(digests[there] for _, digests in old.rows)
            values.subtract(Counter(digests[here] for _, digests in new.rows))
            if different := sum(count for count in values.values() if count > 0):
                changed[name] = ("",) * different
        changed = changed or {"(values moved between rows)": ("",)}
    return RowChanges(
        old.table, missing_columns=missing, lost=("",) * max(less, 0), added=("",) * max(more, 0), changed=changed
    )
