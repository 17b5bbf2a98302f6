"""The catalog from the roles' side: relations, columns, policies, functions, and who may do what with them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from toolkit.migrate.access.personas import ROLES
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_security as sql

_DEADLINE_S = 60


@dataclass(frozen=True)
class Column:
    """A column. `privileges`: role → those of SELECT, INSERT and UPDATE that it has on the column."""

    name: str
    type: str
    not_null: bool
    default: str | None
    computed: bool
    privileges: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Reference:
    """A foreign key: `columns` of the table refer to `referenced` of `parent`."""

    columns: tuple[str, ...]
    parent: str
    referenced: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """A policy; `command` r, a, w, d or * as the catalog writes it."""

    name: str
    command: str
    permissive: bool
    roles: tuple[str, ...]
    using: str
    check: str


@dataclass(frozen=True)
class Relation:
    """A table, view or materialized view. `kind` is pg_class.relkind; `privileges`: role → those it holds and can use
    (with USAGE on the schema); `reads`: relations that a view reads, also through other views."""

    oid: int
    name: str
    quoted: str
    kind: str
    partition: bool
    row_security: bool
    forced: bool
    owner: str
    owner_bypasses: bool
    platform: bool
    invoker: bool
    definition: str
    published: bool
    privileges: Mapping[str, frozenset[str]]
    columns: tuple[Column, ...] = ()
    references: tuple[Reference, ...] = ()
    policies: tuple[Policy, ...] = ()
    keys: tuple[frozenset[str], ...] = ()
    reads: tuple[str, ...] = ()

    @property
    def is_table(self) -> bool:
        """Whether it has rows of its own, to which policies apply."""
        return self.kind in {"r", "p"}

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    def may(self, role: str, privilege: str) -> bool:
        """Whether the role holds the privilege on the relation or on any of its columns."""
        return privilege in self.privileges.get(role, ()) or any(
            privilege in column.privileges.get(role, ()) for column in self.columns
        )

    def writable(self, role: str) -> frozenset[str]:
        """The columns that the role may update as far as privileges go."""
        return frozenset(column.name for column in self.columns if "UPDATE" in column.privileges.get(role, ()))


@dataclass(frozen=True)
class Routine:
    """A function or procedure. `types` and `names` of its arguments in order; `executors`: roles that may call it;
    `asks_caller`: its body mentions who calls."""

    oid: int
    name: str
    bare: str
    quoted: str
    procedure: bool
    definer: bool
    returns: str
    owner: str
    pinned: bool
    types: tuple[str, ...]
    names: tuple[str, ...]
    defaults: int
    variadic: bool
    executors: frozenset[str]
    asks_caller: bool

    @property
    def callable(self) -> bool:
        """Whether SQL can call it: a trigger function can only be fired."""
        return self.returns not in {"trigger", "event_trigger"}


@dataclass(frozen=True)
class AccessCatalog:
    """Relations and routines by name. `defaults`: (place, kind of object, role, privilege) that objects made later give
    to clients; `roles`: those of anon, authenticated and service_role that the server has; `foreign_keys`: (quoted
    table, name); `creatable`: a line for each schema of the project in which a client may create objects."""

    relations: Mapping[str, Relation]
    routines: Mapping[str, Routine]
    defaults: frozenset[tuple[str, str, str, str]]
    roles: frozenset[str]
    foreign_keys: tuple[tuple[str, str], ...]
    creatable: tuple[str, ...] = ()

    def judged(self) -> list[Relation]:
        """The relations that are judged: not the platform's, and no foreign tables."""
        return [one for one in self.relations.values() if not one.platform and one.kind != "f"]


async def read_access_catalog(conn: Connection) -> AccessCatalog:
    """Read the catalog, with a fixed number of queries whatever the number of tables."""
    async with conn.transaction(readonly=True):
        await conn.execute(sql.PIN, timeout=_DEADLINE_S)
        return await _read(conn)


