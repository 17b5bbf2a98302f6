-- The catalog as facts: every query returns (key text, fact jsonb), key being an identity that survives
-- dump and restore (names, never OIDs). Read with search_path empty, so that every rendered name is qualified.
-- In scope: schemas that are neither the system's nor supabase_migrations, without what extensions own.
-- :scope is replaced by a condition on the column `nspname`; :owned(class, oid) by "belongs to an extension".

-- name: schemas
select 'schema ' || quote_ident(nspname), jsonb_build_object('owner', pg_get_userbyid(nspowner))
from pg_namespace n where :scope and not :owned('pg_namespace', n.oid);

-- name: extensions
select 'extension ' || quote_ident(extname), jsonb_build_object('version', extversion, 'schema', nspname)
from pg_extension e join pg_namespace n on n.oid = e.extnamespace;

-- name: relations
select case c.relkind when 'r' then 'table' when 'p' then 'table' when 'v' then 'view' when 'm' then 'materialized view'
         when 'S' then 'sequence' when 'f' then 'foreign table' when 'c' then 'composite type' end
       || ' ' || c.oid::regclass::text,
  jsonb_strip_nulls(jsonb_build_object(
    'owner', pg_get_userbyid(c.relowner), 'kind', c.relkind, 'persistence', c.relpersistence,
    'row_security', c.relrowsecurity, 'force_row_security', c.relforcerowsecurity,
    'replica_identity', nullif(c.relreplident, 'n'),
    'replica_identity_index', (select i.indexrelid::regclass::text from pg_index i
      where i.indrelid = c.oid and i.indisreplident and c.relreplident = 'i'),
    'clustered_on', (select i.indexrelid::regclass::text from pg_index i where i.indrelid = c.oid and i.indisclustered),
    'options', (select jsonb_agg(o order by o) from unnest(c.reloptions) o),
    'toast_options', (select jsonb_agg(o order by o) from pg_class t, unnest(t.reloptions) o where t.oid = c.reltoastrelid),
    'access_method', (select amname from pg_am a where a.oid = c.relam),
    'tablespace', (select spcname from pg_tablespace s where s.oid = c.reltablespace),
    'of_type', nullif(c.reloftype, 0)::regtype::text,
    'inherits', (select jsonb_agg(inhparent::regclass::text order by inhseqno) from pg_inherits where inhrelid = c.oid),
    'partition_key', pg_get_partkeydef(c.oid), 'partition_bound', pg_get_expr(c.relpartbound, c.oid),
    'definition', case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c') and :scope and not :owned('pg_class', c.oid);

-- name: columns
-- The rank stands for the position: dropped columns leave holes in attnum that mean nothing.
select 'column ' || c.oid::regclass::text || '.' || quote_ident(a.attname),
  jsonb_strip_nulls(jsonb_build_object(
    'rank', row_number() over (partition by c.oid order by a.attnum),
    'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
    'default', pg_get_expr(d.adbin, d.adrelid), 'identity', nullif(a.attidentity, ''),
    'generated', nullif(a.attgenerated, ''), 'storage', a.attstorage, 'compression', nullif(a.attcompression, ''),
    'collation', (select quote_ident(l.collname) from pg_collation l where l.oid = a.attcollation and a.attcollation <> t.typcollation),
    'statistics', nullif(a.attstattarget, -1), 'options', to_jsonb(a.attoptions), 'inherited', not a.attislocal))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_type t on t.oid = a.atttypid
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c') and :scope and not :owned('pg_class', c.oid);

-- name: constraints
select 'constraint ' || coalesce(nullif(c.conrelid, 0)::regclass::text, nullif(c.contypid, 0)::regtype::text)
       || '.' || quote_ident(c.conname),
  jsonb_build_object('definition', pg_get_constraintdef(c.oid), 'validated', c.convalidated,
    'deferrable', c.condeferrable, 'deferred', c.condeferred, 'local', c.conislocal, 'no_inherit', c.connoinherit)
from pg_constraint c join pg_namespace n on n.oid = c.connamespace
where :scope and not :owned('pg_class', c.conrelid) and not :owned('pg_type', c.contypid);

-- name: indexes
select 'index ' || i.indexrelid::regclass::text,
  jsonb_strip_nulls(jsonb_build_object('definition', pg_get_indexdef(i.indexrelid), 'valid', i.indisvalid, 'ready', i.indisready,
    'unique', i.indisunique, 'primary', i.indisprimary, 'immediate', i.indimmediate, 'owner', pg_get_userbyid(c.relowner),
    'parent', (select inhparent::regclass::text from pg_inherits where inhrelid = i.indexrelid),
    'statistics', (select jsonb_object_agg(a.attnum, a.attstattarget) from pg_attribute a
      where a.attrelid = i.indexrelid and a.attstattarget >= 0)))
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where :scope and not :owned('pg_class', i.indrelid);

-- name: functions
select case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end || ' ' || p.oid::regprocedure::text,
  jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(p.proowner),
    'definition', case when p.prokind <> 'a' then pg_get_functiondef(p.oid) end,
    'returns', pg_get_function_result(p.oid), 'volatility', p.provolatile, 'definer', p.prosecdef, 'leakproof', p.proleakproof,
    'settings', to_jsonb(p.proconfig), 'parallel', p.proparallel, 'strict', p.proisstrict, 'cost', p.procost, 'rows', p.prorows,
    'aggregate', (select to_jsonb(g) - 'aggfnoid' - 'aggtranstype' - 'aggmtranstype' - 'aggsortop'
      || jsonb_build_object('state', g.aggtranstype::regtype::text) from pg_aggregate g where g.aggfnoid = p.oid)))
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where :scope and not :owned('pg_proc', p.oid);

