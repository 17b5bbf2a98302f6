"""The catalog queries, by name."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_SCOPE = "nspname !~ '^pg_' and nspname not in ('information_schema', 'supabase_migrations')"
_OWNED = re.compile(r":owned\((?:'(\w+)'|([\w.]+)),\s*([\w.]+)\)")

# Every setting that changes how Postgres renders an expression or a value as text.
PIN_RENDERING = (
    "select set_config('search_path', '', true), set_config('DateStyle', 'ISO, YMD', true),"
    " set_config('IntervalStyle', 'postgres', true), set_config('TimeZone', 'UTC', true),"
    " set_config('extra_float_digits', '1', true), set_config('quote_all_identifiers', 'off', true),"
    " set_config('bytea_output', 'hex', true)"
)


@cache
def queries() -> dict[str, str]:
    """Name → query; each returns (key text, fact jsonb)."""
    text = files("toolkit.sql").joinpath("catalog.sql").read_text()
    _, *sections = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    found = {}
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        found[name] = _OWNED.sub(_owned, body.replace(":scope", _SCOPE)).strip().rstrip(";")
    return found


def _owned(match: re.Match[str]) -> str:
    literal, column, oid = match.groups()
    class_ = f"'pg_catalog.{literal}'::regclass" if literal else column
    return (
        f"exists (select from pg_depend x where x.classid = {class_} and x.objid = {oid} and x.deptype = 'e'"
        " and x.refclassid = 'pg_catalog.pg_extension'::regclass)"
    )
