"""One statement's tree → the facts it states. Pure.

What no rule asks about states nothing. Statements inside a DO block run as much as those outside, so they state facts
too; what a DO block or a function builds as text and executes does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toolkit.migrate.lint.reading.code import literals, mentions, relations
from toolkit.migrate.lint.reading.facts import (
    AlterFunction,
    AlterPolicy,
    AlterTable,
    Create,
    CreateIndex,
    Drop,
    DropPolicy,
    Dynamic,
    EnumValue,
    Fact,
    Policy,
    Publication,
    Rename,
    Trigger,
    Unread,
    View,
    Write,
)
from toolkit.migrate.lint.reading.findings import At
from toolkit.migrate.lint.reading.names import Name, of_object, of_parts, of_relation, of_roles
from toolkit.migrate.lint.reading.routines import (
    ROUTINES,
    alter_function,
    arguments_of,
    create_function,
    default_privileges,
    privileges,
)
from toolkit.migrate.lint.reading.tables import alter_table, create_table, create_table_as, invoker, is_kept
from toolkit.sql.bodies import Body, body_of
from toolkit.sql.parse import AstNode, Piece, label, nodes, strings

_BEFORE, _INSTEAD = 2, 64
_EVENTS = {"insert": 4, "delete": 8, "update": 16, "truncate": 32}
# Postgres' names for kinds of objects, where they are not ours.
_KINDS = {"matview": "materialized view", "foreign server": "server", "statistic ext": "statistics"}
_ACTIONS = {"AP_AddObjects": "add", "AP_DropObjects": "drop", "AP_SetObjects": "set"}


def facts_of(piece: Piece, file: str) -> Iterator[Fact]:
    """Every fact that a statement states, those of a DO block's statements included."""
    node, at = piece.node, At(file, piece.line(piece.start))
    match node:
        case nodes.DoStmt():
            yield from _do(piece, at)
        case nodes.CreateStmt():
            yield from _given(create_table(node, at))
        case nodes.CreateFunctionStmt():
            body = body_of(piece)
            yield create_function(node, body, at)
            yield from _unread(body, file)
        case nodes.AlterTableStmt():
            yield from alter_table(piece, node, at)
        case nodes.AlterFunctionStmt():
            yield from alter_function(node, at)
        case nodes.GrantStmt():
            yield from privileges(node, at)
        case nodes.AlterDefaultPrivilegesStmt():
            yield from default_privileges(node, at)
        case nodes.DropStmt():
            yield from _drop(node, at)
        case nodes.RenameStmt() | nodes.AlterObjectSchemaStmt():
            yield from _given(_moved(node, at))
        case nodes.CreatePublicationStmt() | nodes.AlterPublicationStmt():
            yield _publication(node, at)
        case nodes.InsertStmt() | nodes.UpdateStmt() | nodes.DeleteStmt() | nodes.TruncateStmt():
            yield from _writes(node, at)
        case nodes.CreatePolicyStmt() | nodes.AlterPolicyStmt():
            yield from _given(_policy(piece, node, at))
        case _:
            yield from _given(_created(piece, node, at))


def _given(fact: Fact | None) -> tuple[Fact, ...]:
    return () if fact is None else (fact,)


def _do(piece: Piece, at: At) -> Iterator[Fact]:
    body = body_of(piece)
    for statement in body.ran:
        yield from facts_of(statement, at.file)
    yield from _unread(body, at.file)
    if body.executes:
        yield Dynamic(at, tuple(text.lower() for text in literals(body.pieces)), frozenset(mentions(body.pieces)))
    elif body.trouble is not None:
        yield Dynamic(at, (piece.source.text(piece.start, piece.end).lower(),), frozenset())


def _unread(body: Body, file: str) -> Iterator[Fact]:
    if body.trouble is not None:
        line, why = body.trouble
        yield Unread(At(file, line), why, body=True)


