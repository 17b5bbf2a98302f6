"""Statements that mend a history, and the record of what they changed."""

from __future__ import annotations

CREATE_REPAIRS = (
    """
    create table if not exists supabase_migrations.toolkit_repairs (
      id bigint generated always as identity primary key,
      action text not null,
      version text not null,
      becomes text,
      row_before jsonb,
      evidence text[] not null,
      changes text[] not null,
      runner text not null,
      tool_version text not null,
      run_id uuid not null,
      at timestamptz not null default clock_timestamp()
    )
    """,
    "comment on table supabase_migrations.toolkit_repairs is "
    "'What `toolkit migrate repair` changed in the history, with each row as it was before; rows are only added.'",
)
INSERT_REPAIR = """
    insert into supabase_migrations.toolkit_repairs
      (action, version, becomes, row_before, evidence, changes, runner, tool_version, run_id)
    values ($1, $2, $3, $4::text::jsonb, $5, $6, $7, $8, $9)
"""
# Other writers of the history wait; readers do not.
LOCK_HISTORY = "lock table supabase_migrations.schema_migrations in share row exclusive mode"
ROW_BEFORE = """
    select pg_catalog.to_jsonb(h)::text from supabase_migrations.schema_migrations h where version = $1
"""
MOVE_ROW = """
    update supabase_migrations.schema_migrations set version = $2, name = $3 where version = $1 returning version
"""
SET_STATEMENTS = "update supabase_migrations.schema_migrations set statements = $2 where version = $1 returning version"

RELATION_EXISTS = "select pg_catalog.to_regclass($1) is not null"
TYPE_EXISTS = "select pg_catalog.to_regtype($1) is not null"
FUNCTION_EXISTS = """
    with named as (select pg_catalog.parse_ident($1) as parts)
    select exists (
      select from named, pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
      where p.proname = parts[pg_catalog.cardinality(parts)]
        and case when pg_catalog.cardinality(parts) > 1 then n.nspname = parts[1]
                 else pg_catalog.pg_function_is_visible(p.oid) end
    )
"""
