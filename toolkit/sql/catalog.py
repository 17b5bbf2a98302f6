"""The catalog queries, by name, for the schemas that are looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from toolkit.sql.platform import HISTORY, spelt_out, user_schema
from toolkit.sql.quoting import quote_literal

_FACTS, _CENSUS = ("catalog.sql", "catalog_kinds.sql"), "catalog_census.sql"
_SECTION = re.compile(r"^-- name: (\w+)(?: of (\w+))?$", re.MULTILINE)
_OPTIONS = re.compile(r":(masked_)?options\(([\w.]+)\)")
_OUTSIDE = re.compile(r":outside\((\w+)\)")
_STORED = re.compile(r":stored_options\(([\w.]+)\)")
_INDEX = re.compile(r":index_definition\(([\w.]+), ([\w.]+)\)")
_OPTION_NAME, _OPTION_VALUE = "split_part(o, '=', 1)", "substr(o, strpos(o, '=') + 1)"
_SECRET_NAME = "pass|secret|token|key|credential"  # noqa: S105 - what such a name looks like
_SECRET_VALUE = "://[^ ]*:[^ ]*@|^eyJ"  # noqa: S105 - a URL with a password, a JWT

# Options that a server keeps for itself beside those of the users: Debian's Postgres 15.20 stores `pg_attver=…` of
# each column. They differ from database to database, and no other server accepts them.
RESERVED_OPTION = "^pg_"
# Options of relations that take a boolean, in any of its spellings.
BOOLEAN_OPTIONS = (
    "autosummarize",
    "autovacuum_enabled",
    "deduplicate_items",
    "fastupdate",
    "security_barrier",
    "security_invoker",
    "user_catalog_table",
    "vacuum_index_cleanup",  # or `auto`
    "vacuum_truncate",
)

# Every setting that changes how Postgres renders an expression or a value as text; and no compiling of queries, which
# takes longer than they do.
PIN_RENDERING = (
    "select set_config('search_path', '', true), set_config('DateStyle', 'ISO, YMD', true),"
    " set_config('IntervalStyle', 'postgres', true), set_config('TimeZone', 'UTC', true),"
    " set_config('extra_float_digits', '1', true), set_config('quote_all_identifiers', 'off', true),"
    " set_config('bytea_output', 'hex', true), set_config('jit', 'off', true)"
)
# One row each, joined by `union all`; the name is as Postgres quotes it.
POSITION = "select '{literal}' as name, last_value, is_called from {name}"
# Where each row of a catalog lies and which transaction wrote it. Left out is what no fact rests on: statistics, large
# objects, who depends on shared objects. By content are read: what belongs to one of many databases in a catalog that
# they share, and what not every role may read as it is.
FINGERPRINTED = """
    select c.relname::text as name from pg_catalog.pg_class c
    where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind = 'r' and c.relname not in ('pg_statistic',
      'pg_statistic_ext_data', 'pg_largeobject', 'pg_shdepend', 'pg_database', 'pg_db_role_setting', 'pg_shdescription',
      'pg_shseclabel', 'pg_subscription', 'pg_subscription_rel', 'pg_authid', 'pg_user_mapping')
    order by 1
"""
_PLACES = """
    select '{name} ' || count(*) || ' ' || coalesce(sum(hash_record_extended((ctid, xmin), 0)), 0) as part
    from pg_catalog.{name}
