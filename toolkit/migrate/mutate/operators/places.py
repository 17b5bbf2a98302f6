"""Walking a statement's tree to every place that an operator may change, and changing a copy of it there. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.sql import parse

# Where in a tree: names of fields, and positions in those that repeat.
Path = tuple[str | int, ...]
# Changes the copy in place: the node itself, and the message around it that says of which kind it is.
Edit = Callable[[Any, Any], None]


@dataclass(frozen=True)
class Change:
    """One change of one place; `told` says in a few words what becomes of it."""

    told: str
    edit: Edit


@dataclass(frozen=True)
class Surroundings:
    """`columns`: table → column → type, of all that the folder creates; `condition`: the tree is a condition of
    PL/pgSQL, as a SELECT; `row_of`: the table whose rows NEW and OLD are, "" outside of trigger functions."""

    columns: Mapping[str, Mapping[str, str]]
    condition: bool = False
    row_of: str = ""


@dataclass(frozen=True)
class Place:
    """A node of a tree. `kind` is Postgres' name for it (A_Expr, IndexStmt, …); `node` may be read and not changed.

    `field` is the part of the node around it as which it stands there, `around` the kinds of the nodes around it,
    nearest first. `surroundings` is what is known beyond the tree.
    """

    node: Any
    path: Path
    kind: str
    field: str
    around: tuple[str, ...]
    root: Any
    surroundings: Surroundings

    def changed(self, change: Change) -> Any:
        """A copy of the whole tree with the change made."""
        copy = parse.copied(self.root)
        wrapper = reached = copy
        for step in self.path:
            wrapper = reached
            reached = reached[step] if isinstance(step, int) else getattr(reached, step)
        change.edit(reached, wrapper)
        return copy


def places(root: Any, surroundings: Surroundings) -> Iterator[Place]:
    """Every node of a statement's tree, from the outside in."""

    def walk(message: Any, path: Path, field: str, around: tuple[str, ...]) -> Iterator[Place]:
        kind = message.DESCRIPTOR.name
        if kind != "Node":
            yield Place(message, path, kind, field, around, root, surroundings)
            around = (kind, *around)
        for descriptor, value in message.ListFields():
            if descriptor.message_type is None:
                continue
            named = field if kind == "Node" else descriptor.name
            if descriptor.is_repeated:
                for number, one in enumerate(value):
                    yield from walk(one, (*path, descriptor.name, number), named, around)
            else:
                yield from walk(value, (*path, descriptor.name), named, around)

    yield from walk(root, (), "", ())


def kind_of(node: Any) -> str:
    """The kind of what a Node holds, "" where it is empty."""
    which = node.WhichOneof("node")
    return getattr(node, which).DESCRIPTOR.name if which else ""


def inner(node: Any) -> Any:
    """What a Node holds."""
    return getattr(node, node.WhichOneof("node"))


def strings(nodes: Any) -> tuple[str, ...]:
    """The texts of a list of names."""
    return tuple(one.string.sval for one in nodes if one.WhichOneof("node") == "string")


def column_name(node: Any) -> tuple[str, ...]:
    """The parts of a column reference without a star, or ()."""
    if node.WhichOneof("node") != "column_ref":
        return ()
    fields = node.column_ref.fields
    return strings(fields) if all(one.WhichOneof("node") == "string" for one in fields) else ()


def without(field: str, number: int) -> Edit:
    """Leave one item of a list out."""

    def edit(node: Any, _wrapper: Any) -> None:
        del getattr(node, field)[number]

    return edit


def cleared(*fields: str) -> Edit:
    """Leave parts out."""

    def edit(node: Any, _wrapper: Any) -> None:
        for field in fields:
            node.ClearField(field)

    return edit


def replaced(text: str) -> Edit:
    """Put another expression there."""

    def edit(_node: Any, wrapper: Any) -> None:
        wrapper.CopyFrom(parse.expression(text))

    return edit


def set_to(field: str, value: Any) -> Edit:
    """Give a part another plain value."""

    def edit(node: Any, _wrapper: Any) -> None:
        setattr(node, field, value)

    return edit


def named(field: str, name: str) -> Edit:
    """Give a part another value of its enumeration, by Postgres' name for it."""

    def edit(node: Any, _wrapper: Any) -> None:
        values = node.DESCRIPTOR.fields_by_name[field].enum_type.values_by_name
        setattr(node, field, values[name].number)

    return edit


def negated(field: str) -> Edit:
    """Put NOT around an expression that stands as a part of the node."""

    def edit(node: Any, _wrapper: Any) -> None:
        around = parse.expression("NOT true")
        around.bool_expr.args[0].CopyFrom(getattr(node, field))
        getattr(node, field).CopyFrom(around)

    return edit
