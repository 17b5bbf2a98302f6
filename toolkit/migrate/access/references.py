"""Which of a table's columns can name somebody else's rows: what a row of one's own may then refer to. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from toolkit.migrate.access.personas import ORGANISATIONS, THEIRS
from toolkit.migrate.access.privileges import Relation
from toolkit.migrate.access.staging import Staging


@dataclass(frozen=True)
class StrangersRow:
    """Somebody else's row, as the columns of a reference to it name it. `parent`: its table, "" where an organisation
    is meant that no foreign key leads to."""

    parent: str
    values: Mapping[str, str]

    @property
    def label(self) -> str:
        """The columns, and where they lead."""
        return " and ".join(self.values) + (f" → {self.parent}" if self.parent else "")


def strangers_rows(staging: Staging, table: Relation) -> Iterator[StrangersRow]:
    """Somebody else's row for each reference of the table; not for those that name a person."""
    owners = staging.ownership.owners
    mine = owners.get(table.name, ())
    for reference in table.references:
        parent = staging.catalog.relations[reference.parent]
        people = {*owners.get(parent.name, ())} & {*reference.referenced}
        if parent.platform or parent.name not in staging.ownership.owned or people or {*reference.columns} & {*mine}:
            continue
        row = staging.rows.get(parent.name, {}).get(THEIRS, {})
        values = {
            column: value
            for column, key in zip(reference.columns, reference.referenced, strict=True)
            if (value := row.get(key)) is not None
        }
        if len(values) == len(reference.columns):
            yield StrangersRow(parent.name, values)
    referring = {column for reference in table.references for column in reference.columns}
    organisation = ORGANISATIONS[THEIRS]
    for membership in staging.ownership.memberships:
        column = table.column(membership.organisation)
        if column is None or column.name in {*referring, *mine} or column.type not in {"uuid", "text"}:
            continue
        if table.name != membership.table and organisation is not None:
            yield StrangersRow("", {column.name: organisation})
