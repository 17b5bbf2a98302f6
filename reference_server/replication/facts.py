"""Facts of the catalog that decisions about a change need: types, columns, tables, privileges. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PgType:
    """What pg_type says of a type, with the OIDs it is made of.

    `kind` is pg_type.typtype; `base` the domain's base type, `element` the element type of a true
    array, `fields` the composite's (name, type) pairs; `delimiter` separates the type's values in arrays.
    """

    oid: int
    schema: str
    name: str
    kind: str = "b"
    base: int = 0
    element: int = 0
    delimiter: str = ","
    fields: tuple[tuple[str, int], ...] = ()

    def parts(self) -> tuple[int, ...]:
        """OIDs of the types this one is made of."""
        return tuple(oid for oid in (self.base, self.element, *(oid for _, oid in self.fields)) if oid)


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """One column as the catalog has it. `collation` is quoted, None for the type's own default."""

    name: str
    type_oid: int
    type_name: str  # as an error message names it, e.g. `timestamp with time zone`
    type_sql: str  # as SQL names it, schema and all
    collation: str | None
    deterministic: bool
    generated: str | None  # the expression of a generated column
    made_from: frozenset[str] = frozenset()  # the columns in that expression


@dataclass(frozen=True, slots=True)
class RolePrivileges:
    """What a role may read of one table. `bypasses_rls` includes superusers."""

    columns: frozenset[str]
    bypasses_rls: bool
    checked_at: float


@dataclass
class TableFacts:
    """One table; `privileges` keeps what roles may read."""

    oid: int
    schema: str
    name: str
    has_rls: bool
    key: tuple[str, ...]  # primary key columns, in the table's order
    columns: dict[str, ColumnFacts]  # in the table's order
    privileges: dict[str, RolePrivileges] = field(default_factory=dict)

    @property
    def quoted(self) -> str:
        """The table's name for SQL."""
        return f"{quote_ident(self.schema)}.{quote_ident(self.name)}"


def quote_ident(name: str) -> str:
    """An identifier for SQL, always quoted."""
    return '"' + name.replace('"', '""') + '"'
