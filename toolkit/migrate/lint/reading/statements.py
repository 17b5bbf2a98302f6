"""One statement → the facts it states. Pure.

What is not understood states nothing: a rule then has nothing to say about it, and Postgres remains the judge.
Statements inside a DO block run as much as those outside, so they state facts too; what a DO block or a function
builds as text and executes does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from toolkit.migrate.lint.reading.facts import (
    AlterPolicy,
    AlterView,
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
    View,
    Write,
)
from toolkit.migrate.lint.reading.findings import At
from toolkit.migrate.lint.reading.reader import Name, Reader, body_tokens, pieces, relations
from toolkit.migrate.lint.reading.routines import alter_function, create_function, default_privileges, privileges
from toolkit.migrate.lint.reading.tables import alter_table, create_table
from toolkit.migrate.lint.reading.tokens import Tokens

_RELATIONS = (
    "table",
    "view",
    "index",
    "sequence",
    "type",
    "domain",
    "schema",
    "function",
    "procedure",
    "routine",
    "extension",
    "aggregate",
    "collation",
    "server",
    "statistics",
)
_STARTS = ("create", "alter", "drop", "grant", "revoke", "insert", "update", "delete", "truncate")
_BLOCK_WORDS = ("begin", "then", "else", "loop")


def facts_of(tokens: Tokens, file: str) -> Iterator[Fact]:
    """Every fact that a statement states, those of a DO block's statements included."""
    if not tokens:
        return
    at, reader = At(file, tokens[0].line), Reader(tokens)
    if reader.take("do"):
        yield from _do(reader.rest, at)
    elif reader.take("create"):
        yield from _create(reader, at)
    elif reader.take("alter"):
        yield from _alter(reader, at)
    elif reader.take("drop"):
        yield from _drop(reader, at)
    elif reader.next is not None and reader.next.word("grant", "revoke"):
        given = reader.take("grant") or not reader.take("revoke")
        yield from privileges(reader, at, given=given)
    else:
        yield from _writes(tokens, at)


def _do(rest: Tokens, at: At) -> Iterator[Fact]:
    body = next((token for token in rest if token.is_text), None)
    if body is None:
        return
    inside = body_tokens(body)
    for piece in pieces(inside, ";"):
        yield from _inner(piece, at.file)
    texts = tuple(token.text.lower() for token in inside if token.is_text)
    words = frozenset(token.text for token in inside if token.is_name)
    if "execute" in words:
        yield Dynamic(at, texts, words)


def _inner(piece: Tokens, file: str) -> Iterator[Fact]:
    """The statement in a piece of PL/pgSQL: what follows the last word that opens a block."""
    start = 0
    for position, token in enumerate(piece):
        if token.word(*_BLOCK_WORDS) and position + 1 < len(piece) and piece[position + 1].word(*_STARTS):
            start = position + 1
            break
    if piece[start].word(*_STARTS):
        yield from facts_of(piece[start:], file)


def _create(reader: Reader, at: At) -> Iterator[Fact]:
    replace = reader.take("or", "replace")
    temporary = False
    while (word := reader.one_of("temp", "temporary", "local", "global", "unlogged", "recursive")) is not None:
        temporary |= word in {"temp", "temporary"}
    fact: Fact | None = None
    if reader.take("table"):
        fact = create_table(reader, at, temporary=temporary)
    elif reader.take("foreign", "table"):
        fact = _named(reader, at, "foreign table", replace)
    elif reader.take("unique", "index"):
        fact = _index(reader, at, unique=True)
    elif reader.take("index"):
        fact = _index(reader, at, unique=False)
    elif reader.take("policy"):
        fact = _policy(reader, at)
    elif reader.one_of("function", "procedure"):
        fact = create_function(reader, at, replace=replace)
    elif reader.take("materialized", "view"):
        fact = _view(reader, at, materialized=True, replace=replace)
    elif reader.take("view"):
        fact = None if temporary else _view(reader, at, materialized=False, replace=replace)
    elif reader.take("publication"):
        fact = _create_publication(reader, at)
    elif reader.take("event", "trigger"):
        fact = _named(reader, at, "event trigger", replace)
    elif reader.take("trigger") or reader.take("constraint", "trigger"):
        fact = _trigger(reader, at)
    elif (kind := reader.one_of(*_RELATIONS)) is not None:
        fact = None if temporary else _named(reader, at, kind, replace)
    if fact is not None:
        yield fact


