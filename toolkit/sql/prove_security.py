"""What the security proof asks: the catalog as roles meet it, rows by whom they belong to, and every cell of the
matrix, tried inside one block that takes back whatever it did."""

from __future__ import annotations

from toolkit.sql.catalog_terms import executors, privileges
from toolkit.sql.platform import spelt_out

# Every name is rendered with its schema; for the transaction only, since functions and policies look names up too.
PIN = "select set_config('search_path', '', true)"
# What a refusal says is read, so it has to be in one language.
PLAIN_MESSAGES = "set lc_messages = 'C'"
ROLES = "select rolname as name from pg_roles where rolname = any ($1)"

_PRIVILEGES = "'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'"
RELATIONS = spelt_out(f"""
    select c.oid, n.nspname || '.' || c.relname as name, format('%I.%I', n.nspname, c.relname) as quoted,
           c.relkind::text as kind, c.relispartition as partition, c.relrowsecurity as row_security,
           c.relforcerowsecurity as forced, pg_get_userbyid(c.relowner)::text as owner,
           (o.rolsuper or o.rolbypassrls) as owner_bypasses, :platform_schema(n.nspname) as platform,
           coalesce((select x.option_value::boolean from pg_options_to_table(c.reloptions) x
                     where x.option_name = 'security_invoker'), false) as invoker,
           case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end as definition,
           exists (select from pg_publication_tables t where t.pubname = 'supabase_realtime'
                   and t.schemaname = n.nspname and t.tablename = c.relname) as published,
           {privileges("$1", _PRIVILEGES)} as privileges
    from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles o on o.oid = c.relowner
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and :user_schema(n.nspname) and not :in_extension(pg_class, c.oid)
    order by 2
""")  # noqa: S608 - a constant
COLUMNS = spelt_out("""
    select a.attrelid as relation, a.attname::text as name,
           format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null) as type, a.attnotnull as not_null,
           pg_get_expr(d.adbin, d.adrelid) as default, a.attgenerated <> '' as generated,
           a.attidentity <> '' as identity,
           (select coalesce(jsonb_object_agg(r.rolname, (
              select coalesce(jsonb_agg(p), '[]') from unnest(array['SELECT', 'INSERT', 'UPDATE']) p
              where has_column_privilege(r.oid, c.oid, a.attnum, p))), '{}')
            from pg_roles r where r.rolname = any ($1)
              and has_schema_privilege(r.oid, n.oid, 'USAGE')) as privileges
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and :user_schema(n.nspname) and not :in_extension(pg_class, c.oid)
    order by a.attrelid, a.attnum
""")
FOREIGN_KEYS = """
    select k.conrelid as relation, k.confrelid as parent, k.conname::text as name, k.conparentid = 0 as outermost,
           (select array_agg(a.attname::text order by n.position)
            from unnest(k.conkey) with ordinality n (attnum, position)
            join pg_attribute a on a.attrelid = k.conrelid and a.attnum = n.attnum) as columns,
           (select array_agg(a.attname::text order by n.position)
            from unnest(k.confkey) with ordinality n (attnum, position)
            join pg_attribute a on a.attrelid = k.confrelid and a.attnum = n.attnum) as referenced
    from pg_constraint k where k.contype = 'f'
"""
UNIQUE_COLUMNS = """
    select i.indrelid as relation, i.indisprimary as is_primary,
           (select array_agg(a.attname::text) from pg_attribute a
            where a.attrelid = i.indrelid and a.attnum = any (i.indkey::int2[])) as columns
    from pg_index i where i.indisunique
"""
POLICIES = """
    select p.polrelid as relation, p.polname::text as name, p.polcmd::text as command, p.polpermissive as permissive,
           (select array_agg(case r when 0 then 'public' else pg_get_userbyid(r)::text end order by 1)
            from unnest(p.polroles) r) as roles,
           coalesce(pg_get_expr(p.polqual, p.polrelid), '') as using, coalesce(pg_get_expr(p.polwithcheck, p.polrelid),
           '') as check
    from pg_policy p order by 1, 2
"""
# Which relations a view reads, through other views too.
VIEW_READS = """
    with recursive reads (view, relation) as (
      select w.ev_class, d.refobjid from pg_rewrite w
      join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
        and d.refclassid = 'pg_class'::regclass and d.refobjid <> w.ev_class
      where w.rulename = '_RETURN'
      union
      select r.view, d.refobjid from reads r join pg_rewrite w on w.ev_class = r.relation and w.rulename = '_RETURN'
      join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
        and d.refclassid = 'pg_class'::regclass and d.refobjid <> w.ev_class
    ) select view, relation from reads
"""
FUNCTIONS = spelt_out(
    r"""
    select p.oid, n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' as name,
           n.nspname || '.' || p.proname as bare, format('%I.%I', n.nspname, p.proname) as quoted,
           p.prokind::text as kind, p.prosecdef as definer, p.prorettype::regtype::text as returns, p.proretset as set,
           pg_get_userbyid(p.proowner)::text as owner,
           exists (select from unnest(p.proconfig) s where s like 'search_path=%') as pinned,
           coalesce((select array_agg(format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null) order by a.position)
                     from unnest(p.proargtypes::oid[]) with ordinality a (type, position)
                     join pg_type t on t.oid = a.type), '{}') as types,
           coalesce((select array_agg(coalesce(p.proargnames[k.position], '') order by k.position)
                     from (select i as position from generate_series(1, coalesce(cardinality(p.proallargtypes),
                             p.pronargs)) i
                           where p.proargmodes is null or p.proargmodes[i] in ('i', 'b', 'v')) k), '{}') as names,
           (coalesce(p.prosrc, '') || coalesce(pg_get_function_sqlbody(p.oid), ''))
             ~ '(auth\.(uid|jwt|role|email))|request\.jwt|session_user|current_user' as asks_caller,
           p.pronargdefaults as defaults, p.provariadic <> 0 as variadic,
           :executors as executors
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where :project_schema(n.nspname) and p.prokind in ('f', 'p') and not :in_extension(pg_proc, p.oid)
    order by 2
""".replace(":executors", executors("$1"))
)
# Schemas of the project in which a client may create what a name then means.
CREATABLE = spelt_out("""
    select string_agg(r.rolname, ' and ' order by r.rolname) || ' may create in ' || n.nspname as line
    from pg_namespace n join pg_roles r on r.rolname in ('anon', 'authenticated')
    where has_schema_privilege(r.oid, n.oid, 'CREATE') and :project_schema(n.nspname) group by n.nspname order by 1
""")
# What a table or function made later will be given to clients.
DEFAULT_PRIVILEGES = spelt_out("""
    select coalesce('schema ' || n.nspname, 'every schema') as place,
           case d.defaclobjtype when 'r' then 'tables' when 'f' then 'functions' when 'S' then 'sequences'
             when 'n' then 'schemas' else 'types' end as objects,
           case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end as role,
           a.privilege_type as privilege, pg_get_userbyid(d.defaclrole)::text as creator
    from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace cross join aclexplode(d.defaclacl) a
    where (n.nspname is null or not :platform_schema(n.nspname)) and d.defaclobjtype in ('r', 'f')
      and case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end
        in ('public', 'anon', 'authenticated')
    order by 1, 2, 3, 4
""")

