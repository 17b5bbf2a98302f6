"""The `postgres_changes` of a join: what each binding asks for. Pure."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reference_server.realtime.changes.filters import FilterError, Predicate, parse_filter
from reference_server.realtime.protocol.inspect_text import inspect_tuples, inspect_value
from reference_server.realtime.protocol.ports import BindingsRejected

ANY = "*"
EVENTS = frozenset({"INSERT", "UPDATE", "DELETE"})
ID_BITS = 27
SELECT_NEEDS_TABLE = (
    "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name."
)
SELECT_NOT_A_LIST = (
    'Error parsing `select` params: expected a list of column name strings, e.g. select: ["col1", "col2"]'
)


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding. `raw` is what the client sent; the reply to the join echoes it plus `id`.

    `event` is INSERT, UPDATE, DELETE or `*`; `schema` and `table` may be `*`; `select` None means
    every column. A binding that can never be served carries the text of its refusal in `problem`, because the
    join itself is answered `ok` and the refusal follows in a system message.
    """

    raw: dict[str, Any]
    id: int
    event: str = ANY
    schema: str = ""
    table: str = ""
    predicates: tuple[Predicate, ...] = ()
    select: tuple[str, ...] | None = None
    problem: str | None = None

    def shown(self) -> str:
        """The binding as error texts quote it."""
        filters = inspect_tuples([predicate.shown() for predicate in self.predicates])
        select = "nil" if self.select is None else inspect_value(list(self.select))
        return (
            f"[event: {self.event}, schema: {self.schema}, table: {self.table}, filters: {filters}, select: {select}]"
        )


def parse_bindings(raw: object) -> tuple[Binding, ...]:
    """Read `config.postgres_changes`; anything but a list, and null entries, mean no bindings.

    Raises BindingsRejected for an entry that is neither an object nor null.
    """
    if not isinstance(raw, list):
        return ()
    bindings = []
    for entry in raw:
        if entry is None:
            continue
        if not isinstance(entry, dict):
            raise BindingsRejected(f"UnknownErrorOnChannel: expected a map, got: {inspect_value(entry)}")
        bindings.append(_read(entry))
    return tuple(bindings)


def binding_id(raw: Mapping[str, Any]) -> int:
    """A number below 2^27, never 0 (clients test its truth), the same for equal bindings everywhere."""
    canonical = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    return zlib.crc32(canonical.encode()) % ((1 << ID_BITS) - 1) + 1


def _read(raw: dict[str, Any]) -> Binding:
    number = binding_id(raw)
    event = raw.get("event")
    event = event.upper() if isinstance(event, str) and event.upper() in EVENTS else ANY
    where = _where(raw)
    if where is None:
        shown = inspect_value(raw)
        return Binding(
            raw,
            number,
            event,
            problem=(
                "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "
                f"{shown}"
            ),
        )
    schema, table = where
    try:
        select = _select(raw.get("select"))
        predicates = parse_filter(raw.get("filter", ""))
    except FilterError as error:
        return Binding(raw, number, event, schema, table, problem=str(error))
    if select is not None and (ANY in (schema, table) or "schema" not in raw):
        return Binding(raw, number, event, schema, table, problem=SELECT_NEEDS_TABLE)
    return Binding(raw, number, event, schema, table, predicates, select)


def _where(raw: Mapping[str, Any]) -> tuple[str, str] | None:
    """Schema and table, or None when the binding names nothing usable."""
    schema, table = raw.get("schema"), raw.get("table")
    if "filter" in raw and not isinstance(raw["filter"], str):
        return None
    if isinstance(schema, str) and isinstance(table, str):
        return schema, table
    if "filter" in raw:  # a filter needs both
        return None
    if isinstance(schema, str) and "table" not in raw:
        return schema, ANY
    if isinstance(table, str) and "schema" not in raw:
        return "public", table
    return None


def _select(raw: object) -> tuple[str, ...] | None:
    if raw is None:
        return None
    if not isinstance(raw, list):
        raise FilterError(SELECT_NOT_A_LIST)
    names = tuple(dict.fromkeys(name for name in raw if isinstance(name, str)))
    return names or None
