-- The catalog as facts: every query returns (key text, fact jsonb), key being an identity that survives
-- dump and restore (names, never OIDs). Read with search_path empty, so that every rendered name is qualified.
-- "name: x of pg_y": a third column is the OID in that system catalog of the object the fact stands for, by which
-- the census (catalog_census.sql) knows what was covered. Without "of", facts are about parts of objects.
-- In scope: schemas that are neither the system's nor left out, without what extensions own.
-- :scope is replaced by a condition on the column `nspname`, the conditions of platform.py by their SQL;
-- :stored_options(array) by the options of a relation or column that mean something; :index_definition(oid, options) by
-- the index without its options; :outside(i) by "what pg_identify_object said (i) lies in no schema in scope".

-- name: schemas of pg_namespace
select 'schema ' || quote_ident(nspname), jsonb_build_object('owner', pg_get_userbyid(nspowner)), n.oid
from pg_namespace n where :scope and not :in_extension(pg_namespace, n.oid);

-- name: extensions of pg_extension
select 'extension ' || quote_ident(extname), jsonb_build_object('version', extversion, 'schema', nspname), e.oid
from pg_extension e join pg_namespace n on n.oid = e.extnamespace;

-- name: relations of pg_class
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
    'options', :stored_options(c.reloptions),
    'toast_options', (select :stored_options(t.reloptions) from pg_class t where t.oid = c.reltoastrelid),
    'access_method', (select amname from pg_am a where a.oid = c.relam),
    'tablespace', (select spcname from pg_tablespace s where s.oid = c.reltablespace),
    'of_type', nullif(c.reloftype, 0)::regtype::text,
    'inherits', (select jsonb_agg(inhparent::regclass::text order by inhseqno) from pg_inherits where inhrelid = c.oid),
    'detach_pending', (select nullif(bool_or(inhdetachpending), false) from pg_inherits where inhrelid = c.oid),
    'foreign', (select jsonb_build_object('server', s.srvname, 'options', :options(f.ftoptions))
      from pg_foreign_table f join pg_foreign_server s on s.oid = f.ftserver where f.ftrelid = c.oid),
    'partition_key', pg_get_partkeydef(c.oid), 'partition_bound', pg_get_expr(c.relpartbound, c.oid),
    'definition', case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end)), c.oid
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c') and :scope and not :in_extension(pg_class, c.oid);

-- name: columns
-- The rank stands for the position: dropped columns leave holes in attnum that mean nothing.
select 'column ' || c.oid::regclass::text || '.' || quote_ident(a.attname),
  jsonb_strip_nulls(jsonb_build_object(
    'rank', row_number() over (partition by c.oid order by a.attnum),
    'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
    'default', pg_get_expr(d.adbin, d.adrelid), 'identity', nullif(a.attidentity, ''),
    'generated', nullif(a.attgenerated, ''), 'storage', a.attstorage, 'compression', nullif(a.attcompression, ''),
    'collation', (select quote_ident(l.collname) from pg_collation l where l.oid = a.attcollation and a.attcollation <> t.typcollation),
    'statistics', nullif(a.attstattarget, -1), 'options', :stored_options(a.attoptions),
    'foreign_options', :options(a.attfdwoptions), 'inherited', not a.attislocal))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_type t on t.oid = a.atttypid
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c') and :scope and not :in_extension(pg_class, c.oid);

-- name: constraints of pg_constraint
select 'constraint ' || coalesce(nullif(c.conrelid, 0)::regclass::text, nullif(c.contypid, 0)::regtype::text)
       || '.' || quote_ident(c.conname),
  jsonb_build_object('definition', pg_get_constraintdef(c.oid), 'validated', c.convalidated,
    'deferrable', c.condeferrable, 'deferred', c.condeferred, 'local', c.conislocal,
    -- Of keys it tells only in which order a partitioned table, its key and its partitions were made.
    'no_inherit', c.contype = 'c' and c.connoinherit), c.oid
from pg_constraint c join pg_namespace n on n.oid = c.connamespace
where c.contype <> 'n' and :scope and not :in_extension(pg_class, c.conrelid) and not :in_extension(pg_type, c.contypid);

-- name: not_null_constraints of pg_constraint
-- From Postgres 18 on NOT NULL is a constraint with a name; that the column takes no null is the column's fact.
select 'not-null constraint ' || c.conrelid::regclass::text || '.' || quote_ident(c.conname),
  jsonb_build_object('definition', pg_get_constraintdef(c.oid), 'validated', c.convalidated, 'local', c.conislocal,
    'no_inherit', c.connoinherit), c.oid
from pg_constraint c join pg_namespace n on n.oid = c.connamespace
where c.contype = 'n' and :scope and not :in_extension(pg_class, c.conrelid);