def _created(piece: Piece, node: AstNode, at: At) -> Fact | None:
    """CREATE of what is no table, function, policy or publication."""
    match node:
        case nodes.IndexStmt():
            return _index(node, at)
        case nodes.CreateTrigStmt():
            return _trigger(node, at)
        case nodes.ViewStmt(view=nodes.RangeVar() as view, query=AstNode() as query) if is_kept(view):
            reads = relations((piece.under(query),))
            return View(at, of_relation(view), False, invoker(node.options) is True, node.replace, _sorted(reads))
        case nodes.CreateTableAsStmt(into=nodes.IntoClause(rel=nodes.RangeVar() as view), query=AstNode() as query):
            if label("ObjectType", node.objtype) != "OBJECT_MATVIEW":
                return create_table_as(node, at)
            return View(at, of_relation(view), True, False, False, _sorted(relations((piece.under(query),))))
        case nodes.AlterEnumStmt(old_val=""):
            return EnumValue(at, of_parts(strings(node.type_name)), node.new_val)
    kind, name = _plain_object(node)
    if name is None:
        return None
    replaces = isinstance(node, nodes.DefineStmt) and node.replace
    return Create(at, kind, name, replaces, isinstance(node, nodes.CreateSchemaStmt) and node.if_not_exists)


def _plain_object(node: AstNode) -> tuple[str, Name | None]:
    """An object that no rule knows more of than its kind and its name."""
    match node:
        case nodes.CreateSchemaStmt() if node.schemaname:
            return "schema", Name("public", node.schemaname)
        case nodes.CreateSeqStmt(sequence=nodes.RangeVar() as sequence) if is_kept(sequence):
            return "sequence", of_relation(sequence)
        case nodes.CompositeTypeStmt(typevar=nodes.RangeVar() as made):
            return "type", of_relation(made)
        case nodes.CreateEnumStmt() | nodes.CreateRangeStmt():
            return "type", of_parts(strings(node.type_name))
        case nodes.CreateDomainStmt():
            return "domain", of_parts(strings(node.domainname))
        case nodes.CreateExtensionStmt():
            return "extension", Name("public", node.extname)
        case nodes.CreateForeignServerStmt():
            return "server", Name("public", node.servername)
        case nodes.CreateEventTrigStmt():
            return "event trigger", Name("public", node.trigname)
        case nodes.CreateForeignTableStmt(base_stmt=nodes.CreateStmt(relation=nodes.RangeVar() as table)):
            return "foreign table", of_relation(table)
        case nodes.CreateStatsStmt() if node.defnames:
            return "statistics", of_parts(strings(node.defnames))
        case nodes.DefineStmt() if (kind := _kind(node.kind)) in {"type", "aggregate", "collation"}:
            return kind, of_parts(strings(node.defnames))
    return "", None


def _kind(value: int) -> str:
    kind = label("ObjectType", value).removeprefix("OBJECT_").replace("_", " ").lower()
    return _KINDS.get(kind, kind)


def _sorted(names: set[Name]) -> tuple[Name, ...]:
    return tuple(sorted(names))


def _index(node: nodes.IndexStmt, at: At) -> CreateIndex | None:
    if node.relation is None:
        return None
    table = of_relation(node.relation)
    elements = [one for one in node.index_params if isinstance(one, nodes.IndexElem)]
    plain = all(map(_is_plain, elements)) and not node.index_including_params
    columns = tuple(one.name for one in elements) if plain else None
    name = Name(table.schema, node.idxname) if node.idxname else None
    partial = node.where_clause is not None
    return CreateIndex(at, name, table, node.unique, columns, partial, node.access_method)


def _is_plain(element: nodes.IndexElem) -> bool:
    ordered = label("SortByDir", element.ordering) not in {"SORTBY_DEFAULT", "SORT_BY_DIR_UNDEFINED"}
    nulls = label("SortByNulls", element.nulls_ordering) not in {"SORTBY_NULLS_DEFAULT", "SORT_BY_NULLS_UNDEFINED"}
    return bool(element.name) and not (element.collation or element.opclass or ordered or nulls)


def _policy(piece: Piece, node: nodes.CreatePolicyStmt | nodes.AlterPolicyStmt, at: At) -> Fact | None:
    if node.table is None:
        return None
    using = (piece.under(node.qual),) if node.qual is not None else None
    check = (piece.under(node.with_check),) if node.with_check is not None else None
    table, roles = of_relation(node.table), of_roles(node.roles)
    if isinstance(node, nodes.AlterPolicyStmt):
        return AlterPolicy(at, node.policy_name, table, roles, using, check)
    return Policy(at, node.policy_name, table, node.cmd_name, roles, using, check, node.permissive)


