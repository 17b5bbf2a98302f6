"""Operators that change what a table, an index or a trigger is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.migrate.mutate.operators.operator import Operator
from toolkit.migrate.mutate.operators.places import Change, Place, cleared, named, set_to, without
from toolkit.sql.parse import label

_EVENTS = {"INSERT": 4, "DELETE": 8, "UPDATE": 16}
_BEFORE, _AFTER = 2, 0
_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
_TOLD = {
    "CONSTR_NOTNULL": "NOT NULL",
    "CONSTR_DEFAULT": "a default",
    "CONSTR_CHECK": "a CHECK",
    "CONSTR_UNIQUE": "a unique constraint",
    "CONSTR_PRIMARY": "the primary key",
    "CONSTR_FOREIGN": "a foreign key",
    "CONSTR_EXCLUSION": "an exclusion constraint",
    "CONSTR_GENERATED": "how the column is generated",
    "CONSTR_IDENTITY": "the identity",
}


def _constraints(place: Place) -> Iterator[Change]:
    """A column's own, or those of a table beside its columns."""
    field = {"ColumnDef": "constraints", "CreateStmt": "table_elts", "CreateDomainStmt": "constraints"}[place.kind]
    for number, one in enumerate(getattr(place.node, field)):
        if one.WhichOneof("node") == "constraint":
            kind = label("ConstrType", one.constraint.contype)
            if kind in _TOLD:
                yield Change(f"{_TOLD[kind]} is left out", without(field, number))


def _commands(place: Place) -> Iterator[Change]:
    """One command less of an ALTER TABLE that has several."""
    if len(place.node.cmds) > 1:
        for number in range(len(place.node.cmds)):
            command = place.node.cmds[number].alter_table_cmd
            kind = label("AlterTableType", command.subtype)
            if kind not in {"AT_EnableRowSecurity", "AT_ForceRowSecurity", "AT_ReplicaIdentity"}:
                yield Change("one change of the table is left out", without("cmds", number))


def _foreign(place: Place) -> Iterator[Change]:
    if label("ConstrType", place.node.contype) != "CONSTR_FOREIGN":
        return
    for field, event in (("fk_del_action", "DELETE"), ("fk_upd_action", "UPDATE")):
        now = getattr(place.node, field) or "a"
        if event == "UPDATE" and now == "a":
            continue
        other = "a" if now != "a" else "c"
        yield Change(f"ON {event} {_ACTIONS[now]} becomes {_ACTIONS[other]}", set_to(field, other))
        if now == "c":
            yield Change(f"ON {event} CASCADE becomes SET NULL", set_to(field, "n"))
    if place.node.deferrable:
        yield Change("the foreign key cannot be deferred", cleared("deferrable", "initdeferred"))


def _generated(place: Place) -> Iterator[Change]:
    if label("ConstrType", place.node.contype) == "CONSTR_UNIQUE" and place.node.nulls_not_distinct:
        yield Change("NULLS NOT DISTINCT is left out", set_to("nulls_not_distinct", False))
    if label("ConstrType", place.node.contype) in {"CONSTR_UNIQUE", "CONSTR_PRIMARY"} and len(place.node.keys) > 1:
        for number in range(len(place.node.keys)):
            yield Change("the key has one column less", without("keys", number))


def _index(place: Place) -> Iterator[Change]:
    if place.node.unique:
        yield Change("the index is not unique", set_to("unique", False))
    if place.node.HasField("where_clause"):
        yield Change("the index is of all rows", cleared("where_clause"))
    if len(place.node.index_params) > 1:
        for number in range(len(place.node.index_params)):
            yield Change("the index has one column less", without("index_params", number))
    for number, one in enumerate(place.node.index_params):
        if label("SortByDir", one.index_elem.ordering) == "SORTBY_DESC":

            def ascending(node: Any, _wrapper: Any, number: int = number) -> None:
                named("ordering", "SORTBY_DEFAULT")(node.index_params[number].index_elem, None)

            yield Change("a descending column ascends", ascending)


def _trigger(place: Place) -> Iterator[Change]:
    if place.node.timing in {_BEFORE, _AFTER} and not place.node.isconstraint:
        before = place.node.timing == _BEFORE
        yield Change(
            "BEFORE becomes AFTER" if before else "AFTER becomes BEFORE", set_to("timing", 2 - place.node.timing)
        )
    had = [name for name, bit in _EVENTS.items() if place.node.events & bit]
    if len(had) > 1:
        for name in had:
            yield Change(f"it does not fire for {name}", set_to("events", place.node.events & ~_EVENTS[name]))
    for name, bit in _EVENTS.items():
        if name not in had:
            yield Change(f"it fires for {name} too", set_to("events", place.node.events | bit))
    if place.node.row:
        yield Change("it fires for each statement", set_to("row", False))
    if place.node.columns:
        yield Change("it fires whatever column is set", cleared("columns"))
    if place.node.deferrable:
        yield Change("it cannot be deferred", cleared("deferrable", "initdeferred"))


def _table(place: Place) -> Iterator[Change]:
    if place.node.options:
        yield Change("the storage parameters are left out", cleared("options"))


OPERATORS = (
    Operator(
        "constraint-removed",
        "constraint",
        "A constraint or default is left out",
        "Rows come in that nobody expects, or without a value.",
        ("ColumnDef", "CreateStmt", "CreateDomainStmt"),
        _constraints,
    ),
    Operator(
        "table-change",
        "constraint",
        "One change of a table is left out",
        "A column or constraint is missing.",
        ("AlterTableStmt",),
        _commands,
    ),
    Operator(
        "foreign-key",
        "constraint",
        "The action of a foreign key is another",
        "Rows are left behind, or go with others that they should outlive.",
        ("Constraint",),
        _foreign,
    ),
    Operator(
        "key-columns",
        "constraint",
        "A key has one column less",
        "What may occur twice is refused.",
        ("Constraint",),
        _generated,
    ),
    Operator(
        "index",
        "index",
        "An index is not unique, not partial, or lacks a column",
        "Twins come in, or a query becomes slow.",
        ("IndexStmt",),
        _index,
    ),
    Operator(
        "trigger",
        "trigger",
        "A trigger fires at another time, for other events, or at another level",
        "It sees another row, misses a change, or fires too often.",
        ("CreateTrigStmt",),
        _trigger,
    ),
    Operator(
        "storage",
        "storage",
        "The storage parameters of a table are left out",
        "The table becomes slow, or autovacuum does other than it should.",
        ("CreateStmt",),
        _table,
    ),
)
