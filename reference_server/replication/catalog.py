"""Published tables, their types, and what roles may do with them, read from the catalog.

Facts are kept until told otherwise: a table's until the stream announces the relation anew (which
Postgres does after every change of the table, its policies, its grants or the publication), a
role's privileges for a few seconds, because a change of role membership is announced by nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import asyncpg

from reference_server.replication.facts import ColumnFacts, PgType, RolePrivileges, TableFacts

Pool = asyncpg.Pool
PRIVILEGES_TRUSTED_S = 5.0


@dataclass
class Catalog:
    """Facts that are asked of Postgres once and then kept. Each question has `deadline_s` seconds."""

    pool: Pool
    publication: str
    deadline_s: float = 10.0
    joins: Pool | None = None  # for questions of joins, which deliveries do not wait for
    types: dict[int, PgType] = field(default_factory=dict)
    tables: dict[int, TableFacts] = field(default_factory=dict)
    _stale: set[int] = field(default_factory=set)
    _announced: int = 0

    def forget_table(self, oid: int) -> None:
        """The stream announced this relation anew: ask again before the next use."""
        self._announced += 1
        self.tables.pop(oid, None)

    def forget_types(self) -> None:
        """The stream announced a type: it may have changed, and what contains it.

        What is known stays until it is loaded again, because others may be between loading and using it.
        """
        self._announced += 1
        self._stale.update(self.types)

    @property
    def announced(self) -> int:
        """A counter of announcements: facts asked for before the latest one may be out of date."""
        return self._announced

    def forget_all(self) -> None:
        """Forget everything: after a lost connection nothing announces what changed meanwhile."""
        self.forget_types()
        self.tables.clear()

    async def table(self, oid: int) -> TableFacts | None:
        """Facts of one table, its types loaded as well; None when it no longer exists."""
        while (known := self.tables.get(oid)) is None:
            before = self._announced
            found = await self._load_tables([oid])
            if self._announced == before:  # else the answer may be older than what was announced meanwhile
                self.tables.update((facts.oid, facts) for facts in found)
                known = found[0] if found else None
                break
        if known is not None:
            await self.load_types(column.type_oid for column in known.columns.values())
        return known

    async def published(self, schema: str, table: str) -> list[TableFacts]:
        """Published tables that a binding names; `*` stands for every schema or table."""
        joins = self.joins or self.pool
        rows = await joins.fetch(_PUBLISHED, self.publication, schema, table, timeout=self.deadline_s)
        # Asked anew each time: a subscription must be judged by the tables as they are now.
        fresh = await self._load_tables([row["oid"] for row in rows], joins)
        await self.load_types((column.type_oid for facts in fresh for column in facts.columns.values()), joins)
        return fresh

    async def load_types(self, oids: Iterable[int], pool: Pool | None = None) -> None:
        """Make sure `types` has these and everything they are made of."""
        wanted = self._unknown(oids)
        while wanted:
            # Before the answer: what is announced while we ask makes it stale again.
            self._stale -= wanted
            rows = await (pool or self.pool).fetch(_TYPES, list(wanted), timeout=self.deadline_s)
            for row in rows:
                fields = tuple(zip(row["field_names"] or (), row["field_types"] or (), strict=True))
                self.types[row["oid"]] = PgType(
                    row["oid"],
                    row["schema"],
                    row["name"],
                    row["kind"],
                    row["base"],
                    row["element"],
                    row["delimiter"],
                    fields,
                )
            missing = wanted - {row["oid"] for row in rows}
            for oid in missing:  # dropped since the row was written: its values are plain text
                self.types[oid] = PgType(oid, "pg_catalog", "text")
            wanted = self._unknown(part for oid in wanted for part in self.types[oid].parts())

    def _unknown(self, oids: Iterable[int]) -> set[int]:
        return {oid for oid in oids if oid not in self.types or oid in self._stale}

    async def privileges(self, facts: TableFacts, role: str, *, at_join: bool = False) -> RolePrivileges:
        """What `role` may read of the table; no columns when it may not use the schema."""
        known = facts.privileges.get(role)
        now = time.monotonic()
        if known is not None and now - known.checked_at < PRIVILEGES_TRUSTED_S:
            return known
        pool = self.joins if at_join and self.joins is not None else self.pool
        row = await pool.fetchrow(_PRIVILEGES, facts.oid, role, timeout=self.deadline_s)
        if row is None:  # the role or the table is gone
            return RolePrivileges(frozenset(), bypasses_rls=False, checked_at=now)
        privileges = RolePrivileges(frozenset(row["columns"] or ()), row["bypasses_rls"], now)
        facts.privileges[role] = privileges
        return privileges

    async def _load_tables(self, oids: Sequence[int], pool: Pool | None = None) -> list[TableFacts]:
        if not oids:
            return []
        rows = await (pool or self.pool).fetch(_TABLES, list(oids), timeout=self.deadline_s)
        found: dict[int, TableFacts] = {}
        for row in rows:
            facts = found.setdefault(
                row["oid"],
                TableFacts(row["oid"], row["schema"], row["table"], row["has_rls"], tuple(row["key"] or ()), {}),
            )
            facts.columns[row["name"]] = ColumnFacts(
                row["name"],
                row["type_oid"],
                row["type_name"],
                row["type_sql"],
                row["collation"],
                row["deterministic"],
                row["generated"],
                frozenset(row["made_from"] or ()),
            )
        return list(found.values())


_PUBLISHED = """
select c.oid::bigint as oid
from pg_catalog.pg_publication_tables p
join pg_catalog.pg_namespace n on n.nspname = p.schemaname
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
where p.pubname = $1 and ($2 = '*' or p.schemaname = $2) and ($3 = '*' or p.tablename = $3)
order by p.schemaname, p.tablename
"""

_TABLES = """
select c.oid::bigint as oid, n.nspname::text as schema, c.relname::text as "table", c.relrowsecurity as has_rls,
       (select array_agg(k.attname::text order by k.attnum)
          from pg_catalog.pg_index i
          join pg_catalog.pg_attribute k on k.attrelid = i.indrelid and k.attnum = any (i.indkey)
         where i.indrelid = c.oid and i.indisprimary) as key,
       a.attname::text as name, a.atttypid::bigint as type_oid,
       pg_catalog.format_type(a.atttypid, null) as type_name,
       pg_catalog.quote_ident(tn.nspname) || '.' || pg_catalog.quote_ident(t.typname) as type_sql,
       case when a.attcollation <> t.typcollation and a.attcollation <> 0
            then pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname) end as collation,
       coalesce(co.collisdeterministic, true) as deterministic,
       case when a.attgenerated <> '' then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end as generated,
       -- Until Postgres 14 the column itself depends on them, since then its expression does.
       (select array_agg(k.attname::text)
          from pg_catalog.pg_depend p
          join pg_catalog.pg_attribute k on k.attrelid = c.oid and k.attnum = p.refobjsubid
         where a.attgenerated <> '' and p.refclassid = 'pg_catalog.pg_class'::regclass and p.refobjid = c.oid
           and p.refobjsubid not in (0, a.attnum)
           and (p.classid = 'pg_catalog.pg_attrdef'::regclass and p.objid = d.oid
                or p.classid = 'pg_catalog.pg_class'::regclass and p.objid = c.oid and p.objsubid = a.attnum)
       ) as made_from
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_namespace tn on tn.oid = t.typnamespace
left join pg_catalog.pg_collation co on co.oid = a.attcollation
left join pg_catalog.pg_namespace cn on cn.oid = co.collnamespace
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.oid = any ($1::bigint[]::oid[])
order by c.oid, a.attnum
"""

_TYPES = """
select t.oid::bigint as oid, n.nspname::text as schema, t.typname::text as name, t.typtype::text as kind,
       t.typbasetype::bigint as base, t.typdelim::text as delimiter,
       case when t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc
            then t.typelem::bigint else 0 end as element,
       f.names as field_names, f.types as field_types
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join lateral (
  select array_agg(a.attname::text order by a.attnum) as names,
         array_agg(a.atttypid::bigint order by a.attnum) as types
  from pg_catalog.pg_attribute a
  where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
) f on true
where t.oid = any ($1::bigint[]::oid[])
"""

_PRIVILEGES = """
select r.rolbypassrls or r.rolsuper as bypasses_rls,
       (select array_agg(a.attname::text)
          from pg_catalog.pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           and pg_catalog.has_schema_privilege(r.oid, c.relnamespace, 'USAGE')
           and pg_catalog.has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')) as columns
from pg_catalog.pg_class c, pg_catalog.pg_roles r
where c.oid = $1::bigint::oid and r.rolname = $2
"""
