"""Stages rows for the security proof: a few in every table for each RowOwner, and the list of whose each row is."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg

from toolkit.migrate.access.ownership import Ownership, can_be_user
from toolkit.migrate.access.personas import (
    MEMBERS,
    MINE_TEXT,
    NOBODY,
    ORGANISATIONS,
    OTHERS,
    OWNER_OF_USER,
    PEOPLES,
    PERSONAL,
    REST,
    SHARED,
    TEAM,
    USERS,
    RowOwner,
)
from toolkit.migrate.access.privileges import AccessCatalog, Column, Relation
from toolkit.migrate.rows.inserting import Row, RowRefused
from toolkit.migrate.rows.one_row import insert_row
from toolkit.migrate.rows.shapes import Shape, read_shapes
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_security as sql
from toolkit.sql.quoting import quote_identifier

MOST_ROWS = 2000
_DEADLINE_S = 60
_SERIAL = 31_000  # above the serials of seeded rows, and still small enough to make dates of
_NO: Mapping[str, str | None] = {}


@dataclass
class Staging:
    """A schema with staged rows, and whom each belongs to.

    `places`: table → where a row lies → its RowOwner. `rows`: table → RowOwner → a row's values as text; `fresh`: the
    same for a row that could be inserted; `empty`: (table, RowOwner) → why it has no row.
    """

    catalog: AccessCatalog
    ownership: Ownership
    places: dict[str, dict[str, RowOwner]] = field(default_factory=dict)
    rows: dict[str, dict[RowOwner, Mapping[str, str | None]]] = field(default_factory=lambda: defaultdict(dict))
    fresh: dict[str, dict[RowOwner, Mapping[str, str | None]]] = field(default_factory=lambda: defaultdict(dict))
    empty: dict[tuple[str, RowOwner], str] = field(default_factory=dict)

    def total(self, table: str, row_owner: RowOwner) -> int:
        """How many rows belong to that owner."""
        return sum(whose == row_owner for whose in self.places.get(table, {}).values())

    def of(self, table: str) -> frozenset[RowOwner]:
        """The owners that have a row in the table."""
        return frozenset(self.places.get(table, {}).values())


async def stage(conn: Connection, catalog: AccessCatalog, ownership: Ownership) -> Staging:
    """Insert rows for each RowOwner, find every row's owner, and take the foreign keys away.

    Only for a copy that is dropped afterwards. What a table refuses is in `Staging.empty`.
    """
    stager = _Stager(conn, catalog, ownership, await read_shapes(conn))
    await stager.people()
    for row_owner in (SHARED, *PEOPLES, NOBODY):
        await stager.rows_of(row_owner)
    await stager.joined()
    await conn.execute(sql.CLAIMS, "", False, timeout=_DEADLINE_S)
    await stager.locate()
    for row_owner in (*PEOPLES, SHARED):
        await stager.candidates(row_owner)
    for table, name in catalog.foreign_keys:
        await conn.execute(sql.DROP_FOREIGN_KEY.format(table=table, name=quote_identifier(name)), timeout=_DEADLINE_S)
    for view in catalog.relations.values():
        if view.kind == "m" and not view.platform:
            await conn.execute(sql.REFRESH.format(view=view.quoted), timeout=_DEADLINE_S)
    # A trigger may already have made the row that the table then refused.
    for table, row_owner in [key for key in stager.staging.empty if stager.staging.total(*key)]:
        del stager.staging.empty[table, row_owner]
    return stager.staging


class _Stager:
    def __init__(
        self, conn: Connection, catalog: AccessCatalog, ownership: Ownership, shapes: Mapping[str, Shape]
    ) -> None:
        self.conn, self.catalog, self.ownership, self.shapes = conn, catalog, ownership, shapes
        self.staging = Staging(catalog, ownership)
        # For each table: one that the file adds may not make the rows of the others differ from those before it.
        self._serials: Counter[str] = Counter()
        groups: dict[str, set[str]] = defaultdict(set)
        for membership in ownership.memberships:
            groups[membership.organisation].add(membership.table)
        self._group_columns = frozenset(groups)

    async def people(self) -> None:
        """Insert the members and the other users wherever users are kept."""
        kept = {
            reference.parent
            for table, columns in self.ownership.owners.items()
            for reference in self.catalog.relations[table].references
            if len(reference.columns) == 1 and reference.columns[0] in columns
        }
        for user in (*MEMBERS, *OTHERS):
            await self._claims(user)
            for table in self.shapes:
                if table in kept and table in self.ownership.owners:
                    given = self._owner_values(self.catalog.relations[table], user)
                    if given is not None:
                        await self._insert(table, given, PERSONAL)

    async def rows_of(self, row_owner: RowOwner) -> None:
        """Insert one row for this owner into each table that can have one."""
        await self._claims(USERS.get(row_owner))
        for table in self.shapes:
            relation = self.catalog.relations.get(table)
            if relation is None or not relation.is_table or relation.partition:
                continue
            if relation.platform and table not in self.ownership.owners:
                continue
            if (table in self.ownership.owned) == (row_owner == SHARED):
                continue
            given = self._given(relation, row_owner)
            if isinstance(given, str):
                self.staging.empty[table, row_owner] = given
                continue
            row = await self._insert(table, given, row_owner) or await self._insert_between(relation, given, row_owner)
            if row is not None:
                self.staging.rows[table][row_owner] = row.values

    async def joined(self) -> None:
        """Insert the memberships of the members in the organisation of TEAM."""
        for membership in self.ownership.memberships:
            table = self.catalog.relations[membership.table]
            for user in MEMBERS:
                base = self._given(table, TEAM)
                if isinstance(base, str) or not _fits(table.column(membership.user), user):
                    continue
                await self._claims(user)
                await self._insert(membership.table, {**base, membership.user: user}, PERSONAL)

    async def locate(self) -> None:
        """Find whose each row is: by its owner column, else by what it refers to."""
        known: dict[tuple[str, tuple[str, ...]], dict[tuple[str | None, ...], RowOwner]] = defaultdict(dict)
        referenced: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        relations = self.catalog.relations
        for relation in relations.values():
            for reference in relation.references:
                referenced[reference.parent].add(reference.referenced)
        partitions = [name for name, one in relations.items() if one.partition]
        for table in [name for name in self.shapes if name in relations] + partitions:
            relation = relations[table]
            if not relation.is_table or (table in self.staging.places):
                continue
            owners = self.ownership.owners.get(table, ())
            used = dict.fromkeys(
                (
                    *owners,
                    *(c for r in relation.references for c in r.columns),
                    *(c for key in referenced[table] for c in key),
                )
            )
            used |= dict.fromkeys(one.name for one in relation.columns if one.name in self._group_columns)
            columns = "".join(f", {quote_identifier(name)}::text as {quote_identifier('c_' + name)}" for name in used)
            query = sql.LOCATE.format(columns=columns, table=relation.quoted, most=MOST_ROWS)
            places: dict[str, RowOwner] = {}
            for row in await self.conn.fetch(query, timeout=_DEADLINE_S):
                values = {name: row[f"c_{name}"] for name in used}
                row_owner = self._whose(relation, owners, values, known)
                places[row["place"]] = row_owner
                for key in referenced[table]:
                    known[table, key][tuple(values[name] for name in key)] = row_owner
            self.staging.places[table] = places

    async def candidates(self, row_owner: RowOwner) -> None:
        """Note a row that could be inserted for this owner: like the one that was accepted, with another serial."""
        await self._claims(USERS.get(row_owner))
        for table in self.shapes:
            relation = self.catalog.relations.get(table)
            if (
                relation is None
                or relation.platform
                or row_owner not in self.staging.of(table) | {*self.staging.rows.get(table, ())}
            ):
                continue
            given = self._given(relation, row_owner)
            found: Mapping[str, str | None] | None = None
            if not isinstance(given, str):
                transaction = self.conn.transaction()
                await transaction.start()
                try:
                    found = (await insert_row(self.conn, self.shapes, table, self._serial(table), given)).values
                except (RowRefused, asyncpg.PostgresError):
                    # A key that only one row can have: the existing row will do, since a unique index refuses it only
                    # after policies.
                    found = self.staging.rows[table].get(row_owner)
                finally:
                    await transaction.rollback()
            if found is not None:
                self.staging.fresh[table][row_owner] = found
                self.staging.rows[table].setdefault(row_owner, found)
        await self.conn.execute(sql.CLAIMS, "", False, timeout=_DEADLINE_S)

    def _given(self, table: Relation, row_owner: RowOwner) -> dict[str, str | None] | str:
        """The values that make a row belong to this owner, or why there can be no such row."""
        owners = self._owner_values(table, USERS.get(row_owner)) if row_owner != SHARED else {}
        if owners is None:
            return "its owner column holds uuids" if row_owner == MINE_TEXT else "its owner column is never empty"
        given: dict[str, str | None] = {
            column.name: "true" if (column.default or "").startswith("true") else "false"
            for column in table.columns
            if column.type == "boolean" and not column.computed
        }
        given |= owners
        for reference in table.references:
            if any(column in owners for column in reference.columns):
                continue
            whose = SHARED if reference.parent not in self.ownership.owned else row_owner
            parent = self.staging.rows.get(reference.parent, {}).get(whose)
            needed = any(c.not_null for c in map(table.column, reference.columns) if c is not None)
            if reference.parent == table.name or (parent is None and not needed):
                given |= dict.fromkeys(reference.columns) if not needed else {}
            elif parent is None:
                return f"{reference.parent} has no row of that kind"
            else:
                given |= {
                    column: parent.get(key)
                    for column, key in zip(reference.columns, reference.referenced, strict=True)
                    if column not in given
                }
        referring = {column for reference in table.references for column in reference.columns}
        for column in table.columns:
            if column.name in self._group_columns and column.name not in referring and can_be_user(column):
                given[column.name] = ORGANISATIONS.get(row_owner)
        return given

    def _owner_values(self, table: Relation, user: str | None) -> dict[str, str | None] | None:
        columns = [table.column(name) for name in self.ownership.owners.get(table.name, ())]
        if any(not _fits(column, user) for column in columns):
            return None
        return {column.name: user for column in columns if column is not None}

    def _whose(
        self,
        table: Relation,
        owners: tuple[str, ...],
        values: Mapping[str, str | None],
        known: Mapping[tuple[str, tuple[str, ...]], Mapping[tuple[str | None, ...], RowOwner]],
    ) -> RowOwner:
        for column in owners:
            if (row_owner := OWNER_OF_USER.get(values[column] or "")) is not None:
                return row_owner
        for row_owner, organisation in ORGANISATIONS.items():
            if organisation and organisation in values.values():
                return row_owner
        for reference in table.references:
            key = tuple(values[column] for column in reference.columns)
            found = known.get((reference.parent, reference.referenced), {}).get(key)
            if found in PEOPLES:
                return found
        if owners and all(values[column] is None for column in owners):
            return NOBODY
        return REST if table.name in self.ownership.owned else SHARED

    def _serial(self, table: str) -> int:
        self._serials[table] += 1
        return _SERIAL + self._serials[table]

    async def _insert(self, table: str, given: Mapping[str, str | None], row_owner: RowOwner) -> Row | None:
        transaction = self.conn.transaction()
        await transaction.start()
        try:
            row = await insert_row(self.conn, self.shapes, table, self._serial(table), given)
            # A deferred constraint or trigger would fail at the commit, which all rows share, so it is checked here.
            await self.conn.execute(sql.CHECK_NOW, timeout=_DEADLINE_S)
        except (RowRefused, asyncpg.PostgresError) as error:
            await transaction.rollback()
            self.staging.empty[table, row_owner] = str(error).splitlines()[0]
            return None
        await transaction.commit()
        return row

    async def _insert_between(
        self, table: Relation, given: Mapping[str, str | None], row_owner: RowOwner
    ) -> Row | None:
        """Insert a row that joins two rows of one table; where it refuses to join one to itself, a second one is
        made."""
        seen: set[str] = set()
        for reference in table.references:
            twice = reference.parent in seen
            seen.add(reference.parent)
            if not twice or row_owner == SHARED or reference.parent == table.name:
                continue
            parent = self._given(self.catalog.relations[reference.parent], row_owner)
            second = None if isinstance(parent, str) else await self._insert(reference.parent, parent, row_owner)
            if second is not None:
                others = dict(zip(reference.columns, map(second.values.get, reference.referenced), strict=True))
                return await self._insert(table.name, {**given, **others}, row_owner)
        return None

    async def _claims(self, user: str | None) -> None:
        """Set the claims, so that defaults and triggers that take the owner from them find this user."""
        claims = json.dumps({"role": "authenticated", "sub": user}) if user else ""
        await self.conn.execute(sql.CLAIMS, claims, False, timeout=_DEADLINE_S)


def _fits(column: Column | None, user: str | None) -> bool:
    if column is None or not can_be_user(column):
        return False
    if user is None:
        return not column.not_null
    return column.type != "uuid" or user.count("-") == 4
