"""COPY … FROM STDIN as dumps hold it: into which table its rows go, and how they are written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.sql.parse import AstNode, nodes, strings

# What asyncpg can say when it sends the rows. Binary rows are no text, and the others belong to later servers.
_OPTIONS = frozenset(
    {"format", "freeze", "delimiter", "null", "header", "quote", "escape", "encoding", "force_not_null", "force_null"}
)


@dataclass(frozen=True)
class CopyInto:
    """The table (schema None: by search_path), its columns (None: all), and the options by asyncpg's names."""

    schema: str | None
    table: str
    columns: tuple[str, ...] | None
    options: Mapping[str, object] = field(default_factory=dict)


def copy_into(node: AstNode | None) -> CopyInto:
    """What a COPY … FROM STDIN asks for. Raises ValueError with what cannot be passed on, as a clause."""
    if not isinstance(node, nodes.CopyStmt) or node.relation is None:
        raise ValueError("it is no COPY into a table")
    if node.where_clause is not None:
        raise ValueError("COPY … FROM STDIN with WHERE cannot be sent")
    if node.relation.catalogname:
        raise ValueError("COPY … FROM STDIN into a table named with its database cannot be sent")
    options: dict[str, object] = {}
    for option in node.options:
        if not isinstance(option, nodes.DefElem) or option.defname not in _OPTIONS:
            name = option.defname if isinstance(option, nodes.DefElem) else "…"
            raise ValueError(f"COPY … FROM STDIN with the option {name} cannot be sent")
        options[option.defname] = _value(option.arg)
    if options.get("format") not in {None, "text", "csv"}:
        raise ValueError(f"COPY … FROM STDIN in the format {options['format']} cannot be sent")
    columns = strings(node.attlist)
    return CopyInto(node.relation.schemaname or None, node.relation.relname, columns or None, options)


def _value(argument: AstNode | None) -> object:
    match argument:
        case None:
            return True
        case nodes.String(sval=text):
            return text
        case nodes.Boolean(boolval=truth):
            return truth
        case nodes.Integer(ival=number):
            return number
        case nodes.List(items=items):
            return strings(items)
    raise ValueError("COPY … FROM STDIN with an option of that kind cannot be sent")
