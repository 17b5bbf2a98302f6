-- The catalog's rarer kinds, and what applies to many kinds at once: privileges, the database itself. Read catalog.sql
-- first: its header explains the form.

-- name: grants
-- A NULL ACL means the default; GRANT then REVOKE writes the default out. Expanding both makes them equal. Objects of
-- the system and of extensions are facts only where their privileges are no longer those they came with. Postgres keeps
-- no record of these for information_schema: its owner, who may have any name, lets everybody read.
with acls as (
  select case relkind when 'S' then 'sequence ' else 'table ' end || c.oid::regclass::text as object, relacl as acl,
    acldefault(case relkind when 'S' then 's'::"char" else 'r'::"char" end, relowner) as initial,
    coalesce(
      (select initprivs from pg_init_privs p where p.objoid = c.oid and p.classoid = 'pg_class'::regclass and p.objsubid = 0),
      case when :postgres_schema(nspname) then acldefault('r', relowner) || makeaclitem(0, relowner, 'SELECT', false) end
    ) as given,
    :scope and not :in_extension(pg_class, c.oid) as ours
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where relkind in ('r', 'p', 'v', 'm', 'S', 'f') and (:scope or (:postgres_schema(nspname) and relacl is not null))
  union all
  select 'column ' || c.oid::regclass::text || '.' || quote_ident(attname), attacl, '{}'::aclitem[],
    (select initprivs from pg_init_privs p where p.objoid = c.oid and p.classoid = 'pg_class'::regclass and p.objsubid = attnum),
    :scope and not :in_extension(pg_class, c.oid)
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
  where attacl is not null and not attisdropped and (:scope or :postgres_schema(nspname))
  union all
  select 'function ' || p.oid::regprocedure::text, proacl, acldefault('f', proowner),
    (select initprivs from pg_init_privs i where i.objoid = p.oid and i.classoid = 'pg_proc'::regclass),
    :scope and not :in_extension(pg_proc, p.oid)
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace where :scope or (:postgres_schema(nspname) and proacl is not null)
  union all
  select 'schema ' || quote_ident(nspname), nspacl, acldefault('n', nspowner),
    coalesce(
      (select initprivs from pg_init_privs i where i.objoid = n.oid and i.classoid = 'pg_namespace'::regclass),
      case when :postgres_schema(nspname) then acldefault('n', nspowner) || makeaclitem(0, nspowner, 'USAGE', false) end),
    :scope and not :in_extension(pg_namespace, n.oid)
  from pg_namespace n where :scope or (:postgres_schema(nspname) and nspacl is not null)
  union all
  select case when exists (select from pg_class c where c.oid = t.typrelid and c.relkind <> 'c') then 'row type '
    else 'type ' end || t.oid::regtype::text, typacl, acldefault('T', typowner),
    (select initprivs from pg_init_privs i where i.objoid = t.oid and i.classoid = 'pg_type'::regclass),
    -- Row types of tables are seldom granted on: a fact where they are.
    :scope and not :in_extension(pg_type, t.oid) and typtype in ('e', 'd', 'r', 'c', 'b')
      and not exists (select from pg_class c where c.oid = t.typrelid and c.relkind <> 'c')
  from pg_type t join pg_namespace n on n.oid = t.typnamespace
  where (typelem = 0 or typlen <> -1) and (:scope or :postgres_schema(nspname)) and (typacl is not null or (:scope and typtype <> 'm'
    and not exists (select from pg_class c where c.oid = t.typrelid and c.relkind <> 'c')))
  union all
  select 'database', datacl, acldefault('d', datdba), null, true from pg_database where datname = current_database()
  union all
  select 'language ' || quote_ident(lanname), lanacl, acldefault('l', lanowner),
    (select initprivs from pg_init_privs i where i.objoid = l.oid and i.classoid = 'pg_language'::regclass), true
  from pg_language l where lanname not in ('internal', 'c')
  union all
  select 'foreign data wrapper ' || quote_ident(fdwname), fdwacl, acldefault('F', fdwowner),
    (select initprivs from pg_init_privs i where i.objoid = f.oid and i.classoid = 'pg_foreign_data_wrapper'::regclass), true
  from pg_foreign_data_wrapper f
  union all
  select 'foreign server ' || quote_ident(srvname), srvacl, acldefault('S', srvowner), null, true from pg_foreign_server s
)
select 'grant on ' || object || ' to ' || case e.grantee when 0 then 'public' else pg_get_userbyid(e.grantee) end,
  jsonb_build_object('privileges', jsonb_agg(e.privilege_type || case when e.is_grantable then ' with grant option' else '' end
    || ' by ' || pg_get_userbyid(e.grantor) order by e.privilege_type, pg_get_userbyid(e.grantor)))
