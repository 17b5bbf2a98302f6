"""Functions, triggers and views of any schema, and how to exercise them."""

from __future__ import annotations

from toolkit.sql.catalog_terms import TRIGGER_SILENCE
from toolkit.sql.platform import HISTORY, spelt_out

_OURS = """
    :project_schema(n.nspname) and not :in_extension(:catalog, :alias.oid)
"""


def _scoped(query: str, catalog: str, alias: str) -> str:
    return spelt_out(query.replace(":ours", _OURS.replace(":catalog", catalog).replace(":alias", alias)))


FUNCTIONS = _scoped(
    """
    select p.oid, p.oid::regprocedure::text as signature, format('%I.%I', n.nspname, p.proname) as quoted,
      p.prokind::text as kind, t.typname::text as returns, p.proisstrict as strict, p.prosecdef as definer,
      p.provolatile::text as volatility, p.pronargdefaults as defaults, p.prosrc as source,
      exists (select from unnest(p.proconfig) c where c like 'search_path=%') as pins_path,
      p.proargtypes::oid[] as arg_types, p.proargnames::text[] as arg_names, p.proargmodes::text[] as arg_modes,
      p.provariadic <> 0 as variadic, md5(pg_get_functiondef(p.oid)) as definition
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    join pg_catalog.pg_type t on t.oid = p.prorettype join pg_catalog.pg_language l on l.oid = p.prolang
    where p.prokind in ('f', 'p') and l.lanname not in ('internal', 'c') and :ours order by 2
    """,
    "pg_proc",
    "p",
)
TYPE_NAMES = "select t.oid, format_type(t.oid, null) as name from pg_catalog.pg_type t where t.oid = any($1::oid[])"
TRIGGERS = _scoped(
    f"""
    select n.nspname::text || '.' || c.relname::text as table_name, t.tgname::text as name, p.oid as function,
      p.oid::regprocedure::text as signature, {TRIGGER_SILENCE} = '' as enabled, c.relkind::text as kind,
      p.prosecdef and not exists (select from unnest(p.proconfig) s where s like 'search_path=%') as needs_path,
      pg_get_triggerdef(t.oid) as definition
    from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace join pg_catalog.pg_proc p on p.oid = t.tgfoid
    join pg_catalog.pg_namespace pn on pn.oid = p.pronamespace
    where not t.tgisinternal and not c.relispartition and not :in_extension(pg_class, c.oid)
      and (:project_schema(n.nspname) or :project_schema(pn.nspname)) order by 1, 2
    """,  # noqa: S608 - a constant
    "pg_class",
    "c",
)
VIEWS = _scoped(
    """
    select n.nspname::text || '.' || c.relname::text as name, format('%I.%I', n.nspname, c.relname) as quoted,
      c.relkind = 'm' as materialized, md5(pg_get_viewdef(c.oid)) as definition
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('v', 'm') and :ours order by 1
    """,
    "pg_class",
    "c",
)
ROLE_EXISTS = "select exists (select from pg_catalog.pg_roles where rolname = $1)"

BOUND = "select set_config('statement_timeout', '5s', false), set_config('lock_timeout', '2s', false)"
COUNT_CALLS = "select set_config('track_functions', 'all', false)"
CALLED = "select funcid as function from pg_catalog.pg_stat_xact_user_functions where calls > 0"
# Whether anything of the user's was read in this transaction.
READS = f"""
    select coalesce(sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)), 0)
    from pg_catalog.pg_stat_xact_user_tables where schemaname <> '{HISTORY}'
"""  # noqa: S608 - a constant
ASSUME = "select set_config('role', $1, true)"
SETTINGS = (
    "select set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, YMD', true),"
    " set_config('IntervalStyle', 'postgres', true)",
    "select set_config('TimeZone', 'Asia/Tokyo', true), set_config('DateStyle', 'SQL, DMY', true),"
    " set_config('IntervalStyle', 'sql_standard', true)",
)
NO_PATH = "select set_config('search_path', '', true)"

CALL_FUNCTION = "select {function}({arguments})"
CALL_PROCEDURE = "call {function}({arguments})"
RESULT = "select {function}({arguments})::text"
# Every column of every row: a count alone would let the planner leave the columns out.
READ_VIEW = "select count(v::text) from {view} v"
REFRESH = "refresh materialized view {view}"
SOME_ROWS = "select {columns} from {table} limit {limit}"
DELETE = "delete from {table} where {where}"
CHECK_NOW = "set constraints all immediate"
