"""Whose a schema is: Postgres' own, the migration history's, the platform's, or the user's. The one place that says it.

Queries, in Python and in files, name the conditions below and are spelt out when they are read:

    :user_schema(n.nspname)        neither Postgres' own nor the migration history's
    :project_schema(n.nspname)     a user schema that is not the platform's either
    :platform_schema(n.nspname)    one of PLATFORM_SCHEMAS
    :postgres_schema(n.nspname)    holds what Postgres itself is made of
    :user_role(r.rolname)          no predefined role of Postgres
    :in_extension(pg_class, c.oid) belongs to an extension
    :project_table(n.nspname, c.oid) in a project schema, or a table of the platform's on which the project builds
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from toolkit.sql.quoting import quote_literal

HISTORY = "supabase_migrations"
"""Where the history and the ledger of migrations are kept."""

# A new project's own, and what its extensions and the local stack add later.
PLATFORM_SCHEMAS = (
    "_analytics",
    "_realtime",
    "_supavisor",
    "auth",
    "cron",
    "extensions",
    "graphql",
    "graphql_public",
    "net",
    "pgbouncer",
    "pgmq",
    "pgmq_public",
    "pgsodium",
    "pgsodium_masks",
    "pgtle",
    "realtime",
    "repack",
    "storage",
    "supabase_functions",
    "tiger",
    "tiger_data",
    "topology",
    "vault",
)
MADE_BY_EXTENSION = {
    "cron": "pg_cron",
    "net": "pg_net",
    "pgmq": "pgmq",
    "pgtle": "pg_tle",
    "tiger": "postgis_tiger_geocoder",
    "topology": "postgis",
}
"""Schemas of the platform that are there once the extension is."""

_POSTGRES = ("pg_catalog", "information_schema")
# Every name that begins so is kept for Postgres: its catalog, TOAST, temporary schemas, predefined roles.
_RESERVED = "pg_"


def is_user_schema(name: str, *, without: Iterable[str] = ()) -> bool:
    """Whether the schema is neither Postgres' own, nor the migration history's, nor one of `without`."""
    return not name.startswith(_RESERVED) and name not in {*_POSTGRES, HISTORY, *without}


def user_schema(column: str, *, without: Iterable[str] = ()) -> str:
    """The same as a condition in SQL on a column of names."""
    others = [name for name in _POSTGRES if not name.startswith(_RESERVED)]
    return f"({column} !~ '^{_RESERVED}' and {column} not in ({_listed([*others, HISTORY, *without])}))"


def in_extension(catalog: str, oid: str) -> str:
    """Whether an extension owns the object: `catalog` is the expression of its system catalog, `oid` its number."""
    return (
        f"exists (select from pg_catalog.pg_depend x where x.classid = {catalog} and x.objid = {oid}"
        " and x.deptype = 'e' and x.refclassid = 'pg_catalog.pg_extension'::regclass)"
    )


# Tables of the platform to which a project has a foreign key, a trigger with a function of its own, or a policy; and
# those that they in turn refer to. In a new project there are none.
_BUILT_ON = """
    with recursive built_on (oid) as (
      (
        select k.confrelid from pg_catalog.pg_constraint k
          join pg_catalog.pg_class of on of.oid = k.conrelid join pg_catalog.pg_namespace s on s.oid = of.relnamespace
          where k.contype = 'f' and :project_schema(s.nspname)
        union select t.tgrelid from pg_catalog.pg_trigger t
          join pg_catalog.pg_proc f on f.oid = t.tgfoid join pg_catalog.pg_namespace s on s.oid = f.pronamespace
          where not t.tgisinternal and :project_schema(s.nspname)
        union select polrelid from pg_catalog.pg_policy
      )
      union
      select k.confrelid from pg_catalog.pg_constraint k join built_on on built_on.oid = k.conrelid
        where k.contype = 'f'
    )
    select oid from built_on
"""


def project_table(schema: str, oid: str) -> str:
    """Whether the table is the project's, or one of the platform's on which the project builds."""
    mine = user_schema(schema, without=PLATFORM_SCHEMAS)
    return f"({mine} or {user_schema(schema)} and {oid} in ({spelt_out(_BUILT_ON)}))"


_CONDITIONS: dict[str, Callable[[str], str]] = {
    "user_schema": user_schema,
    "project_schema": lambda column: user_schema(column, without=PLATFORM_SCHEMAS),
    "platform_schema": lambda column: f"{column} in ({_listed(PLATFORM_SCHEMAS)})",
    "postgres_schema": lambda column: f"{column} in ({_listed(_POSTGRES)})",
    "user_role": lambda column: f"{column} !~ '^{_RESERVED}'",
}
_NAMED = re.compile(rf"(?<!:):({'|'.join(_CONDITIONS)})\(([\w.]+)\)")
_IN_EXTENSION = re.compile(r"(?<!:):in_extension\(([\w.:]+), ([\w.]+)\)")

_PROJECT_TABLE = re.compile(r"(?<!:):project_table\(([\w.]+), ([\w.]+)\)")


def spelt_out(query: str) -> str:
    """A query with its named conditions as SQL."""
    named = _NAMED.sub(lambda match: _CONDITIONS[match[1]](match[2]), query)
    named = _PROJECT_TABLE.sub(lambda match: project_table(match[1], match[2]), named)
    return _IN_EXTENSION.sub(_in_extension, named)


def _in_extension(match: re.Match[str]) -> str:
    catalog, oid = match.groups()
    return in_extension(f"'pg_catalog.{catalog}'::regclass" if catalog.startswith(_RESERVED) else catalog, oid)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(quote_literal(name) for name in names)