"""
_OF_THE_DATABASE = """
    select 'database '::text || (to_jsonb(d) - '{oid,datname,datfrozenxid,datminmxid}'::text[])
      from pg_catalog.pg_database d where d.datname = current_database()
    union all select 'setting '::text || jsonb_build_array(s.setdatabase = 0, s.setrole, s.setconfig)
      from pg_catalog.pg_db_role_setting s join pg_catalog.pg_database d on s.setdatabase in (0, d.oid)
      where d.datname = current_database()
    union all select 'comment '::text || jsonb_build_array(s.classoid, case when s.objoid <> d.oid then s.objoid end,
        s.description)
      from pg_catalog.pg_shdescription s join pg_catalog.pg_database d on d.datname = current_database()
      where s.classoid <> 'pg_database'::regclass or s.objoid = d.oid
    union all select 'label '::text || jsonb_build_array(s.classoid, case when s.objoid <> d.oid then s.objoid end,
        s.provider, s.label)
      from pg_catalog.pg_shseclabel s join pg_catalog.pg_database d on d.datname = current_database()
      where s.classoid <> 'pg_database'::regclass or s.objoid = d.oid
    union all select 'role '::text || to_jsonb(r) from pg_catalog.pg_roles r
    union all select 'user mapping '::text || to_jsonb(m) from pg_catalog.pg_user_mappings m
    union all select 'subscription '::text || jsonb_build_array(s.oid, s.subname, s.subowner, s.subenabled,
        s.subslotname, s.subsynccommit, s.subbinary, s.subpublications)
      from pg_catalog.pg_subscription s join pg_catalog.pg_database d on d.oid = s.subdbid
      where d.datname = current_database()
    union all select 'as ' || current_user
