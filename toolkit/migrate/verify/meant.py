"""What the applied files say of the state that they mean to leave. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from toolkit.migrate.folder.statements import Statement
from toolkit.sql.bodies import run_by
from toolkit.sql.parse import AstNode, label, nodes


def named_members(statements: Iterable[Statement]) -> dict[str, frozenset[str]]:
    """Publication → the tables that these statements, in this order, leave in it as far as they name them."""
    found: dict[str, set[str]] = {}
    for node in _nodes(statements):
        match node:
            case nodes.CreatePublicationStmt() if tables := _members(node.pubobjects):
                found[node.pubname] = tables
            case nodes.AlterPublicationStmt() if tables := _members(node.pubobjects):
                before = found.setdefault(node.pubname, set())
                action = label("AlterPublicationAction", node.action)
                added, dropped = action == "AP_AddObjects", action == "AP_DropObjects"
                found[node.pubname] = before | tables if added else before - tables if dropped else tables
    return {name: frozenset(tables) for name, tables in found.items()}


def left_unvalidated(statements: Iterable[Statement]) -> frozenset[str]:
    """Constraints that the statements add NOT VALID and never validate: for new rows only, and meant to be."""
    found: set[str] = set()
    for node in _nodes(statements):
        for command in node.cmds if isinstance(node, nodes.AlterTableStmt) else ():
            match command:
                case nodes.AlterTableCmd(def_=nodes.Constraint(skip_validation=True) as constraint):
                    found.add(constraint.conname)
                case nodes.AlterTableCmd() if label("AlterTableType", command.subtype) == "AT_ValidateConstraint":
                    found.discard(command.name)
        match node:
            case nodes.AlterDomainStmt(def_=nodes.Constraint(skip_validation=True) as constraint):
                found.add(constraint.conname)
            case nodes.AlterDomainStmt(subtype="V"):
                found.discard(node.name)
    return frozenset(found)


def _nodes(statements: Iterable[Statement]) -> Iterator[AstNode]:
    return (node for statement in statements if statement.tree is not None for node in run_by(statement.tree))


def _members(objects: Iterable[AstNode]) -> set[str]:
    tables = (one.pubtable.relation for one in objects if isinstance(one, nodes.PublicationObjSpec) and one.pubtable)
    return {f"{table.schemaname or 'public'}.{table.relname}" for table in tables if table is not None}