-- name: triggers
select 'trigger ' || t.tgrelid::regclass::text || '.' || quote_ident(t.tgname),
  jsonb_build_object('definition', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled)
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and :scope and not :owned('pg_class', c.oid);

-- name: internal_triggers
-- Foreign keys are enforced by triggers whose names hold OIDs; only a switched-off one is worth a fact.
select 'foreign key trigger ' || t.tgrelid::regclass::text || '.' || quote_ident(k.conname) || ' ' || t.tgtype,
  jsonb_build_object('enabled', t.tgenabled)
from pg_trigger t join pg_constraint k on k.oid = t.tgconstraint
join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where t.tgisinternal and t.tgenabled <> 'O' and :scope;

-- name: event_triggers
select 'event trigger ' || quote_ident(evtname), jsonb_build_object('event', evtevent, 'function', evtfoid::regprocedure::text,
  'enabled', evtenabled, 'tags', to_jsonb(evttags), 'owner', pg_get_userbyid(evtowner))
from pg_event_trigger e where not :owned('pg_event_trigger', e.oid);

-- name: rules
select 'rule ' || r.ev_class::regclass::text || '.' || quote_ident(r.rulename),
  jsonb_build_object('definition', pg_get_ruledef(r.oid), 'enabled', r.ev_enabled)
from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
where r.rulename <> '_RETURN' and :scope and not :owned('pg_class', c.oid);

-- name: policies
select 'policy ' || p.polrelid::regclass::text || '.' || quote_ident(p.polname),
  jsonb_build_object('command', p.polcmd, 'permissive', p.polpermissive,
    'roles', (select jsonb_agg(case r when 0 then 'public' else pg_get_userbyid(r) end order by pg_get_userbyid(r)) from unnest(p.polroles) r),
    'using', pg_get_expr(p.polqual, p.polrelid), 'with_check', pg_get_expr(p.polwithcheck, p.polrelid))
from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
where :scope;

