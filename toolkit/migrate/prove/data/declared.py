"""Headers (`-- changes:`, `-- destroys:`) excuse the changes to rows that they declare, and no others."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.migrate.folder.headers import Destroyed
from toolkit.migrate.row_comparison.table_rows import RowChanges


def undeclared(changes: Iterable[RowChanges], declared: Iterable[Destroyed]) -> tuple[RowChanges, ...]:
    """The changes that no header declares. Pure."""
    entries = tuple(declared)
    whole = {entry.table for entry in entries if entry.whole_table}
    rows = {entry.table for entry in entries if entry.rows_only}
    columns = {(entry.table, name) for entry in entries for name in entry.columns}
    found = []
    for change in changes:
        if change.table in whole or (change.table in rows and not change.gone and not change.missing_columns):
            continue
        kept = RowChanges(
            change.table,
            change.gone,
            tuple(name for name in change.missing_columns if (change.table, name) not in columns),
            () if change.table in rows else change.lost,
            () if change.table in rows else change.added,
            {
                name: keys
                for name, keys in change.changed.items()
                if change.table not in rows and (change.table, name) not in columns
            },
        )
        if kept.lines():
            found.append(kept)
    return tuple(found)
