"""Postgres' own lexer and grammar (libpg_query, through postgast), and walking the trees it gives.

Nothing else imports postgast. The grammar is that of one Postgres version, `GRAMMAR`; it reads what earlier versions
read. Offsets are bytes of UTF-8, as Postgres counts them, never characters. Pure.
"""

from __future__ import annotations

import contextlib
import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import postgast
from google.protobuf.message import DecodeError, Message
from postgast import AstNode, native, nodes, pg_query_pb2
from postgast.errors import check_error

__all__ = [
    "GRAMMAR",
    "AstNode",
    "Piece",
    "Source",
    "Token",
    "Unreadable",
    "as_function",
    "bare",
    "copied",
    "expression",
    "label",
    "nodes",
    "plpgsql",
    "statements",
    "strings",
    "tokens",
    "written",
]

GRAMMAR = postgast.parse("").version // 10_000  # the major version of Postgres whose grammar this is
TOO_DEEP = "it is nested, or chains operators, too deeply to be read"
N = TypeVar("N", bound=AstNode)

# Levels of a tree: a quarter of those with which the usual C stack of 8 MiB still sufficed.
_MOST_DEEP = 5_000
_OPENING = frozenset({"ASCII_40", "ASCII_91", "CASE"})
_CLOSING = frozenset({"ASCII_41", "ASCII_93", "END_P"})
# What leans to the left without end: operators, and what joins queries and relations; lists and AND and OR do not.
_OPERATORS = frozenset(
    {*(f"ASCII_{ord(one)}" for one in "+-*/%^<>="), "Op", "TYPECAST", "COLLATE", "IS", "ISNULL", "NOTNULL", "AT"}
    | {"NOT", "LIKE", "ILIKE", "SIMILAR", "LESS_EQUALS", "GREATER_EQUALS", "NOT_EQUALS", "BETWEEN", "IN_P", "OPERATOR"}
)
_QUERIES = frozenset({"JOIN", "UNION", "INTERSECT", "EXCEPT"})
_BETWEEN_CHAINS = frozenset({"ASCII_44", "AND", "OR", "WHEN", "THEN", "ELSE", "SELECT", "WHERE"})

# A tree is as deep as its expressions are nested, and a chain of fifty `||` is above protobuf's own limit.
with contextlib.suppress(ImportError):
    from google._upb._message import SetAllowOversizeProtos

    SetAllowOversizeProtos(True)