-- name: grants
-- A NULL ACL means the default; GRANT then REVOKE writes the default out. Expanding both makes them equal.
with acls as (
  select case relkind when 'S' then 'sequence ' else 'table ' end || c.oid::regclass::text as object,
    coalesce(relacl, acldefault(case relkind when 'S' then 's'::"char" else 'r'::"char" end, relowner)) as acl
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where relkind in ('r', 'p', 'v', 'm', 'S', 'f') and :scope and not :owned('pg_class', c.oid)
  union all
  select 'column ' || c.oid::regclass::text || '.' || quote_ident(attname), attacl
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
  where attacl is not null and not attisdropped and :scope and not :owned('pg_class', c.oid)
  union all
  select 'function ' || p.oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner))
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace where :scope and not :owned('pg_proc', p.oid)
  union all
  select 'schema ' || quote_ident(nspname), coalesce(nspacl, acldefault('n', nspowner)) from pg_namespace n
  where :scope and not :owned('pg_namespace', n.oid)
  union all
  select 'type ' || t.oid::regtype::text, coalesce(typacl, acldefault('T', typowner))
  from pg_type t join pg_namespace n on n.oid = t.typnamespace
  where typtype in ('e', 'd', 'r', 'c', 'm') and :scope and not :owned('pg_type', t.oid)
    and (typrelid = 0 or exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
  union all
  select 'database', coalesce(datacl, acldefault('d', datdba)) from pg_database where datname = current_database()
  union all
  select 'language ' || lanname, coalesce(lanacl, acldefault('l', lanowner)) from pg_language where lanname not in ('internal', 'c')
)
select 'grant on ' || object || ' to ' || case e.grantee when 0 then 'public' else pg_get_userbyid(e.grantee) end,
  jsonb_build_object('privileges', jsonb_agg(e.privilege_type || case when e.is_grantable then ' with grant option' else '' end
    || ' by ' || pg_get_userbyid(e.grantor) order by e.privilege_type, e.grantor))
from acls cross join lateral aclexplode(acl) e group by object, e.grantee;

-- name: default_privileges
select 'default privileges of ' || pg_get_userbyid(d.defaclrole) || coalesce(' in ' || quote_ident(n.nspname), '') || ' on '
       || case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
            when 'T' then 'types' when 'n' then 'schemas' else d.defaclobjtype::text end,
  (select coalesce(jsonb_agg(jsonb_build_array(case e.grantee when 0 then 'public' else pg_get_userbyid(e.grantee) end,
      e.privilege_type, e.is_grantable) order by pg_get_userbyid(e.grantee), e.privilege_type), '[]') from aclexplode(d.defaclacl) e)
from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
where n.oid is null or :scope;

-- name: enums
select 'enum ' || t.oid::regtype::text, jsonb_build_object('owner', pg_get_userbyid(t.typowner),
  'labels', (select jsonb_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid))
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where t.typtype = 'e' and :scope and not :owned('pg_type', t.oid);

-- name: domains
select 'domain ' || t.oid::regtype::text, jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(t.typowner),
  'base', format_type(t.typbasetype, t.typtypmod), 'not_null', t.typnotnull, 'default', t.typdefault,
  'collation', (select quote_ident(l.collname) from pg_collation l where l.oid = t.typcollation)))
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where t.typtype = 'd' and :scope and not :owned('pg_type', t.oid);

-- name: ranges
select 'range ' || t.oid::regtype::text, jsonb_build_object('owner', pg_get_userbyid(t.typowner), 'of', r.rngsubtype::regtype::text,
  'canonical', r.rngcanonical::text, 'difference', r.rngsubdiff::text)
from pg_range r join pg_type t on t.oid = r.rngtypid join pg_namespace n on n.oid = t.typnamespace
where :scope and not :owned('pg_type', t.oid);

-- name: sequences
select 'sequence settings ' || s.seqrelid::regclass::text, jsonb_strip_nulls(jsonb_build_object('type', s.seqtypid::regtype::text,
  'start', s.seqstart, 'increment', s.seqincrement, 'min', s.seqmin, 'max', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle,
  'owned_by', (select d.refobjid::regclass::text || '.' || quote_ident(a.attname)
    from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_catalog.pg_class'::regclass
      and d.deptype in ('a', 'i'))))
