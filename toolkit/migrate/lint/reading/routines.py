"""Functions and privileges → facts. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.facts import AlterFunction, DefaultPrivileges, Fact, Function, Privileges
from toolkit.migrate.lint.reading.findings import At
from toolkit.migrate.lint.reading.reader import Name, Reader, body_tokens, pieces
from toolkit.migrate.lint.reading.tokens import Tokens

_MODES = ("in", "out", "inout", "variadic")
# Types that several words name; they are never an argument's name followed by a type.
_LONG_TYPES = {
    "double",
    "character",
    "bit",
    "national",
    "time",
    "timestamp",
    "interval",
}
_ALIASES = {
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "int2": "smallint",
    "bool": "boolean",
    "float8": "double precision",
    "float4": "real",
    "decimal": "numeric",
    "varchar": "character varying",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
}
_OBJECT_KINDS = (
    "table",
    "sequence",
    "database",
    "domain",
    "foreign",
    "function",
    "procedure",
    "routine",
    "language",
    "large",
    "parameter",
    "schema",
    "tablespace",
    "type",
)


def create_function(reader: Reader, at: At, *, replace: bool) -> Function | None:
    """What follows `CREATE [OR REPLACE] FUNCTION` or `PROCEDURE`."""
    name = reader.name()
    arguments = reader.parens() if name is not None else None
    if name is None or arguments is None:
        return None
    returns, language, definer, search_path = "", "sql", False, False
    body: Tokens = ()
    while reader.next is not None:
        if reader.take("returns"):
            returns = reader.next.text if reader.next is not None else ""
        elif reader.take("language"):
            language = reader.next.text.lower() if reader.next is not None else ""
        elif reader.take("security", "definer"):
            definer = True
        elif reader.take("set"):
            search_path = reader.part() == "search_path" or search_path
        elif reader.take("as"):
            body = body_tokens(reader.next) if reader.next is not None else ()
        elif reader.take("begin", "atomic") or reader.take("return"):
            body = reader.rest
            break
        else:
            reader.at += 1
    types, defaults = _arguments(arguments)
    return Function(at, name, types, defaults, returns, definer, search_path, replace, language, body)


def _arguments(tokens: Tokens) -> tuple[tuple[str, ...], int]:
    """Types of the input arguments, as far as spelling tells them, and how many have a default."""
    types, defaults = [], 0
    for piece in pieces(tokens, ","):
        reader = Reader(piece)
        mode = reader.one_of(*_MODES)
        end = next((n for n, t in enumerate(piece) if t.word("default") or t.mark("=", ":=")), len(piece))
        words = [token.text for token in piece[reader.at : end]]
        if mode == "out":
            continue
        defaults += end < len(piece)
        named = len(words) > 1 and words[0] not in _LONG_TYPES and words[1] not in {".", "(", "["}
        types.append(type_name(words[1:] if named else words))
    return tuple(types), defaults


def type_name(words: list[str]) -> str:
    """A type's one spelling: aliases replaced, lengths and the schemas public and pg_catalog left out."""
    if len(words) > 2 and words[1] == "." and words[0] in {"public", "pg_catalog"}:
        words = words[2:]
    if "(" in words:
        start = words.index("(")
        end = words.index(")", start) if ")" in words[start:] else len(words) - 1
        words = words[:start] + words[end + 1 :]
    array = [word for word in words if word in {"[", "]"}]
    plain = " ".join(word for word in words if word not in {"[", "]"} and not (array and word.isdigit()))
    return _ALIASES.get(plain, plain) + ("[]" if array else "")


def alter_function(reader: Reader, at: At) -> Iterator[AlterFunction]:
    """What follows `ALTER FUNCTION`."""
    name = reader.name()
    if name is None:
        return
    inside = reader.parens()
    arguments = None if inside is None else _arguments(inside)[0]
    definer: bool | None = None
    search_path: bool | None = None
    renamed = ""
    while reader.next is not None:
        if reader.take("security", "definer"):
            definer = True
        elif reader.take("security", "invoker"):
            definer = False
        elif reader.take("set"):
            search_path = True if reader.part() == "search_path" else search_path
        elif reader.take("reset"):
            search_path = False if reader.part() in {"search_path", "all"} else search_path
        elif reader.take("rename", "to"):
            renamed = reader.part() or ""
        else:
            reader.at += 1
    yield AlterFunction(at, name, arguments, definer, search_path, renamed)


def privileges(reader: Reader, at: At, *, given: bool) -> Iterator[Fact]:
    """What follows `GRANT` or `REVOKE` of privileges; memberships in roles state nothing."""
    reader.take("grant", "option", "for")
    verbs, columns = _verbs(reader)
    if not reader.take("on"):
        return
    all_in: tuple[str, ...] = ()
    objects: tuple[tuple[Name, tuple[str, ...] | None], ...] = ()
    if reader.take("all"):
        kind = (reader.part() or "").rstrip("s")
        all_in = reader.parts() if reader.take("in", "schema") else ()
    else:
        kind = reader.one_of(*_OBJECT_KINDS) or "table"
        if kind == "foreign":
            reader.part()
        objects = tuple(_objects(reader, kind))
    if reader.one_of("to", "from"):
        yield Privileges(at, given, verbs, kind, objects, all_in, _roles(reader), columns)


def _objects(reader: Reader, kind: str) -> Iterator[tuple[Name, tuple[str, ...] | None]]:
    while (name := reader.name()) is not None:
        inside = reader.parens() if kind in {"function", "procedure", "routine"} else None
        yield (Name(name.name, "") if kind == "schema" else name), None if inside is None else _arguments(inside)[0]
        if not reader.mark(","):
            return


def _roles(reader: Reader) -> tuple[str, ...]:
    found: list[str] = []
    while True:
        reader.one_of("group")
        role = reader.part()
        if role is None:
            return tuple(found)
        found.append(role)
        if not reader.mark(","):
            return tuple(found)


def _verbs(reader: Reader) -> tuple[tuple[str, ...], bool]:
    verbs, columns = [], False
    while reader.next is not None and not reader.next.word("on", "to", "from"):
        if (inside := reader.parens()) is not None:
            columns = columns or bool(inside)
        elif not reader.mark(","):
            verbs.append(reader.next.text)
            reader.at += 1
    return tuple(verb for verb in verbs if verb != "privileges"), columns


def default_privileges(reader: Reader, at: At) -> Iterator[DefaultPrivileges]:
    """What follows `ALTER DEFAULT PRIVILEGES`."""
    schemas: tuple[str, ...] = ()
    while reader.next is not None and not reader.next.word("grant", "revoke"):
        if reader.take("in", "schema"):
            schemas = reader.parts()
        else:
            reader.at += 1
    given = reader.take("grant")
    if not given and not reader.take("revoke"):
        return
    reader.take("grant", "option", "for")
    verbs, _ = _verbs(reader)
    kind = (reader.part() or "") if reader.take("on") else ""
    if reader.one_of("to", "from"):
        yield DefaultPrivileges(at, given, verbs, kind, schemas, _roles(reader))