from acls cross join lateral aclexplode(coalesce(acl, given, initial)) e
where ours or (acl is not null and not (acl @> coalesce(given, initial) and acl <@ coalesce(given, initial)))
group by object, e.grantee;

-- name: database
-- Not its name: two databases are compared that have different ones.
select 'database', jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
  'collate', datcollate, 'ctype', datctype, 'locale_provider', datlocprovider,
  'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')))
from pg_database d where datname = current_database();

-- name: comment_on_database
select 'comment on database', to_jsonb(s.description) from pg_shdescription s join pg_database d on d.oid = s.objoid
where s.classoid = 'pg_database'::regclass and d.datname = current_database();

-- name: security_labels
select 'security label ' || provider || ' on ' || objtype || ' ' || objname, to_jsonb(label)
from pg_seclabels where objtype <> 'role' and objtype <> 'database';

-- name: operators of pg_operator
select 'operator ' || o.oid::regoperator::text, jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(oprowner),
  'function', nullif(oprcode, 0)::oid::regprocedure::text, 'result', nullif(oprresult, 0)::regtype::text,
  'commutator', nullif(oprcom, 0)::regoperator::text, 'negator', nullif(oprnegate, 0)::regoperator::text,
  'restrict', nullif(oprrest, 0)::oid::regprocedure::text, 'join', nullif(oprjoin, 0)::oid::regprocedure::text,
  'merges', oprcanmerge, 'hashes', oprcanhash)), o.oid
from pg_operator o join pg_namespace n on n.oid = o.oprnamespace where :scope and not :in_extension(pg_operator, o.oid);

-- name: operator_families of pg_opfamily
select 'operator family ' || quote_ident(nspname) || '.' || quote_ident(opfname) || ' using ' || quote_ident(amname),
  jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(opfowner),
    'operators', (select jsonb_agg(jsonb_build_array(amopstrategy, amopopr::regoperator::text, amoppurpose,
      (select opfname from pg_opfamily s where s.oid = amopsortfamily)) order by amopstrategy, amopopr::regoperator::text)
      from pg_amop where amopfamily = f.oid),
    'functions', (select jsonb_agg(jsonb_build_array(amprocnum, format_type(amproclefttype, null),
      format_type(amprocrighttype, null), amproc::oid::regprocedure::text)
      order by amprocnum, format_type(amproclefttype, null), format_type(amprocrighttype, null))
      from pg_amproc where amprocfamily = f.oid))), f.oid
from pg_opfamily f join pg_am m on m.oid = f.opfmethod join pg_namespace n on n.oid = f.opfnamespace
where :scope and not :in_extension(pg_opfamily, f.oid);

-- name: operator_classes of pg_opclass
select 'operator class ' || quote_ident(nspname) || '.' || quote_ident(opcname) || ' using ' || quote_ident(amname),
  jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(opcowner), 'type', opcintype::regtype::text,
    'default', opcdefault, 'stores', nullif(opckeytype, 0)::regtype::text,
    'family', (select opfname from pg_opfamily f where f.oid = opcfamily))), o.oid
from pg_opclass o join pg_am m on m.oid = o.opcmethod join pg_namespace n on n.oid = o.opcnamespace
where :scope and not :in_extension(pg_opclass, o.oid);

-- name: casts of pg_cast
select 'cast (' || castsource::regtype::text || ' as ' || casttarget::regtype::text || ')', jsonb_strip_nulls(jsonb_build_object(
  'context', castcontext, 'method', castmethod, 'function', nullif(castfunc, 0)::regprocedure::text)), c.oid
from pg_cast c where c.oid >= 16384 and not :in_extension(pg_cast, c.oid);

-- name: collations of pg_collation
select 'collation ' || quote_ident(nspname) || '.' || quote_ident(collname)
    || case collencoding when -1 then '' else ' for ' || pg_encoding_to_char(collencoding) end,
  jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(collowner), 'provider', collprovider,
    'deterministic', collisdeterministic, 'collate', collcollate, 'ctype', collctype,
    'locale', coalesce(to_jsonb(l) ->> 'colllocale', to_jsonb(l) ->> 'colliculocale'),
    'rules', to_jsonb(l) ->> 'collicurules')), l.oid
from pg_collation l join pg_namespace n on n.oid = l.collnamespace where :scope and not :in_extension(pg_collation, l.oid);

-- name: conversions of pg_conversion
select 'conversion ' || quote_ident(nspname) || '.' || quote_ident(conname), jsonb_build_object(
  'owner', pg_get_userbyid(conowner), 'from', pg_encoding_to_char(conforencoding), 'to', pg_encoding_to_char(contoencoding),
  'function', conproc::oid::regprocedure::text, 'default', condefault), c.oid
