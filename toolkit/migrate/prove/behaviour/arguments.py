"""Arguments to call any function with: ids of rows that exist, values that columns of the same name hold. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.migrate.rows.inserting import Row
from toolkit.migrate.rows.shapes import Shape
from toolkit.migrate.rows.values import Kind, literal, natural
from toolkit.sql.quoting import quote_identifier

_PREFIX = re.compile(r"^(?:p|in|v|arg|param|i)?_+")
_MOST_COLUMNS = 3
_TEXTS = ("uuid", "42", "2024-01-05", '{"n": 1}', "true")  # texts of several forms, for code that casts its argument


@dataclass(frozen=True)
class Argument:
    """One argument. `name` is '' where the function gives none; `optional`: it has a default."""

    name: str
    type: str
    kind: Kind
    optional: bool
    variadic: bool = False


@dataclass(frozen=True)
class Function:
    """A function or procedure. `arguments` are those that a caller passes."""

    signature: str
    quoted: str
    is_procedure: bool
    returns: str
    strict: bool
    definer: bool
    pins_path: bool
    immutable: bool
    source: str
    definition: str
    oid: int
    arguments: tuple[Argument, ...]

    @property
    def for_triggers(self) -> bool:
        """Whether only a trigger can call it."""
        return self.returns in {"trigger", "event_trigger"}

    @property
    def builds_statements(self) -> bool:
        """Whether it builds statements at run time, from its arguments perhaps."""
        return re.search(r"\bexecute\b", self.source, re.IGNORECASE) is not None

    @property
    def callable(self) -> bool:
        """Whether SQL can call it."""
        pseudo = {"internal", "cstring", "trigger", "event_trigger", "language_handler", "index_am_handler"}
        return not self.for_triggers and not any(argument.type in pseudo for argument in self.arguments)


@dataclass(frozen=True)
class Known:
    """The existing rows, and their tables."""

    shapes: Mapping[str, Shape]
    rows: Mapping[str, Sequence[Row]]


def argument_sets(function: Function, known: Known) -> tuple[str, ...]:
    """Argument lists (SQL, without the parentheses), the most different first: with and without optional arguments, by
    position and by name, from several rows, with other texts, and with NULL."""
    required = [argument for argument in function.arguments if not argument.optional]
    everything = list(function.arguments)
    found = [
        _list(required, [_value(function, a, known, 0) for a in required]),
        _list(everything, [_value(function, a, known, 1) for a in everything], by_name=True),
        _list(everything, [_value(function, a, known, 2) for a in everything]),
        _list(
            required,
            [_value(function, a, known, 3) for a in required],
            by_name=len(required) == len(everything) or not everything[-1].variadic,
        ),
    ]
    for text in _TEXTS:
        replaced = [_as_text(a, text, _value(function, a, known, 0)) for a in everything]
        found.append(_list(everything, replaced))
    if function.builds_statements:
        found += [_list(everything, values) for values in _names(function, known)]
    if not function.strict and everything:
        found.append(_list(everything, [None] * len(everything)))
    return tuple(dict.fromkeys(found))


def _names(function: Function, known: Known) -> list[list[str | None]]:
    """For code that builds statements: names of a table and of its columns, where an argument is a text."""
    tables = sorted(known.shapes, key=lambda table: table.rpartition(".")[2] not in function.source)[:2]
    found: list[list[str | None]] = []
    for table in tables:
        schema, _, bare = table.partition(".")
        for column in [column.name for column in known.shapes[table].columns][:_MOST_COLUMNS]:
            values = []
            for argument in function.arguments:
                name, value = argument.name.lower(), _value(function, argument, known, 0)
                if argument.kind.category == "S" and argument.kind.shape == "base":
                    named_table = re.search(r"tab|tbl|rel|entity", name) is not None
                    value = bare if named_table else schema if "schema" in name else column
                values.append(value)
            found.append(values)
    return found


def _list(arguments: Sequence[Argument], values: Sequence[str | None], *, by_name: bool = False) -> str:
    # Only with the word VARIADIC can a variadic argument be passed by name.
    by_name = by_name and all(argument.name and not argument.variadic for argument in arguments)
    written = []
    for argument, value in zip(arguments, values, strict=True):
        sql = literal(value, argument.type) if value is not None else f"null::{argument.type}"
        if by_name:
            written.append(f"{quote_identifier(argument.name)} => {sql}")
        else:
            written.append(f"variadic {sql}" if argument.variadic else sql)
    return ", ".join(written)


def _as_text(argument: Argument, text: str, otherwise: str | None) -> str | None:
    if argument.kind.category != "S" or argument.kind.shape != "base":
        return otherwise
    return natural(Kind("uuid"), argument.name, 1) if text == "uuid" else text


def _value(function: Function, argument: Argument, known: Known, turn: int) -> str | None:
    name = _PREFIX.sub("", argument.name.lower())
    for values in (_same_name(argument, name, known), _of_mentioned(function, argument, name, known)):
        if values:
            return values[turn % len(values)]
    if argument.kind.shape == "array" and argument.kind.element is not None:
        inner = Argument(argument.name, argument.kind.element.name, argument.kind.element, optional=False)
        ids = _of_mentioned(function, inner, name, known)
        return "{" + ",".join(f'"{value}"' for value in ids[:2] if value) + "}" if ids else "{}"
    return natural(argument.kind, argument.name or "argument", turn + 1)


def _same_name(argument: Argument, name: str, known: Known) -> list[str]:
    """Values of columns of that name and type; for `order_id` also those of the `id` of `order` or `orders`."""
    found: list[str] = []
    for table, shape in known.shapes.items():
        bare = table.rpartition(".")[2].lower()
        for column in shape.columns:
            own = name == column.name.lower() or name in {
                f"{bare}_{column.name}",
                f"{bare.removesuffix('s')}_{column.name}",
            }
            if own and column.kind.name == argument.kind.name and name != "id":
                found += [value for row in known.rows.get(table, ()) if (value := row.values[column.name]) is not None]
    return list(dict.fromkeys(found))


def _of_mentioned(function: Function, argument: Argument, name: str, known: Known) -> list[str]:
    """Keys of the tables that the function's text names, in that order."""
    if argument.kind.name not in {"uuid", "int4", "int8"} or not (name.endswith("id") or argument.kind.name == "uuid"):
        return []
    places = {table: function.source.find(table.rpartition(".")[2]) for table in known.shapes}
    for table in sorted((t for t, place in places.items() if place >= 0), key=lambda t: places[t]):
        shape = known.shapes[table]
        if len(shape.primary_key) == 1 and shape.column(shape.primary_key[0]).kind.name == argument.kind.name:
            values = [row.values[shape.primary_key[0]] for row in known.rows.get(table, ())]
            if values:
                return [value for value in values if value is not None]
    return []