-- name: indexes of pg_class
select 'index ' || i.indexrelid::regclass::text,
  jsonb_strip_nulls(jsonb_build_object('definition', :index_definition(i.indexrelid, c.reloptions),
    'options', :stored_options(c.reloptions), 'valid', i.indisvalid, 'ready', i.indisready,
    'unique', i.indisunique, 'primary', i.indisprimary, 'immediate', i.indimmediate, 'owner', pg_get_userbyid(c.relowner),
    'tablespace', (select spcname from pg_tablespace s where s.oid = c.reltablespace),
    'parent', (select inhparent::regclass::text from pg_inherits where inhrelid = i.indexrelid),
    'statistics', (select jsonb_object_agg(a.attnum, a.attstattarget) from pg_attribute a
      where a.attrelid = i.indexrelid and a.attstattarget >= 0))), i.indexrelid
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where :scope and not :in_extension(pg_class, i.indrelid);

-- name: functions of pg_proc
select case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end || ' ' || p.oid::regprocedure::text,
  jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(p.proowner),
    'definition', case when p.prokind <> 'a' then pg_get_functiondef(p.oid) end,
    'returns', pg_get_function_result(p.oid), 'volatility', p.provolatile, 'definer', p.prosecdef, 'leakproof', p.proleakproof,
    'settings', to_jsonb(p.proconfig), 'parallel', p.proparallel, 'strict', p.proisstrict, 'cost', p.procost, 'rows', p.prorows,
    'aggregate', (select to_jsonb(g) - 'aggfnoid' - 'aggtranstype' - 'aggmtranstype' - 'aggsortop'
      || jsonb_build_object('state', g.aggtranstype::regtype::text, 'moving_state', nullif(g.aggmtranstype, 0)::regtype::text,
        'sort', nullif(g.aggsortop, 0)::regoperator::text) from pg_aggregate g where g.aggfnoid = p.oid))), p.oid
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where :scope and not :in_extension(pg_proc, p.oid);

-- name: triggers of pg_trigger
select 'trigger ' || t.tgrelid::regclass::text || '.' || quote_ident(t.tgname),
  jsonb_build_object('definition', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled), t.oid
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and :scope and not :in_extension(pg_class, c.oid);

-- name: internal_triggers
-- Foreign keys are enforced by triggers whose names hold OIDs; only a switched-off one is worth a fact.
select 'foreign key trigger ' || t.tgrelid::regclass::text || '.' || quote_ident(k.conname) || ' ' || p.proname,
  jsonb_build_object('enabled', jsonb_agg(t.tgenabled order by t.tgenabled))
from pg_trigger t join pg_constraint k on k.oid = t.tgconstraint join pg_proc p on p.oid = t.tgfoid
join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where t.tgisinternal and t.tgenabled <> 'O' and :scope group by t.tgrelid, k.conname, p.proname;

-- name: event_triggers of pg_event_trigger
select 'event trigger ' || quote_ident(evtname), jsonb_build_object('event', evtevent, 'function', evtfoid::regprocedure::text,
  'enabled', evtenabled, 'tags', to_jsonb(evttags), 'owner', pg_get_userbyid(evtowner)), e.oid
from pg_event_trigger e join pg_proc p on p.oid = e.evtfoid join pg_namespace n on n.oid = p.pronamespace
where not :in_extension(pg_event_trigger, e.oid) and not :platform_schema(n.nspname);

-- name: rules of pg_rewrite
select 'rule ' || r.ev_class::regclass::text || '.' || quote_ident(r.rulename),
  jsonb_build_object('definition', pg_get_ruledef(r.oid), 'enabled', r.ev_enabled), r.oid
from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
where r.rulename <> '_RETURN' and :scope and not :in_extension(pg_class, c.oid);

-- name: policies of pg_policy
select 'policy ' || p.polrelid::regclass::text || '.' || quote_ident(p.polname),
  jsonb_build_object('command', p.polcmd, 'permissive', p.polpermissive,
    'roles', (select jsonb_agg(case r when 0 then 'public' else pg_get_userbyid(r) end order by case r when 0 then 'public' else pg_get_userbyid(r) end) from unnest(p.polroles) r),
    'using', pg_get_expr(p.polqual, p.polrelid), 'with_check', pg_get_expr(p.polwithcheck, p.polrelid)), p.oid
from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
where :scope;

-- name: default_privileges of pg_default_acl
select 'default privileges of ' || pg_get_userbyid(d.defaclrole) || coalesce(' in ' || quote_ident(n.nspname), '') || ' on '
       || case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
            when 'T' then 'types' when 'n' then 'schemas' when 'L' then 'large objects' else d.defaclobjtype::text end,
  (select coalesce(jsonb_agg(jsonb_build_array(case e.grantee when 0 then 'public' else pg_get_userbyid(e.grantee) end,
      e.privilege_type, e.is_grantable) order by pg_get_userbyid(e.grantee), e.privilege_type), '[]') from aclexplode(d.defaclacl) e), d.oid
from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
where n.oid is null or :scope;

-- name: enums of pg_type
select 'enum ' || t.oid::regtype::text, jsonb_build_object('owner', pg_get_userbyid(t.typowner),
  'labels', (select jsonb_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid)), t.oid
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where t.typtype = 'e' and :scope and not :in_extension(pg_type, t.oid);