from pg_conversion c join pg_namespace n on n.oid = c.connamespace where :scope and not :in_extension(pg_conversion, c.oid);

-- name: text_search_configurations of pg_ts_config
select 'text search configuration ' || c.oid::regconfig::text, jsonb_strip_nulls(jsonb_build_object(
  'owner', pg_get_userbyid(cfgowner), 'parser', (select quote_ident(prsname) from pg_ts_parser where oid = cfgparser),
  'mappings', (select jsonb_agg(jsonb_build_array(maptokentype, mapdict::regdictionary::text) order by maptokentype, mapseqno)
    from pg_ts_config_map where mapcfg = c.oid))), c.oid
from pg_ts_config c join pg_namespace n on n.oid = c.cfgnamespace where :scope and not :in_extension(pg_ts_config, c.oid);

-- name: text_search_dictionaries of pg_ts_dict
select 'text search dictionary ' || d.oid::regdictionary::text, jsonb_strip_nulls(jsonb_build_object(
  'owner', pg_get_userbyid(dictowner), 'options', dictinitoption,
  'template', (select quote_ident(tmplname) from pg_ts_template where oid = dicttemplate))), d.oid
from pg_ts_dict d join pg_namespace n on n.oid = d.dictnamespace where :scope and not :in_extension(pg_ts_dict, d.oid);

-- name: text_search_parsers of pg_ts_parser
select 'text search parser ' || quote_ident(nspname) || '.' || quote_ident(prsname), jsonb_build_object(
  'start', prsstart::text, 'token', prstoken::text, 'end', prsend::text, 'headline', prsheadline::text, 'types', prslextype::text), p.oid
from pg_ts_parser p join pg_namespace n on n.oid = p.prsnamespace where :scope and not :in_extension(pg_ts_parser, p.oid);

-- name: text_search_templates of pg_ts_template
select 'text search template ' || quote_ident(nspname) || '.' || quote_ident(tmplname),
  jsonb_build_object('init', tmplinit::text, 'lexize', tmpllexize::text), t.oid
from pg_ts_template t join pg_namespace n on n.oid = t.tmplnamespace where :scope and not :in_extension(pg_ts_template, t.oid);

-- name: languages of pg_language
select 'language ' || quote_ident(lanname), jsonb_build_object('owner', pg_get_userbyid(lanowner), 'trusted', lanpltrusted,
  'handler', lanplcallfoid::regproc::text, 'inline', laninline::regproc::text, 'validator', lanvalidator::regproc::text), l.oid
from pg_language l where l.oid >= 16384 and not :in_extension(pg_language, l.oid);

-- name: transforms of pg_transform
select 'transform for ' || trftype::regtype::text || ' language ' || quote_ident(lanname), jsonb_build_object(
  'from_sql', trffromsql::text, 'to_sql', trftosql::text), t.oid
from pg_transform t join pg_language l on l.oid = t.trflang where not :in_extension(pg_transform, t.oid);

-- name: access_methods of pg_am
select 'access method ' || quote_ident(amname), jsonb_build_object('type', amtype, 'handler', amhandler::text), a.oid
from pg_am a where a.oid >= 16384 and not :in_extension(pg_am, a.oid);

-- name: foreign_data_wrappers of pg_foreign_data_wrapper
select 'foreign data wrapper ' || quote_ident(fdwname), jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(fdwowner),
  'handler', nullif(fdwhandler, 0)::regproc::text, 'validator', nullif(fdwvalidator, 0)::regproc::text,
  'options', :options(fdwoptions))), f.oid
from pg_foreign_data_wrapper f where not :in_extension(pg_foreign_data_wrapper, f.oid);

-- name: foreign_servers of pg_foreign_server
select 'foreign server ' || quote_ident(srvname), jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(srvowner),
  'wrapper', (select quote_ident(fdwname) from pg_foreign_data_wrapper where oid = srvfdw), 'type', srvtype,
  'version', srvversion, 'options', :options(srvoptions))), s.oid
from pg_foreign_server s where not :in_extension(pg_foreign_server, s.oid);

-- name: user_mappings of pg_user_mapping
select 'user mapping for ' || case umuser when 0 then 'public' else quote_ident(usename) end || ' on server ' || quote_ident(srvname),
  jsonb_strip_nulls(jsonb_build_object('options', :masked_options(umoptions))), u.umid
from pg_user_mappings u;

-- name: subscriptions of pg_subscription
-- Never the connection: it holds a password.
select 'subscription ' || quote_ident(subname), jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(subowner),
  'enabled', subenabled, 'slot', subslotname, 'commit', subsynccommit, 'binary', subbinary,
  'publications', (select jsonb_agg(p order by p) from unnest(subpublications) p))), s.oid
from pg_subscription s where subdbid = (select oid from pg_database where datname = current_database());