async def _read(conn: Connection) -> AccessCatalog:
    roles = [row["name"] for row in await conn.fetch(sql.ROLES, list(ROLES), timeout=_DEADLINE_S)]
    rows = await conn.fetch(sql.RELATIONS, roles, timeout=_DEADLINE_S)
    names = {row["oid"]: row["name"] for row in rows}
    quoted = {row["oid"]: row["quoted"] for row in rows}
    columns: dict[int, list[Column]] = defaultdict(list)
    for row in await conn.fetch(sql.COLUMNS, roles, timeout=_DEADLINE_S):
        columns[row["relation"]].append(
            Column(
                row["name"],
                row["type"],
                row["not_null"],
                row["default"],
                row["generated"] or row["identity"],
                _privileges(row["privileges"]),
            )
        )
    references: dict[int, list[Reference]] = defaultdict(list)
    droppable: list[tuple[str, str]] = []
    for row in await conn.fetch(sql.FOREIGN_KEYS, timeout=_DEADLINE_S):
        if row["relation"] in names and row["parent"] in names:
            references[row["relation"]].append(
                Reference(tuple(row["columns"]), names[row["parent"]], tuple(row["referenced"]))
            )
            if row["outermost"]:
                droppable.append((quoted[row["relation"]], row["name"]))
    policies: dict[int, list[Policy]] = defaultdict(list)
    for row in await conn.fetch(sql.POLICIES, timeout=_DEADLINE_S):
        policies[row["relation"]].append(
            Policy(row["name"], row["command"], row["permissive"], tuple(row["roles"]), row["using"], row["check"])
        )
    keys: dict[int, list[frozenset[str]]] = defaultdict(list)
    for row in await conn.fetch(sql.UNIQUE_COLUMNS, timeout=_DEADLINE_S):
        keys[row["relation"]].append(frozenset(row["columns"] or ()))
    reads: dict[int, list[str]] = defaultdict(list)
    for row in await conn.fetch(sql.VIEW_READS, timeout=_DEADLINE_S):
        if row["relation"] in names:
            reads[row["view"]].append(names[row["relation"]])
    relations = {
        row["name"]: Relation(
            row["oid"],
            row["name"],
            row["quoted"],
            row["kind"],
            row["partition"],
            row["row_security"],
            row["forced"],
            row["owner"],
            row["owner_bypasses"],
            row["platform"],
            row["invoker"],
            row["definition"] or "",
            row["published"],
            _privileges(row["privileges"]),
            tuple(columns[row["oid"]]),
            tuple(references[row["oid"]]),
            tuple(policies[row["oid"]]),
            tuple(keys[row["oid"]]),
            tuple(sorted(reads[row["oid"]])),
        )
        for row in rows
    }
    return AccessCatalog(
        relations,
        {row["name"]: _routine(dict(row)) for row in await conn.fetch(sql.FUNCTIONS, roles, timeout=_DEADLINE_S)},
        frozenset(
            (row["place"], row["objects"], row["role"], row["privilege"])
            for row in await conn.fetch(sql.DEFAULT_PRIVILEGES, timeout=_DEADLINE_S)
        ),
        frozenset(roles),
        tuple(droppable),
        tuple(row["line"] for row in await conn.fetch(sql.CREATABLE, timeout=_DEADLINE_S)),
    )


def _privileges(text: str) -> Mapping[str, frozenset[str]]:
    held: Mapping[str, Iterable[str]] = json.loads(text)
    return {role: frozenset(privileges) for role, privileges in held.items()}


def _routine(row: Mapping[str, object]) -> Routine:
    def words(key: str) -> tuple[str, ...]:
        value = row[key]
        assert isinstance(value, list)
        return tuple(value)

    return Routine(
        int(str(row["oid"])),
        str(row["name"]),
        str(row["bare"]),
        str(row["quoted"]),
        row["kind"] == "p",
        bool(row["definer"]),
        str(row["returns"]),
        str(row["owner"]),
        bool(row["pinned"]),
        words("types"),
        words("names"),
        int(str(row["defaults"])),
        bool(row["variadic"]),
        frozenset(words("executors")),
        bool(row["asks_caller"]),
    )