def _publication(node: nodes.CreatePublicationStmt | nodes.AlterPublicationStmt, at: At) -> Publication:
    objects = [one for one in node.pubobjects if isinstance(one, nodes.PublicationObjSpec)]
    tables = tuple(of_relation(o.pubtable.relation) for o in objects if o.pubtable and o.pubtable.relation)
    operations = None
    for option in node.options:
        match option:
            case nodes.DefElem(defname="publish", arg=nodes.String(sval=text)):
                operations = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    if isinstance(node, nodes.CreatePublicationStmt):
        everything = node.for_all_tables or any(one.pubtable is None for one in objects)
        return Publication(at, node.pubname, "create", tables, everything, operations)
    action = _ACTIONS[label("AlterPublicationAction", node.action)] if objects else "options"
    return Publication(at, node.pubname, action, tables, operations=operations)


def _trigger(node: nodes.CreateTrigStmt, at: At) -> Trigger | None:
    if node.relation is None:
        return None
    timing = {_BEFORE: "before", _INSTEAD: "instead"}.get(node.timing, "after")
    events = tuple(event for event, bit in _EVENTS.items() if node.events & bit)
    return Trigger(at, node.trigname, of_relation(node.relation), timing, events, of_parts(strings(node.funcname)))


def _moved(node: nodes.RenameStmt | nodes.AlterObjectSchemaStmt, at: At) -> Fact | None:
    """A new name, or another schema."""
    if isinstance(node, nodes.AlterObjectSchemaStmt):
        if _kind(node.object_type) != "table" or node.relation is None:
            return None
        return AlterTable(at, of_relation(node.relation), "set schema", node.newschema, if_exists=node.missing_ok)
    kind, named = _kind(node.rename_type), node.relation or node.object
    name = of_object(named) if named is not None else None
    if name is None:
        return None
    if kind == "policy":
        return AlterPolicy(at, node.subname, name, (), None, None, node.newname)
    if kind in ROUTINES:
        arguments = arguments_of(named) if isinstance(named, nodes.ObjectWithArgs) else None
        return AlterFunction(at, name, arguments, None, None, node.newname)
    if kind in {"view", "materialized view"}:
        return Rename(at, "view", name, node.newname)
    if kind == "publication":
        return Publication(at, name.name, "rename")
    if kind == "table":
        return AlterTable(at, name, "rename to", node.newname, if_exists=node.missing_ok)
    if kind in {"column", "tabconstraint"} and _kind(node.relation_type) in {"table", "access method"}:
        what = "column" if kind == "column" else "constraint"
        return AlterTable(at, name, f"rename {what}", node.subname, if_exists=node.missing_ok)
    return None


def _drop(node: nodes.DropStmt, at: At) -> Iterator[Fact]:
    kind, cascade = _kind(node.remove_type), label("DropBehavior", node.behavior) == "DROP_CASCADE"
    if kind in {"policy", "trigger", "rule"}:
        for one in node.objects:
            *table, last = strings(one.items) if isinstance(one, nodes.List) else ("",)
            if table and kind == "policy":
                yield DropPolicy(at, last, of_parts(table), node.missing_ok)
            elif table:
                yield Drop(at, kind, (Name("public", last),), node.missing_ok, cascade, of_parts(table))
        return
    names = tuple(name for one in node.objects if (name := of_object(one)) is not None)
    if kind == "publication":
        for name in names:
            yield Publication(at, name.name, "gone")
    yield Drop(at, kind, names, node.missing_ok, cascade)


def _writes(
    node: nodes.InsertStmt | nodes.UpdateStmt | nodes.DeleteStmt | nodes.TruncateStmt, at: At
) -> Iterator[Write]:
    tables: Sequence[AstNode | None] = node.relations if isinstance(node, nodes.TruncateStmt) else (node.relation,)
    verb = type(node).__name__.removesuffix("Stmt").lower()
    for table in tables:
        if isinstance(table, nodes.RangeVar):
            yield Write(at, verb, of_relation(table))