-- name: domains of pg_type
select 'domain ' || t.oid::regtype::text, jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(t.typowner),
  'base', format_type(t.typbasetype, t.typtypmod), 'not_null', t.typnotnull, 'default', t.typdefault,
  'collation', (select quote_ident(l.collname) from pg_collation l where l.oid = t.typcollation))), t.oid
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where t.typtype = 'd' and :scope and not :in_extension(pg_type, t.oid);

-- name: ranges of pg_type
select 'range ' || t.oid::regtype::text, jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(t.typowner),
  'of', r.rngsubtype::regtype::text, 'canonical', r.rngcanonical::text, 'difference', r.rngsubdiff::text,
  'multirange', r.rngmultitypid::regtype::text, 'opclass', (select opcname from pg_opclass o where o.oid = r.rngsubopc),
  'collation', (select quote_ident(l.collname) from pg_collation l where l.oid = r.rngcollation))), t.oid
from pg_range r join pg_type t on t.oid = r.rngtypid join pg_namespace n on n.oid = t.typnamespace
where :scope and not :in_extension(pg_type, t.oid);

-- name: base_types of pg_type
-- Types written in C, and the shells that announce them.
select 'type ' || t.oid::regtype::text, jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(t.typowner),
  'kind', t.typtype, 'defined', t.typisdefined, 'length', t.typlen, 'by_value', t.typbyval, 'category', t.typcategory,
  'preferred', t.typispreferred, 'delimiter', t.typdelim, 'input', nullif(t.typinput, 0)::text,
  'output', nullif(t.typoutput, 0)::text, 'receive', nullif(t.typreceive, 0)::text, 'send', nullif(t.typsend, 0)::text,
  'modifier_in', nullif(t.typmodin, 0)::text, 'modifier_out', nullif(t.typmodout, 0)::text,
  'analyze', nullif(t.typanalyze, 0)::text, 'alignment', t.typalign, 'storage', t.typstorage, 'default', t.typdefault,
  'element', nullif(t.typelem, 0)::regtype::text)), t.oid
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where t.typtype in ('b', 'p') and :scope and not :in_extension(pg_type, t.oid)
  and not exists (select from pg_type e where e.typarray = t.oid);

-- name: sequences
select 'sequence settings ' || s.seqrelid::regclass::text, jsonb_strip_nulls(jsonb_build_object('type', s.seqtypid::regtype::text,
  'start', s.seqstart, 'increment', s.seqincrement, 'min', s.seqmin, 'max', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle,
  'owned_by', (select d.refobjid::regclass::text || '.' || quote_ident(a.attname)
    from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_catalog.pg_class'::regclass
      and d.deptype in ('a', 'i'))))
from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
where :scope and not :in_extension(pg_class, c.oid);

-- name: publications of pg_publication
select 'publication ' || quote_ident(pubname), jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(pubowner), 'all_tables', puballtables,
  'insert', pubinsert, 'update', pubupdate, 'delete', pubdelete, 'truncate', pubtruncate, 'via_root', pubviaroot,
  'generated_columns', nullif(to_jsonb(p) ->> 'pubgencols', 'n'))), p.oid
from pg_publication p;

-- name: publication_tables of pg_publication_rel
select 'publication ' || quote_ident(p.pubname) || ' table ' || r.prrelid::regclass::text,
  jsonb_build_object('where', pg_get_expr(r.prqual, r.prrelid),
    'columns', (select jsonb_agg(a.attname order by a.attname) from pg_attribute a
      where a.attrelid = r.prrelid and a.attnum = any (r.prattrs))), r.oid
from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
join pg_class c on c.oid = r.prrelid join pg_namespace n on n.oid = c.relnamespace where :scope;

-- name: publication_schemas of pg_publication_namespace
select 'publication ' || quote_ident(p.pubname) || ' schema ' || quote_ident(n.nspname), '{}'::jsonb, s.oid
from pg_publication_namespace s join pg_publication p on p.oid = s.pnpubid join pg_namespace n on n.oid = s.pnnspid
where :scope;

-- name: settings
-- Secrets are kept in such settings, so a value is shown only where its name does not sound like one.
select 'settings of ' || case setrole when 0 then 'every role' else pg_get_userbyid(setrole) end || ' in this database',
  :options(setconfig)
from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = current_database());

-- name: statistics of pg_statistic_ext
select 'statistics ' || quote_ident(n.nspname) || '.' || quote_ident(s.stxname), jsonb_build_object(
  'definition', pg_get_statisticsobjdef(s.oid), 'target', nullif(s.stxstattarget, -1), 'owner', pg_get_userbyid(s.stxowner)), s.oid
from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace where :scope and not :in_extension(pg_statistic_ext, s.oid);

-- name: comments
select 'comment on ' || i.type || ' ' || i.identity, to_jsonb(d.description)
from pg_description d cross join lateral pg_identify_object(d.classoid, d.objoid, d.objsubid) i
where (d.objoid >= 16384 or (d.classoid = 'pg_catalog.pg_namespace'::regclass and d.objoid = to_regnamespace('public')))
  and d.classoid <> 'pg_largeobject'::regclass -- data, named by its OID
  and not :outside(i)
  and not :in_extension(d.classoid, d.objoid);
