"""A folder's mutants, derived from everything that its files state. Pure."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from toolkit.migrate.folder.files import Folder, Migration
from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.mutate.mutant import Mutant
from toolkit.migrate.mutate.objects import columns_of, named, rows_of
from toolkit.migrate.mutate.operators import OPERATORS
from toolkit.migrate.mutate.operators.commands import STATEMENT_REMOVED, TextOperator, cuts
from toolkit.migrate.mutate.operators.operator import Operator
from toolkit.migrate.mutate.operators.outline import Part, Unclear, outline
from toolkit.migrate.mutate.operators.places import Surroundings, inner, places, strings
from toolkit.sql import parse
from toolkit.sql.bodies import body_of
from toolkit.sql.parse import Piece, Source, Unreadable, nodes


@dataclass
class Derived:
    """`mutants` in the order of the files. `unread`: what could not be mutated and why; `impossible` and `doubles`: how
    many changes gave no valid text, or the same text as another."""

    mutants: list[Mutant] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    impossible: int = 0
    doubles: int = 0


@dataclass(frozen=True)
class _Made:
    """A change before it stands in its file: the whole statement's new text, and what differs in it."""

    operator: Operator | TextOperator
    told: str
    line: int
    before: str
    after: str
    statement: str
    in_body: bool = False


def derive(folder: Folder, versions: Sequence[str] = ()) -> Derived:
    """Every mutant of these versions (all of them where none is named), equal ones folded."""
    columns = columns_of(folder)
    rows = rows_of(folder)
    found = Derived()
    for migration in folder.migrations:
        if versions and migration.version not in versions:
            continue
        for statement in migration.up.statements:
            seen: set[str] = set()
            for made in _of_statement(statement, columns, rows, found, migration):
                if made.statement in seen:
                    found.doubles += 1
                    continue
                seen.add(made.statement)
                found.mutants.append(_placed(made, statement, migration))
    twins: Counter[str] = Counter()
    for number, mutant in enumerate(found.mutants):
        twins[mutant.id] += 1
        if twins[mutant.id] > 1:
            found.mutants[number] = replace(mutant, twin=twins[mutant.id] - 1)
    return found


def sample(mutants: Sequence[Mutant], number: int, seed: int) -> list[Mutant]:
    """So many of them, from each kind its share and at least one, the same for the same seed; in their order."""
    if number >= len(mutants):
        return list(mutants)
    chance = random.Random(seed)  # noqa: S311 - which mutants are looked at is no secret
    kinds: dict[str, list[int]] = defaultdict(list)
    for position, mutant in enumerate(mutants):
        kinds[mutant.kind].append(position)
    chosen: list[int] = []
    left = list(kinds.values())
    for positions in left:
        chance.shuffle(positions)
    # Largest shares first would starve small kinds: one of each, then by share.
    for positions in left:
        chosen.append(positions.pop())
    rest = [(position, rank / (len(positions) or 1)) for positions in left for rank, position in enumerate(positions)]
    rest.sort(key=lambda one: one[1])
    chosen += [position for position, _ in rest]
    return [mutants[position] for position in sorted(chosen[:number])]


def _placed(made: _Made, statement: Statement, migration: Migration) -> Mutant:
    texts = []
    for piece in migration.up.statements:
        if piece.index != statement.index:
            texts.append(piece.recorded if piece.rows is not None else f"{piece.text};")
        elif made.statement:
            texts.append(f"{piece.leading}\n{made.statement};".lstrip())
        else:
            texts.append(piece.leading)
    return Mutant(
        operator=made.operator.id,
        kind=made.operator.kind,
        title=made.operator.title,
        told=made.told,
        version=migration.version,
        file=migration.up.path.name,
        line=made.line,
        object=named(statement),
        before=made.before,
        after=made.after,
        content=_directives(migration) + "\n".join(texts) + "\n",
        in_body=made.in_body,
    )


def _directives(migration: Migration) -> str:
    """The comments above the first statement can say how a file is run; those of a statement stay with it."""
    first = migration.up.pieces[0] if migration.up.pieces else None
    around = first is not None and first not in migration.up.statements
    return f"{first.leading}\n" if first is not None and around and first.leading else ""


