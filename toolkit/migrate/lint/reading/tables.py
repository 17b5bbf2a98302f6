"""CREATE TABLE and ALTER TABLE → facts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from toolkit.migrate.lint.reading.facts import AlterTable, Column, CreateTable, ForeignKey, Shape
from toolkit.migrate.lint.reading.findings import At
from toolkit.migrate.lint.reading.reader import Name, Reader, find, has, pieces
from toolkit.migrate.lint.reading.tokens import Tokens

_CONSTRAINTS = ("constraint", "primary", "unique", "foreign", "check", "exclude", "like")
_AFTER_TYPE = (
    "not",
    "null",
    "default",
    "primary",
    "unique",
    "references",
    "check",
    "constraint",
    "generated",
    "collate",
    "deferrable",
    "initially",
    "storage",
    "compression",
)


def create_table(reader: Reader, at: At, *, temporary: bool) -> CreateTable | None:
    """What follows `CREATE [TEMP] TABLE`."""
    if_not_exists = reader.if_exists()
    name = reader.name()
    if name is None:
        return None
    partition_of = reader.name() if reader.take("partition", "of") else None
    inside = reader.parens()
    shape = _shape(inside or ())
    rest = reader.rest
    more = partition_of is not None or has(rest, "inherits") or inside is None or has(inside, "like")
    return CreateTable(
        at, name, replace(shape, others=more), not temporary and name.schema != "pg_temp", if_not_exists, partition_of
    )


def _shape(inside: Tokens) -> Shape:
    shape = Shape()
    for piece in pieces(inside, ","):
        shape = joined(shape, _element(piece))
    return shape


def joined(one: Shape, other: Shape) -> Shape:
    """Both together."""
    return Shape(
        one.columns + other.columns,
        one.primary_key or other.primary_key,
        one.uniques + other.uniques,
        one.foreign_keys + other.foreign_keys,
        one.others or other.others,
    )


def _element(piece: Tokens) -> Shape:
    """A column with its constraints, or a table constraint."""
    if piece[0].word(*_CONSTRAINTS):
        return _constraint(piece)
    reader = Reader(piece)
    name = reader.part()
    if name is None:
        return Shape()
    type_words = []
    while reader.next is not None and not reader.next.word(*_AFTER_TYPE):
        type_words.append(reader.next.text)
        reader.at += 1
    rest = reader.rest
    shape = Shape(columns=(Column(name, "".join(type_words)),))
    if has(rest, "primary", "key"):
        shape = replace(shape, primary_key=(name,))
    if has(rest, "unique"):
        shape = replace(shape, uniques=((name,),))
    if (key := _references(rest, (name,))) is not None:
        shape = replace(shape, foreign_keys=(key,))
    return shape


def _constraint(piece: Tokens) -> Shape:
    reader = Reader(piece)
    if reader.take("constraint"):
        reader.part()
    if reader.take("primary", "key"):
        return Shape(primary_key=_column_list(reader), others=has(reader.rest, "index"))
    if reader.take("unique"):
        reader.take("nulls", "not", "distinct")
        columns = _column_list(reader)
        return Shape(uniques=(columns,) if columns else (), others=not columns)
    if reader.take("foreign", "key"):
        columns = _column_list(reader)
        key = _references(reader.rest, columns)
        return Shape(foreign_keys=(key,) if key else ())
    return Shape()


def _column_list(reader: Reader) -> tuple[str, ...]:
    inside = reader.parens()
    return tuple(piece[0].text for piece in pieces(inside or (), ",") if piece[0].is_name)


def _references(rest: Tokens, columns: tuple[str, ...]) -> ForeignKey | None:
    if (start := find(rest, "references")) is None:
        return None
    reader = Reader(rest[start + 1 :])
    target = reader.name()
    if target is None:
        return None
    tail = reader.rest
    action = ""
    if (delete := find(tail, "on", "delete")) is not None:
        action = " ".join(token.text for token in tail[delete + 2 : delete + 4])
        action = next((a for a in ("cascade", "set null", "set default") if action.startswith(a)), "")
    return ForeignKey(columns, target, action, has(tail, "initially", "deferred"))


def alter_table(reader: Reader, at: At) -> Iterator[AlterTable]:
    """What follows `ALTER TABLE`: one fact an action."""
    if_exists = reader.if_exists()
    if reader.take("all", "in", "tablespace"):
        return
    reader.one_of("only")
    name = reader.name()
    if name is None:
        return
    reader.mark("*")
    for piece in pieces(reader.rest, ","):
        place = At(at.file, piece[0].line)
        yield replace(_action(Reader(piece), name, place), if_exists=if_exists)


def _action(reader: Reader, name: Name, at: At) -> AlterTable:
    if reader.take("add"):
        return _add(reader, name, at)
    if reader.take("drop"):
        what = "constraint" if reader.take("constraint") else "column"
        reader.one_of("column")
        return AlterTable(at, name, f"drop {what}", (reader.if_exists(), reader.part() or "")[1])
    if reader.take("rename"):
        if reader.take("to"):
            return AlterTable(at, name, "rename to", reader.part() or "")
        what = "constraint" if reader.take("constraint") else "column"
        reader.one_of("column")
        old = reader.part() or ""
        return AlterTable(at, name, f"rename {what}", old)
    if reader.take("set", "schema"):
        return AlterTable(at, name, "set schema", reader.part() or "")
    if reader.take("replica", "identity"):
        kind = reader.one_of("full", "nothing", "default") or "index"
        return AlterTable(at, name, f"replica identity {kind}")
    words = []
    while (
        word := reader.one_of(
            "enable",
            "disable",
            "force",
            "no",
            "replica",
            "always",
            "row",
            "level",
            "security",
            "trigger",
            "rule",
            "attach",
            "detach",
            "partition",
        )
    ) is not None:
        words.append(word)
    return AlterTable(at, name, " ".join(words), reader.part() or "")


def _add(reader: Reader, name: Name, at: At) -> AlterTable:
    if reader.next is not None and reader.next.word(*_CONSTRAINTS) and not reader.next.word("like"):
        label = reader.tokens[reader.at + 1].text if reader.next.word("constraint") else ""
        return AlterTable(at, name, "add constraint", label, _constraint(reader.rest))
    reader.one_of("column")
    reader.if_exists()
    shape = _element(reader.rest) if reader.rest else Shape()
    return AlterTable(at, name, "add column", shape.columns[0].name if shape.columns else "", shape)