class Unreadable(ValueError):
    """Postgres' grammar refuses a text: `what` as Postgres words it, `offset` in bytes, None where it gives none.

    `near_line` counts from the line on which the body of a function in PL/pgSQL begins.
    """

    def __init__(self, what: str, offset: int | None, near_line: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.offset = offset
        self.near_line = near_line


@dataclass(frozen=True)
class Token:
    """A token and its place; `kind` is Postgres' name for it: IDENT, SCONST, SQL_COMMENT, SELECT, ASCII_59, …"""

    kind: str
    start: int
    end: int

    @property
    def is_comment(self) -> bool:
        """Whether the grammar passes it over."""
        return self.kind in {"SQL_COMMENT", "C_COMMENT"}


class Source:
    """A text as the parser counts in it, whose first byte stands on line `first_line` of its file."""

    def __init__(self, data: bytes, first_line: int = 1) -> None:
        self.data = data
        self._first_line = first_line
        self._line_ends = [match.start() for match in re.finditer(b"\n", data)]

    def line(self, offset: int) -> int:
        """The 1-based line of its file on which this byte stands."""
        return self._first_line + bisect_left(self._line_ends, offset)

    def text(self, start: int, end: int) -> str:
        """The characters between two offsets."""
        return self.data[start:end].decode()


class Piece:
    """A tree (a statement, an expression, a body) and the text in which its locations count, from `start` to `end`."""

    def __init__(self, node: AstNode, source: Source, start: int = 0, end: int | None = None) -> None:
        self.node = node
        self.source = source
        self.start = start
        self.end = len(source.data) if end is None else end

    def line(self, location: int) -> int:
        """The line of a node's location."""
        return self.source.line(location if location >= 0 else self.start)

    def under(self, node: AstNode) -> Piece:
        """A part of the tree by itself."""
        return Piece(node, self.source, self.start, self.end)

    @cached_property
    def _messages(self) -> list[tuple[str, Message]]:
        return list(postgast.walk(self.node._pb))

    def find(self, kind: type[N]) -> Iterator[N]:
        """Every node of this kind in the tree."""
        return (kind(message) for _, message in self._messages if message.DESCRIPTOR.name == kind.__name__)


def as_statement(expression: str) -> bytes:
    """The shortest statement that holds an expression: the grammar reads statements only."""
    return f"SELECT {expression}".encode()


def statements(data: bytes) -> list[tuple[AstNode, int, int]]:
    """The statements of a text: tree, start and end. Raises Unreadable."""
    text = data.decode()
    _bound_depth(data)
    try:
        parsed = postgast.parse(text)
    except postgast.PgQueryError as error:
        raise _unreadable(error, text) from error
    except DecodeError as error:
        raise Unreadable(TOO_DEEP, None) from error
    return [
        (postgast.wrap(raw.stmt), raw.stmt_location, raw.stmt_location + raw.stmt_len if raw.stmt_len else len(data))
        for raw in parsed.stmts
    ]


def _bound_depth(data: bytes) -> None:
    """Raises Unreadable where a tree would be so deep that libpg_query, which walks it, runs out of the C stack and
    ends the process. `a + b + c` is as deep as it has operators; parentheses and chains around each other add up."""
    if len(data) <= _MOST_DEEP:
        return
    around: list[tuple[int, int]] = []  # for each open parenthesis the counts before it
    operators = queries = 0  # of the chain that is being read, with those of the chains around it
    for token in tokens(data):
        outer = around[-1] if around else (0, 0)
        if token.kind == "ASCII_59" and not around:
            operators = queries = 0
        elif token.kind in _OPENING:
            operators += 1
            around.append((operators, queries))
        elif token.kind in _CLOSING and around:
            operators, queries = around.pop()
        elif token.kind in _BETWEEN_CHAINS:
            operators = outer[0]
        elif token.kind in _QUERIES:
            operators, queries = outer[0], queries + 1
        elif token.kind in _OPERATORS:
            operators += 1
        if operators + queries > _MOST_DEEP:
            raise Unreadable(TOO_DEEP, token.start)


def tokens(data: bytes) -> list[Token]:
    """Every token of a text, comments included. Raises Unreadable, for a quote that never ends for example."""
    text = data.decode()
    try:
        scanned = postgast.scan(text)
    except postgast.PgQueryError as error:
        raise _unreadable(error, text) from error
    return [Token(_TOKENS.get(token.token, "OTHER"), token.start, token.end) for token in scanned.tokens]


def plpgsql(statement: str) -> list[dict[str, Any]]:
    """The functions that a CREATE FUNCTION or DO in PL/pgSQL holds, as libpg_query's JSON has them.

    Raises Unreadable, which gives no offset.
    """
    # postgast.parse_plpgsql reads the JSON itself, which fails for every trigger function.
    result = native.lib.pg_query_parse_plpgsql(statement.encode())
    try:
        check_error(result)
        text = result.plpgsql_funcs.decode()
    except postgast.PgQueryError as error:
        raise _unreadable(error, statement) from error
    finally:
        native.lib.pg_query_free_plpgsql_parse_result(result)
    try:
        # The variables that Postgres makes for a trigger function are written with one brace too many.
        found: list[dict[str, Any]] = json.loads(re.sub(r"(?<=[\[,])\{\}\}(?=[,\]])", "{}", text))
    except RecursionError as error:
        raise Unreadable(TOO_DEEP, None) from error
    return found


def as_function(statement: AstNode, *, body: str) -> str:
    """A CREATE FUNCTION with another body, and with types that libpg_query's PL/pgSQL, which has no catalog, knows."""
    copy = type(statement._pb)()
    copy.CopyFrom(statement._pb)
    for one in copy.parameters:
        parameter = one.function_parameter
        if parameter.mode == pg_query_pb2.FUNC_PARAM_VARIADIC:
            parameter.mode = pg_query_pb2.FUNC_PARAM_IN
        parameter.ClearField("defexpr")
        _plain(parameter.arg_type)
    if copy.HasField("return_type"):
        _plain(copy.return_type)
    for option in copy.options:
        if option.def_elem.defname == "as":
            option.def_elem.arg.list.items[0].string.sval = body
    tree = pg_query_pb2.ParseResult()
    tree.stmts.add().stmt.create_function_stmt.CopyFrom(copy)
    return postgast.deparse(tree)


def _plain(type_name: Any) -> None:
    bare = "text" if type_name.pct_type else type_name.names[-1].string.sval
    known = type_name.names[0].string.sval == "pg_catalog"
    type_name.pct_type = False
    type_name.ClearField("array_bounds")
    if not known:
        type_name.ClearField("names")
        type_name.names.add().string.sval = bare


def bare(text: str) -> Any:
    """The tree of a text's only statement, as a message that may be changed. Raises Unreadable."""
    read = statements(text.encode())
    if len(read) != 1:
        raise Unreadable(f"{len(read)} statements where one is asked for", None)
    tree = pg_query_pb2.Node()
    inner = read[0][0]._pb
    field = next(one for one in tree.DESCRIPTOR.fields if one.message_type is inner.DESCRIPTOR)
    getattr(tree, field.name).CopyFrom(inner)
    return tree


def expression(text: str) -> Any:
    """The tree of an expression, to be put into another tree. Raises Unreadable."""
    return bare(f"SELECT {text}").select_stmt.target_list[0].res_target.val


def copied(tree: Any) -> Any:
    """A tree that can be changed while the first stays as it is."""
    copy = type(tree)()
    copy.CopyFrom(tree)
    return copy


def written(tree: Any) -> str:
    """The text of a statement's tree, on as few lines as its strings allow. Raises Unreadable for a tree that is
    no statement."""
    whole = pg_query_pb2.ParseResult()
    whole.stmts.add().stmt.CopyFrom(tree)
    try:
        text: str = postgast.deparse(whole)
    except postgast.PgQueryError as error:
        raise Unreadable(error.message, None) from error
    return text


def label(enum: str, value: int) -> str:
    """Postgres' name for a value of an enumeration: `label("ObjectType", node.objtype)` is "OBJECT_TABLE"."""
    name: str = getattr(pg_query_pb2, enum).Name(value)
    return name


def strings(listed: Iterable[AstNode]) -> tuple[str, ...]:
    """The parts of a name, or the names in a list."""
    return tuple(one.sval for one in listed if isinstance(one, nodes.String))


def _unreadable(error: postgast.PgQueryError, text: str) -> Unreadable:
    near = re.search(r"near line (\d+)", error.context or "")
    # The only position that Postgres counts in characters, from 1; 0 stands for none.
    offset = len(text[: error.cursorpos - 1].encode()) if error.cursorpos else None
    what = error.message.replace("\ufeff", "<byte order mark>")
    return Unreadable(what, offset, int(near.group(1)) if near else None)


_TOKENS = {value: name for name, value in pg_query_pb2.Token.items()}