def _of_statement(
    statement: Statement,
    columns: Mapping[str, Mapping[str, str]],
    rows: Mapping[str, str],
    found: Derived,
    migration: Migration,
) -> Iterator[_Made]:
    where = f"{migration.up.path.name}:{statement.line}"
    if statement.tree is None or statement.rows is not None:
        found.unread.append(f"{where}: Postgres' grammar does not read it, or it is followed by rows")
        return
    yield _Made(
        STATEMENT_REMOVED,
        f"without: {_first_words(statement.body)}",
        statement.line,
        _shortened(statement.body),
        "",
        "",
    )
    try:
        tree = parse.bare(statement.body)
        written = parse.written(tree)
    except Unreadable as error:
        found.unread.append(f"{where}: {error.what}")
        return
    yield from _of_tree(tree, written, Surroundings(columns), found, line=statement.line)
    body = _body(inner(tree))
    if body is None:
        return
    language, text = body
    row_of = rows.get(named(statement).partition("(")[0].rpartition(" ")[2], "")
    in_body = isinstance(statement.node, nodes.CreateFunctionStmt)
    try:
        parts, removed = _parts(language, text)
    except (Unclear, Unreadable) as error:
        found.unread.append(f"{where}: the body is not cut: {error}")
        return
    data = text.encode()
    first = statement.line + statement.body.partition(text)[0].count("\n")

    def with_body(start: int, end: int, put: str) -> str:
        changed = (data[:start] + put.encode() + data[end:]).decode()
        return parse.written(_with_body(tree, changed))

    made: list[_Made] = []
    for part in parts:
        try:
            part_tree = parse.bare(part.sql)
            before = parse.written(part_tree)
        except Unreadable as error:
            found.unread.append(f"{where}: a part of the body is not read: {error.what}")
            continue
        line = first + data[: part.start].count(b"\n")
        surroundings = Surroundings(columns, part.condition, row_of)

        def compose(sql: str, part: Part = part) -> str:
            return with_body(part.start, part.end, part.compose(sql))

        made += _of_tree(part_tree, before, surroundings, found, line=line, compose=compose)
    for cut in removed:
        line = first + data[: cut.start].count(b"\n")
        before = data[cut.start : cut.end].decode()
        made.append(_Made(cut.operator, cut.told, line, before, cut.text, with_body(cut.start, cut.end, cut.text)))
    for one in made:
        if _reads(one.statement):
            yield _Made(one.operator, one.told, one.line, one.before, one.after, one.statement, in_body)
        else:
            found.impossible += 1


def _of_tree(
    tree: Any,
    written: str,
    surroundings: Surroundings,
    found: Derived,
    *,
    line: int,
    compose: Callable[[str], str] = str,
) -> Iterator[_Made]:
    offered: dict[str, list[Operator]] = defaultdict(list)
    for operator in OPERATORS:
        for kind in operator.of:
            offered[kind].append(operator)
    for place in places(tree, surroundings):
        for operator in offered.get(place.kind, ()):
            for change in operator.changes(place):
                try:
                    after = parse.written(place.changed(change))
                    parse.bare(after)
                    whole = compose(after)
                except (Unreadable, IndexError, AttributeError):
                    found.impossible += 1
                    continue
                if after != written:
                    yield _Made(operator, change.told, line, written, after, whole)


def _body(node: Any) -> tuple[str, str] | None:
    """Language and text of a CREATE FUNCTION or DO."""
    options = {"CreateFunctionStmt": "options", "DoStmt": "args"}.get(node.DESCRIPTOR.name)
    if options is None:
        return None
    given = {one.def_elem.defname: one.def_elem.arg for one in getattr(node, options)}
    language = given["language"].string.sval.lower() if "language" in given else "plpgsql"
    if "as" not in given or language not in {"plpgsql", "sql"}:
        return None
    texts = strings(given["as"].list.items) if given["as"].WhichOneof("node") == "list" else (given["as"].string.sval,)
    return (language, texts[0]) if texts else None


def _with_body(tree: Any, body: str) -> Any:
    copy = parse.copied(tree)
    node = inner(copy)
    for one in node.options if node.DESCRIPTOR.name == "CreateFunctionStmt" else node.args:
        if one.def_elem.defname == "as":
            if one.def_elem.arg.WhichOneof("node") == "list":
                one.def_elem.arg.list.items[0].string.sval = body
            else:
                one.def_elem.arg.string.sval = body
    return copy


def _parts(language: str, text: str) -> tuple[Iterable[Part], Iterable[Any]]:
    data = text.encode()
    if language == "plpgsql":
        read = outline(text)
        return read.parts, cuts(read, data)
    found = []
    for _, start, end in parse.statements(data):
        sql = data[start:end].decode()
        begins = start + len(sql.encode()) - len(sql.lstrip().encode())
        found.append(Part(begins, end, sql.strip(), lambda sql: sql))
    return found, ()


def _reads(statement: str) -> bool:
    """Whether the grammar of statement and body accepts it."""
    data = statement.encode()
    try:
        node, start, end = parse.statements(data)[0]
    except (Unreadable, IndexError):
        return False
    return body_of(Piece(node, Source(data), start, end)).trouble is None


def _first_words(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 60 else f"{words[:59]}…"


def _shortened(text: str) -> str:
    return text if len(text) <= 400 else f"{text[:400]} …"
