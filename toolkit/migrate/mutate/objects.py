"""What statements are of, and which columns a folder's tables have. Pure."""

from __future__ import annotations

from typing import Any

from toolkit.migrate.folder.files import Folder
from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.mutate.operators.places import inner, strings
from toolkit.sql import parse
from toolkit.sql.bodies import run_by
from toolkit.sql.parse import label, nodes


def named(statement: Statement) -> str:
    """The object that a statement makes or changes: `function public.f`, `policy p on public.t`, `table public.t`."""
    try:
        node = inner(parse.bare(statement.body))
    except parse.Unreadable:
        return statement.verb.lower()
    kind = node.DESCRIPTOR.name
    match kind:
        case "CreateFunctionStmt":
            return f"function {_qualified(strings(node.funcname))}"
        case "AlterFunctionStmt":
            return f"function {_qualified(strings(node.func.objname))}"
        case "CreateStmt" | "AlterTableStmt":
            return f"table {_table(node.relation)}"
        case "IndexStmt":
            return f"index {node.idxname or '(unnamed)'} on {_table(node.relation)}"
        case "CreateTrigStmt":
            return f"trigger {node.trigname} on {_table(node.relation)}"
        case "CreatePolicyStmt" | "AlterPolicyStmt":
            return f"policy {node.policy_name} on {_table(node.table)}"
        case "ViewStmt":
            return f"view {_table(node.view)}"
        case "CreatePublicationStmt" | "AlterPublicationStmt":
            return f"publication {node.pubname}"
        case "GrantStmt":
            return f"grants on {_granted(node)}"
        case "InsertStmt" | "UpdateStmt" | "DeleteStmt":
            return f"rows of {_table(node.relation)}"
        case "CreateDomainStmt":
            return f"domain {_qualified(strings(node.domainname))}"
        case "CreateEnumStmt" | "AlterEnumStmt":
            return f"type {_qualified(strings(node.type_name))}"
        case "CommentStmt":
            return "a comment"
        case "DoStmt":
            return f"DO block on line {statement.line}"
    return " ".join(statement.body.split()[:4]).lower()


def _granted(node: Any) -> str:
    for one in node.objects:
        match one.WhichOneof("node"):
            case "range_var":
                return _table(one.range_var)
            case "object_with_args":
                return _qualified(strings(one.object_with_args.objname))
            case "string":
                return str(one.string.sval)
    return label("ObjectType", node.objtype).removeprefix("OBJECT_").lower()


def _table(relation: Any) -> str:
    return f"{relation.schemaname or 'public'}.{relation.relname}"


def _qualified(parts: tuple[str, ...]) -> str:
    return ".".join(parts if len(parts) > 1 else ("public", *parts))


def columns_of(folder: Folder) -> dict[str, dict[str, str]]:
    """Table → column → type, as the files write it, of every table that they create."""
    found: dict[str, dict[str, str]] = {}
    for migration in folder.migrations:
        for statement in migration.up.statements:
            for node in run_by(statement.tree) if statement.tree is not None else ():
                match node:
                    case nodes.CreateStmt():
                        table = found.setdefault(_table(node._pb.relation), {})
                        for one in node._pb.table_elts:
                            if one.WhichOneof("node") == "column_def":
                                table[one.column_def.colname] = _type(one.column_def.type_name)
                    case nodes.AlterTableStmt():
                        for one in node._pb.cmds:
                            column = getattr(one.alter_table_cmd, "def")
                            if column.WhichOneof("node") == "column_def" and column.column_def.HasField("type_name"):
                                table = found.setdefault(_table(node._pb.relation), {})
                                table.setdefault(column.column_def.colname, _type(column.column_def.type_name))
    return found


def _type(type_name: Any) -> str:
    return ".".join(strings(type_name.names)[-1:]) + "[]" * len(type_name.array_bounds)


def rows_of(folder: Folder) -> dict[str, str]:
    """Trigger function → the table whose rows it sees, where it is one."""
    found: dict[str, set[str]] = {}
    for migration in folder.migrations:
        for statement in migration.up.statements:
            if isinstance(statement.node, nodes.CreateTrigStmt):
                trigger = statement.node._pb
                found.setdefault(_qualified(strings(trigger.funcname)), set()).add(_table(trigger.relation))
    return {function: next(iter(tables)) for function, tables in found.items() if len(tables) == 1}
