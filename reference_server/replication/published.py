"""What a publication publishes at one moment, for those who have to notice that it has changed."""

from __future__ import annotations

from dataclasses import dataclass

from reference_server.replication.catalog import Pool


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """Its columns, and what else the publication says of it (column list, row filter) as text."""

    columns: frozenset[str]
    restriction: str


@dataclass(frozen=True, slots=True)
class Published:
    """Tables by (schema, name), and which of INSERT, UPDATE, DELETE the publication publishes."""

    tables: dict[tuple[str, str], PublishedTable]
    kinds: frozenset[str]


async def published_now(pool: Pool, publication: str, deadline_s: float) -> Published:
    """Ask for it. Raises what asyncpg raises."""
    kinds = await pool.fetchval(_KINDS, publication, timeout=deadline_s)
    rows = await pool.fetch(_TABLES, publication, timeout=deadline_s)
    tables = {
        (row["schema"], row["name"]): PublishedTable(frozenset(row["columns"] or ()), row["restriction"])
        for row in rows
    }
    return Published(tables, frozenset(kinds or ()))


_KINDS = """
select array_remove(array[case when pubinsert then 'INSERT' end, case when pubupdate then 'UPDATE' end,
                          case when pubdelete then 'DELETE' end], null)
from pg_catalog.pg_publication where pubname = $1
"""
# `attnames` follows the table's columns where the publication names none, so it says nothing by itself.
_TABLES = """
select p.schemaname::text as schema, p.tablename::text as name,
       coalesce(pg_catalog.to_jsonb(p) ->> 'rowfilter', '') as restriction,
       (select array_agg(a.attname::text) from pg_catalog.pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
from pg_catalog.pg_publication_tables p
join pg_catalog.pg_namespace n on n.nspname = p.schemaname
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
where p.pubname = $1
"""