"""
_FINGERPRINT = "select md5(string_agg(part, chr(10) order by part)) from ({parts}) p"
ROWS_OF_CATALOG = "select count(*) from pg_catalog.{name}"
USER_ROWS_OF_CATALOG = "select count(*) from pg_catalog.{name} where oid >= 16384"
ROLE_NAMES = spelt_out("select rolname::text as name from pg_roles where :user_role(rolname) order by 1")
CREATE_ROLE = 'create role "{name}" nologin'
CREATE_DATABASE = 'create database "{name}"'

# Every system catalog of Postgres 15 to 18 and what becomes of its rows: each is an object that facts or the census
# name, a part of such an object, or belongs to the cluster or to the data. One that is not here is counted as unknown.
_CATALOGS = {
    "object": """pg_namespace pg_class pg_type pg_proc pg_constraint pg_trigger pg_rewrite pg_policy pg_statistic_ext
        pg_operator pg_opclass pg_opfamily pg_collation pg_conversion pg_ts_config pg_ts_dict pg_ts_parser
        pg_ts_template pg_default_acl pg_publication pg_publication_rel pg_publication_namespace pg_cast pg_language
        pg_transform pg_am pg_extension pg_event_trigger pg_foreign_data_wrapper pg_foreign_server pg_user_mapping
        pg_largeobject_metadata pg_subscription""",
    "part": """pg_attribute pg_attrdef pg_index pg_inherits pg_partitioned_table pg_sequence pg_enum pg_range
        pg_aggregate pg_amop pg_amproc pg_ts_config_map pg_foreign_table pg_description pg_seclabel pg_db_role_setting
        pg_database pg_init_privs pg_depend pg_shdescription""",
    "cluster": """pg_authid pg_auth_members pg_tablespace pg_parameter_acl pg_replication_origin pg_shdepend
        pg_shseclabel""",
    "data": "pg_statistic pg_statistic_ext_data pg_largeobject pg_subscription_rel",
}
CATALOGS: dict[str, str] = {name: place for place, names in _CATALOGS.items() for name in names.split()}


@dataclass(frozen=True)
class Query:
    """One query for facts: (key text, fact jsonb), and a third column, the OID in `catalog`, where that is named."""

    name: str
    text: str
    catalog: str | None


@cache
def queries(left_out: tuple[str, ...] = ()) -> tuple[Query, ...]:
    """The queries for facts, without the schemas `left_out`."""
    return tuple(query for file in _FACTS for query in _read(file, left_out))


@cache
def census(left_out: tuple[str, ...] = ()) -> dict[str, str]:
    """The queries of the census by name, without the schemas `left_out`."""
    return {query.name: query.text for query in _read(_CENSUS, left_out)}


def fingerprint(names: Iterable[str]) -> str:
    """The query for one text that tells this state of these catalogs from every other."""
    return _FINGERPRINT.format(
        parts=" union all ".join([*(_PLACES.format(name=name) for name in names), _OF_THE_DATABASE])
    )


def positions(names: Iterable[str]) -> str:
    """The query for the positions of sequences, named as Postgres quotes them."""
    return " union all ".join(POSITION.format(literal=name.replace("'", "''"), name=name) for name in names)


def _read(file: str, left_out: tuple[str, ...]) -> list[Query]:
    _, *sections = _SECTION.split(files("toolkit.sql").joinpath(file).read_text())
    return [
        Query(name, _complete(body, left_out), catalog)
        for name, catalog, body in zip(sections[::3], sections[1::3], sections[2::3], strict=True)
    ]


def _complete(body: str, left_out: tuple[str, ...]) -> str:
    # An identity quotes a name where it must be quoted, which depends on the keywords of the server's version.
    names = ("pg_temp", HISTORY, *left_out)
    spelt = [spelling for name in names for spelling in (name, '"' + name.replace('"', '""') + '"')]
    whole = ", ".join(quote_literal(name) for name in spelt)
    within = quote_literal(rf"(^| on )({'|'.join(re.escape(name) for name in spelt)})\.")

    def outside(match: re.Match[str]) -> str:
        said = match[1]
        inside = f"coalesce({user_schema(f'{said}.schema', without=left_out)}, true)"
        # A part of a table has no schema of its own; its identity ends with "on schema.table".
        return f"(not {inside} or {said}.identity in ({whole}) or {said}.identity ~ {within})"

    text = spelt_out(body.replace(":scope", user_schema("nspname", without=left_out)))
    text = _INDEX.sub(_index_definition, _STORED.sub(_stored_options, text))
    text = _OUTSIDE.sub(outside, _OPTIONS.sub(_options, text))
    return text.strip().rstrip(";")


def _options(match: re.Match[str]) -> str:
    """`name=value` texts as an object. Of a secret only sixteen bits of its digest show: enough to see that it
    changed, too few to find it by."""
    name, value = _OPTION_NAME, _OPTION_VALUE
    secret = f"{name} ~* '{_SECRET_NAME}' or {value} ~ '{_SECRET_VALUE}'"
    masked = f"'*** #' || left(encode(sha256(convert_to({value}, 'UTF8')), 'hex'), 4)"
    shown = masked if match[1] else f"case when {secret} then {masked} else {value} end"
    return f"(select jsonb_object_agg({name}, {shown}) from unnest({match[2]}) o)"  # noqa: S608 - from files of ours


def _stored_options(match: re.Match[str]) -> str:
    """Options of a relation or a column as a sorted array, null when there are none: booleans in one spelling, without
    what the server keeps for itself."""
    name, value = _OPTION_NAME, _OPTION_VALUE
    booleans = ", ".join(quote_literal(one) for one in BOOLEAN_OPTIONS)
    is_boolean = f"{name} in ({booleans}) and lower({value}) <> 'auto'"
    one = f"case when {is_boolean} then {name} || '=' || ({value})::boolean else o end"
    return f"(select jsonb_agg({one} order by o) from unnest({match[1]}) o where o !~ '{RESERVED_OPTION}')"  # noqa: S608


def _index_definition(match: re.Match[str]) -> str:
    """An index's definition without its options, which are a fact of their own; as Postgres writes them there."""
    oid, options = match.groups()
    name, value = _OPTION_NAME, _OPTION_VALUE
    quoted = f"'''' || replace({value}, '''', '''''') || ''''"
    one = f"quote_ident({name}) || '=' || case quote_ident({value}) when {value} then {value} else {quoted} end"
    listed = f"select string_agg({one}, ', ' order by n) from unnest({options}) with ordinality x (o, n)"  # noqa: S608
    return f"replace(pg_get_indexdef({oid}), coalesce(' WITH (' || ({listed}) || ')', ''), '')"
