"""CREATE TABLE and ALTER TABLE → facts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from toolkit.migrate.lint.reading.facts import AlterTable, AlterView, Column, CreateTable, Fact, ForeignKey, Shape
from toolkit.migrate.lint.reading.findings import At
from toolkit.migrate.lint.reading.names import of_relation, of_type
from toolkit.sql import parse
from toolkit.sql.parse import AstNode, Piece, label, nodes, strings

_ON_DELETE = {"c": "cascade", "n": "set null", "d": "set default"}
_IDENTITIES = {"f": "full", "n": "nothing", "d": "default", "i": "index"}
_ACTIONS = {
    "AT_AddColumn": "add column",
    "AT_AddConstraint": "add constraint",
    "AT_DropColumn": "drop column",
    "AT_DropConstraint": "drop constraint",
    "AT_EnableRowSecurity": "enable row level security",
    "AT_DisableRowSecurity": "disable row level security",
    "AT_ForceRowSecurity": "force row level security",
    "AT_NoForceRowSecurity": "no force row level security",
    "AT_ReplicaIdentity": "replica identity",
}


def create_table(node: nodes.CreateStmt, at: At) -> CreateTable | None:
    """CREATE TABLE; what it copies from other tables is not known."""
    if node.relation is None:
        return None
    partition = node.partbound is not None
    parents = [parent for parent in node.inh_relations if isinstance(parent, nodes.RangeVar)]
    shape = shape_of(node.table_elts)
    more = shape.others or bool(parents) or node.of_typename is not None
    return CreateTable(
        at,
        of_relation(node.relation),
        replace(shape, others=more),
        is_kept(node.relation),
        node.if_not_exists,
        of_relation(parents[0]) if partition and parents else None,
    )


def create_table_as(node: nodes.CreateTableAsStmt, at: At) -> CreateTable | None:
    """CREATE TABLE … AS: its columns are those of a query, which nobody knows here."""
    made = node.into.rel if node.into is not None else None
    if made is None:
        return None
    return CreateTable(at, of_relation(made), Shape(others=True), is_kept(made), node.if_not_exists, None)


def is_kept(relation: nodes.RangeVar) -> bool:
    """Whether it stays when the session ends."""
    return relation.relpersistence != "t" and relation.schemaname != "pg_temp"


def shape_of(elements: Iterable[AstNode]) -> Shape:
    """Columns and constraints together."""
    shape = Shape()
    for element in elements:
        match element:
            case nodes.ColumnDef():
                shape = joined(shape, _column(element))
            case nodes.Constraint():
                shape = joined(shape, _constraint(element, ()))
            case nodes.TableLikeClause():
                shape = replace(shape, others=True)
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


def _column(node: nodes.ColumnDef) -> Shape:
    shape = Shape(columns=(Column(node.colname, of_type(node.type_name)),))
    for constraint in node.constraints:
        if isinstance(constraint, nodes.Constraint):
            shape = joined(shape, _constraint(constraint, (node.colname,)))
    return shape


def _constraint(node: nodes.Constraint, column: tuple[str, ...]) -> Shape:
    """A constraint of a table, or of a column, which it then is about."""
    columns = strings(node.keys) or column
    match label("ConstrType", node.contype):
        case "CONSTR_PRIMARY":
            return Shape(primary_key=columns, others=bool(node.indexname))
        case "CONSTR_UNIQUE":
            return Shape(uniques=(columns,) if columns else (), others=not columns)
        case "CONSTR_FOREIGN" if node.pktable is not None:
            action = _ON_DELETE.get(node.fk_del_action, "")
            key = ForeignKey(strings(node.fk_attrs) or column, of_relation(node.pktable), action, node.initdeferred)
            return Shape(foreign_keys=(key,))
    return Shape()


def alter_table(piece: Piece, node: nodes.AlterTableStmt, at: At) -> Iterator[Fact]:
    """ALTER TABLE, ALTER VIEW and the like: one fact an action, on the line where that stands."""
    if node.relation is None:
        return
    name, is_table = of_relation(node.relation), label("ObjectType", node.objtype) == "OBJECT_TABLE"
    commands = [command for command in node.cmds if isinstance(command, nodes.AlterTableCmd)]
    for command, line in zip(commands, _lines(piece, node.relation, len(commands)), strict=True):
        kind = label("AlterTableType", command.subtype)
        if kind in {"AT_SetRelOptions", "AT_ResetRelOptions"}:
            yield AlterView(at, name, invoker(_items(command.def_), reset=kind == "AT_ResetRelOptions"))
        if is_table:
            fact = AlterTable(At(at.file, line), name, _ACTIONS.get(kind, ""), command.name, if_exists=node.missing_ok)
            yield _with_definition(fact, command.def_)


def _with_definition(fact: AlterTable, definition: AstNode | None) -> AlterTable:
    match definition:
        case nodes.ColumnDef() if fact.action == "add column":
            return replace(fact, subject=definition.colname, shape=_column(definition))
        case nodes.Constraint() if fact.action == "add constraint":
            return replace(fact, subject=definition.conname, shape=_constraint(definition, ()))
        case nodes.ReplicaIdentityStmt():
            return replace(fact, action=f"replica identity {_IDENTITIES[definition.identity_type]}")
    return fact


def _items(node: AstNode | None) -> list[AstNode]:
    return node.items if isinstance(node, nodes.List) else []


def invoker(options: Sequence[AstNode], *, reset: bool = False) -> bool | None:
    """What a view's options say about security_invoker; None for nothing."""
    for option in options:
        if isinstance(option, nodes.DefElem) and option.defname == "security_invoker":
            match option.arg:
                case nodes.String(sval=text):
                    return text.lower() in {"true", "on", "yes", "1"}
                case nodes.Integer(ival=number):
                    return number == 1
            return not reset
    return None


def _lines(piece: Piece, relation: nodes.RangeVar, count: int) -> list[int]:
    """The lines on which the actions of an ALTER TABLE begin; the tree does not know them."""
    tokens = [t for t in parse.tokens(piece.source.data[relation.location : piece.end]) if not t.is_comment]
    n = 0
    while n + 2 < len(tokens) and tokens[n + 1].kind == "ASCII_46":
        n += 2
    n += 1
    n += n < len(tokens) and tokens[n].kind == "ASCII_42"  # the `*` behind a table's name
    starts, depth = [n], 0
    for position in range(n, len(tokens)):
        depth += (tokens[position].kind == "ASCII_40") - (tokens[position].kind == "ASCII_41")
        if depth == 0 and tokens[position].kind == "ASCII_44":
            starts.append(position + 1)
    if len(starts) != count or starts[-1] >= len(tokens):
        return [piece.line(relation.location)] * count
    return [piece.line(relation.location + tokens[start].start) for start in starts]