CLAIMS = "select set_config('request.jwt.claims', $1, $2)"
LOCATE = "select tableoid::bigint || ' ' || ctid as place{columns} from {table} limit {most}"
PRESENT = "select array_agg(tableoid::bigint || ' ' || ctid) from {table}"
SEEN = "select array_agg(place) from (select tableoid::bigint || ' ' || ctid as place from {table} limit {most}) seen"
SEEN_IN_VIEW = "select array_agg(line) from (select md5(v::text) as line from {view} v limit {most}) seen"
SEEN_BY_DEFINITION = "select array_agg(line) from (select md5(v::text) as line from ({definition}) v limit {most}) seen"
LEND_SELECT = "grant select on {table} to {role}"
INSERT = "insert into {table} ({columns}) overriding system value values ({values})"
INSERT_DEFAULTS = "insert into {table} default values"
UPDATE = "update {table} set {column} = {value}"
UPDATE_WHERE = "update {table} set {column} = {value} where tableoid::bigint || ' ' || ctid = any ({places})"
DELETE = "delete from {table}"
DELETE_WHERE = "delete from {table} where tableoid::bigint || ' ' || ctid = any ({places})"
# A foreign key would refuse or cascade a write that the privileges and policies let through: what is asked is what
# they let through. The database is a copy that is dropped afterwards.
DROP_FOREIGN_KEY = "alter table {table} drop constraint {name}"
REFRESH = "refresh materialized view {view}"

# Every cell of one session: try it as the role, note what came of it, take it back. Inside the server, because a few
# thousand cells with a savepoint each would spend their time on the way. The session's own user reads afterwards which
# rows are still where they were: what is not was written.
ASK = "select set_config('toolkit.cells', $1, true), set_config('toolkit.role', $2, true)"
ANSWERS = "select current_setting('toolkit.answers')"
RUN_CELLS = """
do $cells$
declare
  cell jsonb;
  answers text[] := '{}';
  role constant text := current_setting('toolkit.role');
  touched bigint;
  places text[];
  code text;
  said text;
begin
  for cell in select * from jsonb_array_elements(current_setting('toolkit.cells')::jsonb) loop
    touched := null; places := null; code := null; said := null;
    begin
      if cell ? 'lend' then
        execute cell ->> 'lend';
      end if;
      perform set_config('role', role, true);
      if cell ? 'present' then
        execute cell ->> 'sql';
        get diagnostics touched = row_count;
        perform set_config('role', 'none', true);
        if touched > 0 and cell ->> 'present' <> '' then
          execute cell ->> 'present' into places;
        end if;
      else
        execute cell ->> 'sql' into places;
        touched := coalesce(cardinality(places), 0);
      end if;
      raise exception using errcode = 'TKEND';
    exception when others then
      if sqlstate <> 'TKEND' then
        code := sqlstate;
        said := sqlerrm;
      end if;
    end;
    answers := array_append(answers, jsonb_build_object('touched', touched, 'places', places, 'code', code,
                                                        'said', said)::text);
  end loop;
  perform set_config('toolkit.answers', '[' || array_to_string(answers, ',') || ']', true);
end
$cells$
"""

ASSUME = "select set_config('role', $1, true)"
BE_ONESELF = "select set_config('role', 'none', true)"
BOUND = "set local statement_timeout = {ms}; set local lock_timeout = '2s'"
CALL = "select array_agg(line) from (select f::text as line from {function}({arguments}) f limit {most}) answer"
CALL_PROCEDURE = "call {function}({arguments})"
# What the running transaction did to each table so far.
TOUCHED = """
    select relid as relation, n_tup_ins as inserted, n_tup_upd + n_tup_del as changed from pg_stat_xact_user_tables
    where n_tup_ins + n_tup_upd + n_tup_del > 0
"""
NEW_ROWS = "select t::text as line from {table} t where not (tableoid::bigint || ' ' || ctid = any ($1)) limit 50"
PLACES = "select coalesce(array_agg(tableoid::bigint || ' ' || ctid), '{{}}') from {table}"
CHECK_NOW = "set constraints all immediate"
