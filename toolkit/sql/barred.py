"""Statements that `postgres` of a hosted project may not run: on what the platform's own roles own, and what only a
superuser may. Pure; the facts are those of hosted projects in 2026."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from toolkit.sql.bodies import Body, body_of
from toolkit.sql.parse import AstNode, Piece, label, nodes, strings
from toolkit.sql.quoting import spelt

# In these nothing may be made either. `extensions` belongs to postgres.
_OWNED = frozenset({"auth", "storage", "realtime", "vault", "cron", "net", "pgbouncer"})
# Where postgres may make policies although it is not the owner.
_POLICIES = {
    "auth": r"(?!schema_migrations|webauthn_|custom_oauth_providers|oauth_(?!clients))\w+",
    "storage": r"buckets|buckets_analytics|objects|s3_multipart_\w+",
    "realtime": r"messages|subscription",
}
# Row level security is off on the other tables of the platform.
_PROTECTED = {"auth": _POLICIES["auth"], "storage": r"\w+", "realtime": r"messages\w*"}
_WITHOUT_TRIGGERS = {
    "auth": "schema_migrations",
    "cron": "job",
    "storage": "buckets_vectors|migrations|vector_indexes",
}
_FILE_FUNCTIONS = frozenset(
    {
        "lo_export",
        "lo_import",
        "pg_file_rename",
        "pg_file_unlink",
        "pg_file_write",
        "pg_ls_dir",
        "pg_read_binary_file",
        "pg_read_file",
        "pg_stat_file",
    }
)
_UNTRUSTED = re.compile(r"c|internal|pl\w+u|plpython[23]u|plsh|plr")
# A condition or a handler in a DO block: it may never run, or its error may be caught.
_GUARDED = re.compile(r"\bthen\b", re.IGNORECASE)
_DELETE = "Delete the line"
_OF_RELATIONS = {"OBJECT_COLUMN", "OBJECT_RULE", "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER"}
_WITH_SCHEMA = {"OBJECT_FUNCTION", "OBJECT_INDEX", "OBJECT_SEQUENCE", "OBJECT_TABLE", "OBJECT_TYPE", "OBJECT_VIEW"}


@dataclass(frozen=True)
class Barred:
    """`kind` is "owner" for what belongs to the platform's roles, else what a superuser alone may use: "files",
    "language", "system". `line` is that of the file; `schema` that of the object, "" for the latter."""

    kind: str
    line: int
    what: str
    remedy: str = ""
    schema: str = ""


def barred(piece: Piece) -> Iterator[Barred]:
    """What of the statement is refused. What a DO block does to the platform's objects counts where nothing in the
    block can keep it from running or catch its error."""
    body = body_of(piece)
    found = _of_owner(piece.node)
    if found is not None and found.name[0] in _OWNED:
        what = f"{found.deed} {spelt(*found.name)}, which the platform owns"
        yield Barred("owner", piece.line(piece.start), what, f"{found.remedy}.", found.name[0])
    yield from _of_superuser(piece, body)
    if isinstance(piece.node, nodes.DoStmt):
        guarded = _GUARDED.search(piece.source.text(piece.start, piece.end)) is not None
        for statement in body.ran:
            yield from (one for one in barred(statement) if one.kind == "owner" and not guarded)


# -- what the platform's roles own ------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    deed: str
    name: tuple[str, str]
    remedy: str = _DELETE


def _of_owner(node: AstNode) -> _Found | None:
    match node:
        case nodes.AlterTableStmt(relation=nodes.RangeVar() as table):
            return _altered(node, _name(table))
        case nodes.IndexStmt(relation=nodes.RangeVar() as table):
            remedy = f"{_DELETE}; what you look up often, copy into an indexed table of yours"
            return _Found("an index is made on", _name(table), remedy)
        case nodes.RuleStmt(relation=nodes.RangeVar() as table):
            return _Found("a rule is made on", _name(table))
        case nodes.CreateTrigStmt(relation=nodes.RangeVar() as table) if _listed(_WITHOUT_TRIGGERS, _name(table)):
            return _Found("a trigger is made on", _name(table))
        case nodes.CreatePolicyStmt(table=nodes.RangeVar() as table) if not _listed(_POLICIES, _name(table)):
            return _Found("a policy is made on", _name(table))
        case nodes.CreatePublicationStmt() | nodes.AlterPublicationStmt():
            return _published(node)
        case nodes.DropStmt(missing_ok=False):
            return _dropped(node)
        case nodes.RenameStmt() | nodes.AlterObjectSchemaStmt() | nodes.AlterOwnerStmt() | nodes.CommentStmt():
            return _object(node)
        case nodes.AlterFunctionStmt(func=nodes.ObjectWithArgs(objname=name)):
            return _Found("ALTER FUNCTION changes", _last_two(strings(name)))
    made = _made(node)
    remedy = "Make it in a schema of yours, `private` for example; what the platform itself provides is there already"
    return None if made is None else _Found("something is made under the name", made, remedy)


def _altered(node: nodes.AlterTableStmt, table: tuple[str, str]) -> _Found:
    actions = {label("AlterTableType", one.subtype) for one in node.cmds if isinstance(one, nodes.AlterTableCmd)}
    if actions == {"AT_EnableRowSecurity"}:
        on = _listed(_PROTECTED, table)
        remedy = f"{_DELETE}: it is on already" if on else f"{_DELETE}: clients do not reach this table"
        return _Found("row level security is enabled on", table, remedy)
    if actions == {"AT_ChangeOwner"}:
        return _Found("another owner is given to", table, f"{_DELETE}: it has its owner already")
    remedy = f"{_DELETE}; keep what you add in a table of yours that refers to this one"
    return _Found("ALTER TABLE changes", table, remedy)


def _published(node: nodes.CreatePublicationStmt | nodes.AlterPublicationStmt) -> _Found | None:
    objects = [one for one in node.pubobjects if isinstance(one, nodes.PublicationObjSpec)]
    tables = [_name(o.pubtable.relation) for o in objects if o.pubtable and o.pubtable.relation]
    owned = next((table for table in tables if table[0] in _OWNED), None)
    remedy = "Publish a table of yours into which a trigger copies what clients need"
    return _Found(f"publication {node.pubname} is to publish", owned, remedy) if owned else None


def _dropped(node: nodes.DropStmt) -> _Found | None:
    kind = label("ObjectType", node.remove_type)
    if kind not in _WITH_SCHEMA:
        return None
    names = [_last_two(_parts(one)) for one in node.objects]
    owned = next((name for name in names if name[0] in _OWNED), None)
    return _Found("DROP is for", owned) if owned else None


def _object(
    node: nodes.RenameStmt | nodes.AlterObjectSchemaStmt | nodes.AlterOwnerStmt | nodes.CommentStmt,
) -> _Found | None:
    """What is done to an object that is named with its kind."""
    match node:
        case nodes.RenameStmt():
            kind, deed = node.rename_type, "another name is given to or in"
        case nodes.CommentStmt():
            kind, deed = node.objtype, "a comment is put on or in"
        case nodes.AlterObjectSchemaStmt():
            kind, deed = node.object_type, "another schema is given to"
        case _:
            kind, deed = node.object_type, "another owner is given to"
    named: AstNode | None = None if isinstance(node, nodes.CommentStmt) else node.relation
    named = node.object if named is None else named
    if named is None:
        return None
    parts, word = _parts(named), label("ObjectType", kind)
    if word in _OF_RELATIONS and not isinstance(named, nodes.RangeVar):
        parts = parts[:-1]
    if word not in _OF_RELATIONS | _WITH_SCHEMA or not parts:
        return None
    return _Found(deed, _last_two(parts))


def _made(node: AstNode) -> tuple[str, str] | None:
    match node:
        case (
            nodes.CreateStmt(relation=nodes.RangeVar() as made)
            | nodes.CompositeTypeStmt(typevar=nodes.RangeVar() as made)
        ):
            return _name(made)
        case nodes.ViewStmt(view=nodes.RangeVar() as made) | nodes.CreateSeqStmt(sequence=nodes.RangeVar() as made):
            return _name(made)
        case nodes.CreateTableAsStmt(into=nodes.IntoClause(rel=nodes.RangeVar() as made)):
            return _name(made)
        case nodes.CreateFunctionStmt(funcname=name) | nodes.CreateEnumStmt(type_name=name):
            return _last_two(strings(name))
        case nodes.CreateDomainStmt(domainname=name):
            return _last_two(strings(name))
    return None


def _parts(named: AstNode) -> tuple[str, ...]:
    match named:
        case nodes.RangeVar():
            return _name(named)
        case nodes.List(items=items):
            return strings(items)
        case nodes.TypeName(names=names) | nodes.ObjectWithArgs(objname=names):
            return strings(names)
    return ()


def _name(relation: nodes.RangeVar) -> tuple[str, str]:
    return relation.schemaname, relation.relname


def _last_two(parts: tuple[str, ...]) -> tuple[str, str]:
    return (parts[-2], parts[-1]) if len(parts) > 1 else ("", parts[-1] if parts else "")


def _listed(tables: Mapping[str, str], name: tuple[str, str]) -> bool:
    return re.fullmatch(tables.get(name[0], "(?!)"), name[1]) is not None


# -- what only a superuser may ----------------------------------------------------------------


def _of_superuser(piece: Piece, body: Body) -> Iterator[Barred]:
    for one in body.pieces or (piece,):
        for copy in one.find(nodes.CopyStmt):
            line = one.line(one.start)
            if copy.is_program:
                yield Barred("files", line, f"COPY runs a program on the server: {copy.filename}")
            elif copy.filename:
                yield Barred("files", line, f"COPY reads or writes a file of the server: {copy.filename}")
        for call in one.find(nodes.FuncCall):
            *schema, name = strings(call.funcname)
            if name in _FILE_FUNCTIONS and schema in ([], ["pg_catalog"]):
                yield Barred("files", one.line(call.location), f"{name}() reaches files of the server")
    match piece.node:
        case nodes.CreateExtensionStmt(extname="file_fdw" | "adminpack" as name):
            yield Barred("files", piece.line(piece.start), f"extension {name} reaches files of the server")
        case nodes.AlterSystemStmt():
            yield Barred("system", piece.line(piece.start), "ALTER SYSTEM changes the server's settings")
        case nodes.CreateExtensionStmt(extname=language) | nodes.CreatePLangStmt(plname=language):
            if _UNTRUSTED.fullmatch(language):
                yield Barred("language", piece.line(piece.start), f"language {language} is installed")
        case nodes.CreateFunctionStmt(options=options) | nodes.DoStmt(args=options):
            for option in options:
                match option:
                    case nodes.DefElem(defname="language", arg=nodes.String(sval=language)):
                        if _UNTRUSTED.fullmatch(language.lower()):
                            yield Barred("language", piece.line(piece.start), f"it is written in {language}")
