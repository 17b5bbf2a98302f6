"""What functions and DO blocks run: their bodies, in SQL or PL/pgSQL, as trees with the lines of their file. Pure.

libpg_query reads PL/pgSQL without a catalog: it cannot know types of schemas other than public, `column%type` of an
argument and arrays of a user's own types. A body that it does not read for that reason is read again with types that
it knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from toolkit.sql import parse
from toolkit.sql.parse import AstNode, Piece, Source, Token, Unreadable, nodes, strings
from toolkit.sql.trigger_events import EVENTS, holds

_STATEMENT, _TYPE, _EXPRESSION = 0, 1, 2  # PL/pgSQL's parse modes; those above are assignments
_EXCEPTION = 21  # RAISE with the level ERROR
_LEAVES = frozenset({"PLpgSQL_stmt_return"})
_MAY_NOT_RUN = frozenset(
    f"PLpgSQL_stmt_{kind}" for kind in ("loop", "while", "fori", "fors", "forc", "dynfors", "foreach_a")
)


@dataclass(frozen=True)
class Body:
    """A body's `pieces`: its statements, and the expressions of PL/pgSQL, each as a SELECT; `ran` are those pieces
    that are statements of their own.

    `performs` and `executes`: whether it has PERFORM, and EXECUTE of a text built at run time. `trouble` is the line
    and what Postgres' grammar says of a body that it does not read; it has no pieces then. In PL/pgSQL `events` are,
    for each piece, the trigger events for which it can run, `assigned` the targets of `target := value` in lower case
    with their values, and `built` the texts that EXECUTE runs, each as the SELECT of an expression.
    """

    pieces: tuple[Piece, ...] = ()
    ran: tuple[Piece, ...] = ()
    performs: bool = False
    executes: bool = False
    trouble: tuple[int, str] | None = None
    events: tuple[frozenset[str], ...] = ()
    assigned: tuple[tuple[str, Piece], ...] = ()
    built: tuple[Piece, ...] = ()

    def run_for(self, event: str) -> tuple[Piece, ...]:
        """The pieces that can run when a trigger fires for this event (insert, update, …)."""
        if not self.events:
            return self.pieces
        return tuple(piece for piece, events in zip(self.pieces, self.events, strict=True) if event in events)


def body_of(statement: Piece) -> Body:
    """The body of a CREATE FUNCTION or DO; empty for other languages than SQL and PL/pgSQL and for other statements."""
    node = statement.node
    if isinstance(node, nodes.CreateFunctionStmt):
        if node.sql_body is not None:
            pieces = tuple(statement.under(one) for one in _flat(node.sql_body))
            return Body(pieces, pieces)
        options = node.options
    elif isinstance(node, nodes.DoStmt):
        options = node.args
    else:
        return Body()
    given = {option.defname: option for option in options if isinstance(option, nodes.DefElem)}
    language = given["language"].arg if "language" in given else None
    name = language.sval.lower() if isinstance(language, nodes.String) else "sql"
    if isinstance(node, nodes.DoStmt) and language is None:
        name = "plpgsql"
    if "as" not in given or name not in {"sql", "plpgsql"}:
        return Body()
    text = _text(given["as"].arg)
    line = _first_line(statement, given["as"].location)
    return _sql(text, line) if name == "sql" else _plpgsql(statement, text, line)


def run_by(statement: Piece) -> Iterator[AstNode]:
    """The statement itself, and behind a DO block the statements that it may run."""
    yield statement.node
    if isinstance(statement.node, nodes.DoStmt):
        yield from (piece.node for piece in body_of(statement).ran)


def _flat(node: AstNode) -> Iterator[AstNode]:
    """The statements of BEGIN ATOMIC, which are in lists of lists."""
    if isinstance(node, nodes.List):
        for item in node.items:
            yield from _flat(item)
    else:
        yield node


def _text(argument: AstNode | None) -> str:
    if isinstance(argument, nodes.List):
        return "".join(strings(argument.items[:1]))
    return argument.sval if isinstance(argument, nodes.String) else ""


def _first_line(statement: Piece, location: int) -> int:
    """The line on which the quoted text begins that comes behind this location."""
    after = parse.tokens(statement.source.data[location : statement.end])
    quoted = next((token for token in after if token.kind in {"SCONST", "USCONST"}), None)
    return statement.line(location + (quoted.start if quoted is not None else 0))


def _sql(text: str, line: int) -> Body:
    source = Source(text.encode(), line)
    try:
        pieces = tuple(Piece(node, source, start, end) for node, start, end in parse.statements(source.data))
    except Unreadable as error:
        return Body(trouble=(source.line(error.offset or 0), error.what))
    return Body(pieces, pieces)


def _plpgsql(statement: Piece, text: str, line: int) -> Body:
    reading = _Reading(text, line)
    try:
        functions = _read(statement, text)
        for function in functions:
            reading.look(function, 1)
    except RecursionError:
        return Body(trouble=(line, parse.TOO_DEEP))
    except Unreadable as error:
        # PL/pgSQL says near which line its trouble is, and at which word.
        word = re.search(r'at or near "(.*)"$', error.what, re.DOTALL)
        near = max(error.near_line or 1, 1)
        return Body(trouble=(line - 1 + reading.found_on(word.group(1) if word else "", near), error.what))
    return Body(
        tuple(reading.pieces),
        tuple(reading.ran),
        reading.performs,
        reading.executes,
        events=tuple(reading.events),
        assigned=tuple(reading.assigned),
        built=tuple(reading.built),
    )


def _read(statement: Piece, text: str) -> list[dict[str, Any]]:
    try:
        return parse.plpgsql(statement.source.text(statement.start, statement.end))
    except Unreadable as error:
        if error.what.startswith("syntax error"):
            raise
        try:
            return _read_again(statement, _with_known_types(text, unknown="record"))
        except Unreadable:
            return _read_again(statement, _with_known_types(text, unknown="text"))


def _read_again(statement: Piece, body: str) -> list[dict[str, Any]]:
    if isinstance(statement.node, nodes.DoStmt):
        tag = "$body$"
        while tag in body:
            tag = f"${tag.strip('$')}x$"
        return parse.plpgsql(f"do {tag}{body}{tag}")
    return parse.plpgsql(parse.as_function(statement.node, body=body))


def _with_known_types(body: str, *, unknown: str) -> str:
    """The body with `unknown` as the type of those of its variables whose type only a catalog knows; lines stay."""
    data = body.encode()
    found = [token for token in parse.tokens(data) if not token.is_comment]
    for n, token in reversed([*_declared(found)]):
        last = next((m for m in range(n, len(found)) if found[m].kind in _AFTER_TYPE), n + 1) - 1
        begins, ends = token.start, found[max(last, n)].end
        written = data[begins:ends].lower()
        qualified = b"." in written or b"%" in written
        if not qualified and (token.kind != "IDENT" or re.split(rb"[\s\[(]", written)[0] in _BUILT_IN):
            continue
        known = b"record" if written.endswith(b"rowtype") else unknown.encode()
        data = data[:begins] + known + b"\n" * written.count(b"\n") + data[ends:]
    return data.decode()


def _declared(found: list[Token]) -> Iterator[tuple[int, Token]]:
    """The first token of each declared variable's type, and its position."""
    declaring, name = False, 0
    for n, token in enumerate(found):
        if token.kind == "DECLARE" or (declaring and token.kind == "ASCII_59"):
            declaring, name = True, n + 1
        elif token.kind == "BEGIN_P":
            declaring = False
        elif declaring and n == name + 1:
            if token.kind == "IDENT" and n + 1 < len(found) and found[n + 1].kind == "IDENT":
                yield n + 1, found[n + 1]  # behind CONSTANT
            elif token.kind != "CURSOR" and found[n + 1].kind != "FOR":
                yield n, token


