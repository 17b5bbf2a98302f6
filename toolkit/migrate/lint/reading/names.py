"""Names as the catalog knows them, out of the parse tree. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.sql.parse import AstNode, nodes, strings
from toolkit.sql.quoting import spelt

_SPELLINGS = {
    "int4": "integer",
    "int8": "bigint",
    "int2": "smallint",
    "bool": "boolean",
    "float8": "double precision",
    "float4": "real",
    "varchar": "character varying",
    "bpchar": "character",
    "varbit": "bit varying",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timetz": "time with time zone",
    "time": "time without time zone",
}


@dataclass(frozen=True, order=True)
class Name:
    """The name of an object; its schema is `public` where none is written."""

    schema: str
    name: str

    def __str__(self) -> str:
        return spelt(self.schema, self.name)


def of_parts(parts: Sequence[str]) -> Name:
    """A name from its parts; a database before the schema is dropped."""
    return Name(parts[-2] if len(parts) > 1 else "public", parts[-1])


def of_relation(relation: nodes.RangeVar) -> Name:
    """The name of a table, view or sequence."""
    return Name(relation.schemaname or "public", relation.relname)


def of_object(node: AstNode) -> Name | None:
    """The name of whatever a DROP, GRANT or RENAME names."""
    match node:
        case nodes.RangeVar():
            return of_relation(node)
        case nodes.String():
            return Name("public", node.sval)
        case nodes.List(items=items):
            return of_parts(strings(items))
        case nodes.TypeName(names=names):
            return of_parts(strings(names))
        case nodes.ObjectWithArgs(objname=names):
            return of_parts(strings(names))
    return None


def of_type(type_name: nodes.TypeName | None) -> str:
    """A type's one spelling: aliases replaced, lengths and the schemas public and pg_catalog left out."""
    if type_name is None:
        return ""
    parts = strings(type_name.names)
    known = parts[-2:-1] in {("pg_catalog",), ("public",), ()}
    plain = _SPELLINGS.get(parts[-1], parts[-1]) if known else ".".join(parts)
    return plain + ("%type" if type_name.pct_type else "") + ("[]" if type_name.array_bounds else "")


def of_roles(roles: Sequence[AstNode]) -> tuple[str, ...]:
    """Roles by name, PUBLIC as `public`; what an empty list stands for is left out."""
    named = (role for role in roles if isinstance(role, nodes.RoleSpec) and role.location >= 0)
    return tuple(role.rolename or "public" for role in named)
