"""Questions to the catalog that several rooms ask, each worded once, as expressions over the aliases c (pg_class),
n (pg_namespace), i (pg_index), t (pg_trigger) and p (pg_proc). Which tables or functions are asked about is each
room's own business."""

from __future__ import annotations

# What a changed row is told by, as Postgres chooses it: an invalid or deferrable key is none.
IDENTIFIES = """i.indisvalid and i.indimmediate
            and case c.relreplident when 'd' then i.indisprimary else i.indisreplident end"""
# Why updates and deletes of a published table fail, '' where they do not.
IDENTITY_TROUBLE = f"""(case
      when c.relreplident = 'n' then 'replica identity nothing'
      when c.relreplident = 'f' or exists (select from pg_index i where i.indrelid = c.oid and {IDENTIFIES}) then ''
      when c.relreplident = 'i' then 'the index of its replica identity is gone or invalid'
      when exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
        then 'its primary key is deferrable or invalid'
      else 'no primary key' end)"""  # noqa: S608
# Why an ordinary session does not fire a trigger, '' where it does.
TRIGGER_SILENCE = (
    "(case t.tgenabled when 'D' then 'left disabled' when 'R' then 'left to fire on replicas only' else '' end)"
)


def privileges(roles: str, names: str, *, of_any_column: bool = False) -> str:
    """JSON, role → those of the privileges `names` (quoted, with commas) that it holds on c, or on any of its columns,
    and can reach; `roles` is an expression of the type text[]."""
    holds = "has_table_privilege(r.oid, c.oid, held)"
    if of_any_column:
        holds = f"case held when 'DELETE' then {holds} else has_any_column_privilege(r.oid, c.oid, held) end"
    return f"""(select coalesce(jsonb_object_agg(r.rolname, (
              select coalesce(jsonb_agg(held), '[]') from unnest(array[{names}]) held
              where {holds})), '{{}}')
            from pg_roles r where r.rolname = any ({roles})
              and has_schema_privilege(r.oid, c.relnamespace, 'USAGE'))"""  # noqa: S608


def executors(roles: str) -> str:
    """The roles of `roles` that may call p and can reach it: text[]."""
    return f"""(select coalesce(array_agg(r.rolname::text order by 1), '{{}}') from pg_roles r
            where r.rolname = any ({roles}) and has_schema_privilege(r.oid, p.pronamespace, 'USAGE')
              and has_function_privilege(r.oid, p.oid, 'EXECUTE'))"""  # noqa: S608
