-- The census: what there is, so that what no fact stands for can be named. Read catalog.sql first.

-- name: objects
-- Each object of its own in scope: (system catalog, OID). Parts come with their whole and are left out: row and array
-- types, TOAST, defaults, enum labels, a view's own rule, the triggers behind foreign keys, members of an operator family.
select 'pg_namespace' as catalog, n.oid from pg_namespace n where :scope
union all select 'pg_class', c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where :scope
union all select 'pg_type', t.oid from pg_type t join pg_namespace n on n.oid = t.typnamespace
  where :scope and typrelid = 0 and typtype <> 'm' and not exists (select from pg_type e where e.typarray = t.oid)
union all select 'pg_proc', p.oid from pg_proc p join pg_namespace n on n.oid = p.pronamespace where :scope
union all select 'pg_constraint', c.oid from pg_constraint c join pg_namespace n on n.oid = c.connamespace where :scope
union all select 'pg_trigger', t.oid from pg_trigger t join pg_class c on c.oid = t.tgrelid
  join pg_namespace n on n.oid = c.relnamespace where :scope and not tgisinternal
union all select 'pg_rewrite', r.oid from pg_rewrite r join pg_class c on c.oid = r.ev_class
  join pg_namespace n on n.oid = c.relnamespace where :scope and r.rulename <> '_RETURN'
union all select 'pg_policy', p.oid from pg_policy p join pg_class c on c.oid = p.polrelid
  join pg_namespace n on n.oid = c.relnamespace where :scope
union all select 'pg_statistic_ext', s.oid from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace where :scope
union all select 'pg_operator', o.oid from pg_operator o join pg_namespace n on n.oid = o.oprnamespace where :scope
union all select 'pg_opclass', o.oid from pg_opclass o join pg_namespace n on n.oid = o.opcnamespace where :scope
union all select 'pg_opfamily', o.oid from pg_opfamily o join pg_namespace n on n.oid = o.opfnamespace where :scope
-- A member that the user added to a family of the system's is nobody's part.
union all select 'pg_amop', oid from pg_amop where oid >= 16384 and amopfamily < 16384
union all select 'pg_amproc', oid from pg_amproc where oid >= 16384 and amprocfamily < 16384
union all select 'pg_collation', l.oid from pg_collation l join pg_namespace n on n.oid = l.collnamespace where :scope
union all select 'pg_conversion', c.oid from pg_conversion c join pg_namespace n on n.oid = c.connamespace where :scope
union all select 'pg_ts_config', c.oid from pg_ts_config c join pg_namespace n on n.oid = c.cfgnamespace where :scope
union all select 'pg_ts_dict', d.oid from pg_ts_dict d join pg_namespace n on n.oid = d.dictnamespace where :scope
union all select 'pg_ts_parser', p.oid from pg_ts_parser p join pg_namespace n on n.oid = p.prsnamespace where :scope
union all select 'pg_ts_template', t.oid from pg_ts_template t join pg_namespace n on n.oid = t.tmplnamespace where :scope
union all select 'pg_default_acl', d.oid from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
  where n.oid is null or :scope
union all select 'pg_publication_rel', r.oid from pg_publication_rel r join pg_class c on c.oid = r.prrelid
  join pg_namespace n on n.oid = c.relnamespace where :scope
union all select 'pg_publication_namespace', s.oid from pg_publication_namespace s
  join pg_namespace n on n.oid = s.pnnspid where :scope
union all select 'pg_cast', oid from pg_cast where oid >= 16384
union all select 'pg_language', oid from pg_language where oid >= 16384
union all select 'pg_transform', oid from pg_transform
union all select 'pg_am', oid from pg_am where oid >= 16384
union all select 'pg_extension', oid from pg_extension
union all select 'pg_event_trigger', e.oid from pg_event_trigger e join pg_proc p on p.oid = e.evtfoid
  join pg_namespace n on n.oid = p.pronamespace where not :platform_schema(n.nspname)
union all select 'pg_publication', oid from pg_publication
union all select 'pg_foreign_data_wrapper', oid from pg_foreign_data_wrapper
union all select 'pg_foreign_server', oid from pg_foreign_server
union all select 'pg_user_mapping', umid from pg_user_mappings
-- Known under this name to everything but the catalog that lists them.
union all select 'pg_largeobject', oid from pg_largeobject_metadata
union all select 'pg_subscription', oid from pg_subscription
  where subdbid = (select oid from pg_database where datname = current_database());

-- name: identify
-- $1 system catalogs, $2 OIDs → kind and identity; without what extensions own.
select i.type, i.identity from unnest($1::text[], $2::oid[]) o (catalog, oid)
cross join lateral pg_identify_object(o.catalog::regclass, o.oid, 0) i
where i.type is not null and not :in_extension(o.catalog::regclass, o.oid);

-- name: extension_members
select 'member of extension', extname || ' (' || count(*) || ')' from pg_extension e
join pg_depend d on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e' group by extname;

-- name: catalogs
-- Every system catalog, and whether its rows have OIDs.
select c.relname::text as name, exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'oid') as has_oid
from pg_class c where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind = 'r';

-- name: sequences
-- `readable`: a position is told only to who may use the sequence.
select c.oid::regclass::text as name, has_sequence_privilege(c.oid, 'select') and has_schema_privilege(n.oid, 'usage') as readable
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'S' and :scope and not :in_extension(pg_class, c.oid) order by 1;