def _named(reader: Reader, at: At, kind: str, replace: bool) -> Create | None:
    reader.if_exists()
    name = reader.name()
    return None if name is None else Create(at, kind, name, replace)


def _index(reader: Reader, at: At, *, unique: bool) -> Fact | None:
    reader.one_of("concurrently")
    reader.if_exists()
    name = None if reader.next is None or reader.next.word("on") else reader.name()
    if not reader.take("on"):
        return None
    reader.one_of("only")
    table = reader.name()
    if table is None:
        return None
    method = (reader.part() or "btree") if reader.take("using") else "btree"
    columns: list[str] | None = []
    for piece in pieces(reader.parens() or (), ","):
        if len(piece) == 1 and piece[0].is_name and columns is not None:
            columns.append(piece[0].text)
        else:
            columns = None
    include = reader.take("include") and reader.parens() is not None
    partial = any(token.word("where") for token in reader.rest)
    plain = tuple(columns) if columns and not include else None
    named = Name(table.schema, name.name) if name is not None else None
    return CreateIndex(at, named, table, unique, plain, partial, method)


def _policy(reader: Reader, at: At) -> Fact | None:
    name = reader.part()
    if name is None or not reader.take("on") or (table := reader.name()) is None:
        return None
    permissive = True
    if reader.take("as"):
        permissive = reader.one_of("permissive", "restrictive") != "restrictive"
    command = (reader.part() or "all") if reader.take("for") else "all"
    roles = reader.parts() if reader.take("to") else ()
    using = reader.parens() if reader.take("using") else None
    check = reader.parens() if reader.take("with", "check") else None
    return Policy(at, name, table, command, roles, using, check, permissive)


def _view(reader: Reader, at: At, *, materialized: bool, replace: bool) -> View | None:
    reader.if_exists()
    name = reader.name()
    if name is None:
        return None
    reader.parens()
    invoker = reader.take("with") and _invoker(reader.parens() or ()) is True
    reader.seek("as")
    named = {token.text for position, token in enumerate(reader.rest) if _is_cte(reader.rest, position)}
    reads = tuple(dict.fromkeys(table for table, _ in relations(reader.rest) if table.name not in named))
    return View(at, name, materialized, invoker, replace, reads)


def _is_cte(tokens: Tokens, position: int) -> bool:
    """`name as (` or `name as [not] materialized (`: a query's own name for a part of itself."""
    after = Reader(tokens[position + 1 :])
    if not tokens[position].is_name or not after.take("as"):
        return False
    after.one_of("not")
    after.one_of("materialized")
    return after.next is not None and after.next.mark("(")


def _invoker(options: Tokens) -> bool | None:
    """What a view's options say about security_invoker; None for nothing."""
    for piece in pieces(options, ","):
        if piece[0].text == "security_invoker":
            return len(piece) == 1 or piece[-1].text.lower() in {"true", "on", "yes", "1"}
    return None


def _create_publication(reader: Reader, at: At) -> Publication | None:
    name = reader.part()
    if name is None:
        return None
    everything = reader.take("for", "all", "tables") or reader.take("for", "tables", "in", "schema")
    tables = _members(reader) if reader.take("for") else ()
    if reader.seek("with"):
        return Publication(at, name, "create", tables, everything, _operations(reader.parens() or ()))
    return Publication(at, name, "create", tables, everything)


def _members(reader: Reader) -> tuple[Name, ...]:
    """Tables of `TABLE a, b (columns) WHERE (…), TABLE c`."""
    found = []
    for piece in pieces(reader.rest, ","):
        inner = Reader(piece)
        if inner.take("tables", "in", "schema"):
            continue
        inner.one_of("table")
        inner.one_of("only")
        name = inner.name()
        if name is None or name.name == "with":
            break
        found.append(name)
    return tuple(found)


def _operations(options: Tokens) -> tuple[str, ...] | None:
    for piece in pieces(options, ","):
        if piece[0].word("publish") and piece[-1].is_text:
            return tuple(part.strip().lower() for part in piece[-1].text.split(",") if part.strip())
    return None