from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
where :scope and not :owned('pg_class', c.oid);

-- name: publications
select 'publication ' || quote_ident(pubname), jsonb_build_object('owner', pg_get_userbyid(pubowner), 'all_tables', puballtables,
  'insert', pubinsert, 'update', pubupdate, 'delete', pubdelete, 'truncate', pubtruncate, 'via_root', pubviaroot)
from pg_publication;

-- name: publication_tables
select 'publication ' || quote_ident(p.pubname) || ' table ' || r.prrelid::regclass::text,
  jsonb_build_object('where', pg_get_expr(r.prqual, r.prrelid),
    'columns', (select jsonb_agg(a.attname order by a.attname) from pg_attribute a
      where a.attrelid = r.prrelid and a.attnum = any (r.prattrs)))
from pg_publication_rel r join pg_publication p on p.oid = r.prpubid;

-- name: publication_schemas
select 'publication ' || quote_ident(p.pubname) || ' schema ' || quote_ident(n.nspname), '{}'::jsonb
from pg_publication_namespace s join pg_publication p on p.oid = s.pnpubid join pg_namespace n on n.oid = s.pnnspid;

-- name: settings
select 'settings of ' || case setrole when 0 then 'every role' else pg_get_userbyid(setrole) end || ' in this database',
  (select jsonb_agg(s order by s) from unnest(setconfig) s)
from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = current_database());

-- name: statistics
select 'statistics ' || quote_ident(n.nspname) || '.' || quote_ident(s.stxname), jsonb_build_object(
  'definition', pg_get_statisticsobjdef(s.oid), 'target', nullif(s.stxstattarget, -1), 'owner', pg_get_userbyid(s.stxowner))
from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace where :scope;

-- name: comments
select 'comment on ' || i.type || ' ' || i.identity, to_jsonb(d.description)
from pg_description d cross join lateral pg_identify_object(d.classoid, d.objoid, d.objsubid) i
where (d.objoid >= 16384 or (d.classoid = 'pg_catalog.pg_namespace'::regclass and d.objoid = to_regnamespace('public')))
  and coalesce(i.schema, '') not in ('supabase_migrations', 'pg_catalog', 'pg_toast') and i.identity <> 'supabase_migrations'
  and i.identity !~ '(^| on )supabase_migrations\.'
  and not :owned(d.classoid, d.objoid);

-- name: security_labels
select 'security label ' || provider || ' on ' || objtype || ' ' || objname, to_jsonb(label)
from pg_seclabels where objtype <> 'role' and objtype <> 'database';

-- name: presence
-- Kinds of which only the existence is known; NOT_MODELLED says so.
select i.type || ' ' || i.identity, jsonb_build_object('known', 'existence only')
from (
  select 'pg_catalog.pg_operator'::regclass as class, oid from pg_operator
  union all select 'pg_catalog.pg_opclass'::regclass, oid from pg_opclass
  union all select 'pg_catalog.pg_opfamily'::regclass, oid from pg_opfamily
  union all select 'pg_catalog.pg_cast'::regclass, oid from pg_cast
  union all select 'pg_catalog.pg_collation'::regclass, oid from pg_collation
  union all select 'pg_catalog.pg_conversion'::regclass, oid from pg_conversion
  union all select 'pg_catalog.pg_ts_config'::regclass, oid from pg_ts_config
  union all select 'pg_catalog.pg_ts_dict'::regclass, oid from pg_ts_dict
  union all select 'pg_catalog.pg_language'::regclass, oid from pg_language
  union all select 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid from pg_foreign_data_wrapper
  union all select 'pg_catalog.pg_foreign_server'::regclass, oid from pg_foreign_server
  union all select 'pg_catalog.pg_transform'::regclass, oid from pg_transform
) o cross join lateral pg_identify_object(o.class, o.oid, 0) i
where o.oid >= 16384 and not :owned(o.class, o.oid) and coalesce(i.schema, '') <> 'supabase_migrations';
