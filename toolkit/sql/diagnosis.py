"""The queries of the doctor (diagnosis.sql) and of the monitor (monitoring.sql), by name."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from toolkit.sql.catalog_terms import IDENTITY_TROUBLE, TRIGGER_SILENCE, executors, privileges

CHANNEL = "toolkit_doctor"
MOST_EXAMPLES = 10
_ROLES = "array['anon', 'authenticated', 'service_role']"
_MACROS = {
    ":identity_trouble": IDENTITY_TROUBLE,
    ":trigger_silence": TRIGGER_SILENCE,
    ":executors": executors(_ROLES),
    ":privileges": privileges(_ROLES, "'SELECT', 'INSERT', 'UPDATE', 'DELETE'", of_any_column=True),
    ":no_probe": r"s.user_id not like 'toolkit\_probe\_%'",
    # What cleanup_old_events keeps of a process that has ended.
    ":kept": "('process_created', 'generation_completed', 'generation_cancelled', 'generation_error')",
    # Generations over the legacy WebSocket run without tasks.
    ":not_legacy": "coalesce(s.process_metadata ->> 'transport', '') <> 'websocket'",
    ":task": "'task ' || t.id || ' (' || t.task_type || ') of process ' || t.process_id",
}
_COUNTED = (
    "with bad as materialized (\n{rows}\n)\nselect (select count(*)::int from bad) as count, "
    "(select coalesce(array_agg(line), '{{}}') from (select line from bad order by 1 limit {most}) few) as examples"
)


@cache
def queries() -> dict[str, str]:
    """Name → query. One that lists violations returns a row of `count` and `examples` (text[])."""
    return _read("diagnosis.sql")


@cache
def monitoring() -> dict[str, str]:
    """Name → query of the monitor."""
    return _read("monitoring.sql")


def _read(file: str) -> dict[str, str]:
    text = files("toolkit.sql").joinpath(file).read_text()
    _, *parts = re.split(r"^-- (name|rows): (\w+)$", text, flags=re.MULTILINE)
    found = {}
    for kind, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        query = re.sub(r":[a-z]\w+(?<!:)", lambda m: _MACROS.get(m[0], m[0]), body).strip().rstrip(";")
        found[name] = _COUNTED.format(rows=query, most=MOST_EXAMPLES) if kind == "rows" else query
    return found