def _trigger(reader: Reader, at: At) -> Trigger | None:
    name = reader.part()
    timing = reader.one_of("before", "after", "instead")
    if name is None or timing is None:
        return None
    events = []
    while not reader.take("on"):
        word = reader.part()
        if word is None and not reader.mark(",", "."):
            return None
        if word in {"insert", "update", "delete", "truncate"}:
            events.append(word)
    table = reader.name()
    if table is None or not reader.seek("execute") or not reader.one_of("function", "procedure"):
        return None
    function = reader.name()
    return None if function is None else Trigger(at, name, table, timing, tuple(events), function)


def _alter(reader: Reader, at: At) -> Iterator[Fact]:
    if reader.take("table"):
        yield from alter_table(reader, at)
    elif reader.take("policy"):
        yield from _alter_policy(reader, at)
    elif reader.take("publication"):
        yield from _alter_publication(reader, at)
    elif reader.one_of("function", "procedure", "routine"):
        yield from alter_function(reader, at)
    elif reader.take("default", "privileges"):
        yield from default_privileges(reader, at)
    elif reader.take("view") or reader.take("materialized", "view"):
        yield from _alter_view(reader, at)
    elif reader.take("type") and (enum := reader.name()) is not None and reader.take("add", "value"):
        reader.if_exists()
        yield EnumValue(at, enum, reader.next.text if reader.next else "")


def _alter_policy(reader: Reader, at: At) -> Iterator[Fact]:
    name = reader.part()
    if name is None or not reader.take("on") or (table := reader.name()) is None:
        return
    renamed = (reader.part() or "") if reader.take("rename", "to") else ""
    roles = reader.parts() if reader.take("to") else ()
    using = reader.parens() if reader.take("using") else None
    check = reader.parens() if reader.take("with", "check") else None
    yield AlterPolicy(at, name, table, roles, using, check, renamed)


def _alter_publication(reader: Reader, at: At) -> Iterator[Fact]:
    name = reader.part()
    action = reader.one_of("add", "set", "drop", "rename", "owner")
    if name is None or action is None:
        return
    if action == "set" and reader.next is not None and reader.next.mark("("):
        yield Publication(at, name, "options", operations=_operations(reader.parens() or ()))
    elif action in {"add", "set", "drop"}:
        yield Publication(at, name, action, _members(reader))
    else:
        yield Publication(at, name, action)


def _alter_view(reader: Reader, at: At) -> Iterator[Fact]:
    reader.if_exists()
    name = reader.name()
    if name is None:
        return
    if reader.take("rename", "to"):
        yield Rename(at, "view", name, reader.part() or "")
    elif reader.take("set") and (options := reader.parens()) is not None:
        yield AlterView(at, name, _invoker(options))
    elif reader.take("reset") and (options := reader.parens()) is not None:
        yield AlterView(at, name, False if _invoker(options) is not None else None)


def _drop(reader: Reader, at: At) -> Iterator[Fact]:
    if reader.take("policy"):
        if_exists = reader.if_exists()
        name = reader.part()
        if name is not None and reader.take("on") and (table := reader.name()) is not None:
            yield DropPolicy(at, name, table, if_exists)
        return
    kind = _kind(reader)
    if kind is None:
        return
    reader.one_of("concurrently")
    if_exists = reader.if_exists()
    names = reader.names()
    on = reader.name() if reader.take("on") else None
    cascade = any(token.word("cascade") for token in reader.rest)
    if kind == "publication":
        for member in names:
            yield Publication(at, member.name, "gone")
    yield Drop(at, kind, names, if_exists, cascade, on)


def _kind(reader: Reader) -> str | None:
    for words in (("materialized", "view"), ("foreign", "table"), ("event", "trigger")):
        if reader.take(*words):
            return " ".join(words)
    return reader.one_of(*_RELATIONS, "trigger", "rule", "publication")


def _writes(tokens: Tokens, at: At) -> Iterator[Write]:
    readers: dict[str, Callable[[Reader], bool]] = {
        "insert": lambda reader: reader.take("insert", "into"),
        "update": lambda reader: reader.take("update") and (reader.one_of("only") or "") is not None,
        "delete": lambda reader: reader.take("delete", "from"),
        "truncate": lambda reader: reader.take("truncate") and (reader.one_of("table") or "") is not None,
    }
    reader = Reader(tokens)
    if reader.next is None or not reader.next.word(*readers):
        return
    verb = reader.next.text
    if readers[verb](reader):
        reader.one_of("only")
        for table in reader.names() if verb == "truncate" else (reader.name(),):
            if table is not None:
                yield Write(at, verb, table)