_AFTER_TYPE = frozenset({"ASCII_59", "COLON_EQUALS", "ASCII_61", "DEFAULT", "NOT", "COLLATE"})
_BUILT_IN = frozenset(
    {
        b"uuid",
        b"jsonb",
        b"timestamptz",
        b"date",
        b"record",
        b"refcursor",
        b"regclass",
        b"bytea",
        b"int4",
        b"int8",
        b"money",
    }
)


class _Reading:
    """Walks libpg_query's JSON and turns every text of SQL in it into a tree."""

    def __init__(self, text: str, line: int) -> None:
        self._text, self._line = text, line
        self._starts = [0]
        for row in text.split("\n")[:-1]:
            self._starts.append(self._starts[-1] + len(row) + 1)
        self.pieces: list[Piece] = []
        self.ran: list[Piece] = []
        self.events: list[frozenset[str]] = []
        self.assigned: list[tuple[str, Piece]] = []
        self.built: list[Piece] = []
        self.performs = self.executes = False
        self._reached = EVENTS  # the trigger events for which control comes here

    def look(self, value: Any, line: int) -> None:
        """`line` is that of the body on which the statement around it begins."""
        if isinstance(value, list):
            for item in value:
                self.look(item, line)
        elif isinstance(value, dict):
            line = value.get("lineno", line)
            self.performs |= "PLpgSQL_stmt_perform" in value
            self.executes |= "PLpgSQL_stmt_dynexecute" in value
            entered = self._reached
            for key, item in value.items():
                before = self._reached
                if key == "exceptions":
                    self._reached = entered
                    self.look(item, line)
                elif key == "PLpgSQL_expr":
                    self._expression(item["query"], item.get("parseMode", _STATEMENT), line)
                elif key == "PLpgSQL_stmt_if":
                    branches = [item, *(one["PLpgSQL_if_elsif"] for one in item.get("elsif_list", ()))]
                    self._branches(branches, item.get("else_body", []), "", line)
                elif key == "PLpgSQL_stmt_case":
                    self._case(item, line)
                elif key == "PLpgSQL_stmt_dynexecute":
                    first = len(self.pieces)
                    self.look(item, line)  # its text comes before what it is given
                    self.built += self.pieces[first : first + 1]
                else:
                    self.look(item, line)
                    if key in _LEAVES or (key == "PLpgSQL_stmt_raise" and item.get("elog_level") == _EXCEPTION):
                        self._reached = frozenset()
                    elif key in _MAY_NOT_RUN or (key == "PLpgSQL_stmt_block" and "exceptions" in item):
                        self._reached = before

    def _case(self, case: dict[str, Any], line: int) -> None:
        line = case.get("lineno", line)
        subject = ""
        if "t_expr" in case:
            self.look(case["t_expr"], line)
            if case["t_expr"]["PLpgSQL_expr"]["query"].strip().lower() == "tg_op":
                subject = f"__Case__Variable_{case['t_varno']}__"
        whens = [one["PLpgSQL_case_when"] for one in case["case_when_list"]]
        self._branches(whens, case.get("else_stmts", []), subject, line)

    def _branches(self, branches: list[dict[str, Any]], otherwise: Any, subject: str, line: int) -> None:
        """IF or CASE: each branch is reached with the events for which its condition can hold and none before did."""
        left, behind = self._reached, frozenset[str]()
        for branch in branches:
            at = branch.get("lineno", line)
            self._reached = left
            self.look(branch.get("cond") or branch.get("expr"), at)
            match self.pieces[-1].node:
                case nodes.SelectStmt(target_list=[nodes.ResTarget(val=condition)]):
                    answers = {event: holds(condition, event, subject or "tg_op") for event in left}
                case _:
                    answers = dict.fromkeys(left)
            self._reached = frozenset(event for event, answer in answers.items() if answer is not False)
            self.look(branch.get("then_body") or branch.get("stmts") or [], at)
            behind |= self._reached
            left = frozenset(event for event, answer in answers.items() if answer is not True)
        self._reached = left
        self.look(otherwise, line)
        self._reached |= behind

    def _expression(self, query: str, mode: int, line: int) -> None:
        if mode == _TYPE:
            return
        line = self.found_on(query, line)
        sql, target = query, ""
        if mode != _STATEMENT:
            start = 0 if mode == _EXPRESSION else _assigned(query.encode())
            target = query.encode()[:start].decode().rstrip(":= \n\t").lower()
            line += query.encode()[:start].count(b"\n")
            sql = "SELECT " + query.encode()[start:].decode()
        source = Source(sql.encode(), self._line + line - 1)
        try:
            read = parse.statements(source.data)
        except Unreadable as error:
            raise Unreadable(error.what, None, source.line(error.offset or 0) - self._line + 1) from error
        for node, begin, end in read:
            self.pieces.append(Piece(node, source, begin, end))
            self.events.append(self._reached)
            if target:
                self.assigned.append((target, self.pieces[-1]))
            if mode == _STATEMENT:
                self.ran.append(self.pieces[-1])

    def found_on(self, query: str, line: int) -> int:
        """The line of the body on which a text begins, looked for from `line` on; PERFORM stands in it as SELECT."""
        start = self._starts[min(line, len(self._starts)) - 1]
        for needle in (query, query.partition(" ")[2]):
            if needle and (at := self._text.find(needle, start)) >= 0:
                return line + self._text.count("\n", start, at)
        return line


def _assigned(assignment: bytes) -> int:
    """Where the value begins in `target := value`."""
    depth = 0
    for token in parse.tokens(assignment):
        depth += (token.kind in {"ASCII_91", "ASCII_40"}) - (token.kind in {"ASCII_93", "ASCII_41"})
        if depth == 0 and token.kind in {"COLON_EQUALS", "ASCII_61"}:
            return token.end
    return 0
