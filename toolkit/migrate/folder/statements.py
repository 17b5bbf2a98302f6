"""SQL text → statements, cut where Postgres' own grammar ends them, and what kind each statement is. Pure.

The grammar is that of Postgres 18 (`parse.GRAMMAR`). A statement that it does not accept (a mistake, or the syntax of a
later version) is cut off at its semicolon, marked with what is wrong, and left to the server to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from toolkit.sql import parse
from toolkit.sql.parse import AstNode, Piece, Source, Token, Unreadable, label, nodes

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK = " \t\r\n\f\v"
_BEGINS_OR_ENDS = frozenset(
    {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"}
)  # the first words of transaction control
_READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
_UNTERMINATED = re.compile(r"unterminated (.+?)(?: at or near .*)?$", re.DOTALL)


class SplitError(ValueError):
    """The text cannot be cut: `line` (1-based) is where the trouble starts; `remedy` says what to do."""

    def __init__(self, line: int, what: str, remedy: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line = line
        self.what = what
        self.remedy = remedy


class CopyDataError(SplitError):
    """COPY … FROM STDIN with its data, which is no SQL."""


@dataclass(frozen=True)
class Comment:
    """A comment that begins with `--`, and its 1-based line."""

    line: int
    text: str


@dataclass(frozen=True)
class Trouble:
    """Why Postgres' grammar does not accept a statement, and the 1-based line on which it stops."""

    line: int
    what: str


@dataclass(frozen=True)
class Statement:
    """One statement.

    `index` counts from 1; `line` is the 1-based line of its first word, `start_line` that on which `text` starts;
    `text` starts with the comments before it and has no final semicolon; `leading` is those comments alone, `comments`
    those of them that begin with `--`. `tree` is what Postgres' grammar made of it, None for a comment at the end of a
    file and for a statement that it does not accept (`trouble` says why).
    """

    index: int
    line: int
    start_line: int
    text: str
    leading: str
    comments: tuple[Comment, ...] = ()
    tree: Piece | None = field(default=None, compare=False, repr=False)
    trouble: Trouble | None = None

    @property
    def body(self) -> str:
        """The statement without the comments before it."""
        return self.text[len(self.leading) :].lstrip(_BLANK)

    @property
    def node(self) -> AstNode | None:
        """The kind of statement it is, with its parts."""
        return self.tree.node if self.tree is not None else None

    @property
    def verb(self) -> str:
        """Its first word in upper case, "" where it begins with something else."""
        word = re.match(r"[A-Za-z]+", self.body)
        return word.group().upper() if word else ""

    @property
    def is_comment(self) -> bool:
        """Whether there is nothing to run."""
        return self.tree is None and self.trouble is None

    @property
    def is_read(self) -> bool:
        """Whether its result is rows to look at."""
        return self.verb in _READS if self.trouble is not None else isinstance(self.node, nodes.SelectStmt)

    @property
    def is_transaction_control(self) -> bool:
        """Whether it begins or ends a transaction or savepoint, which is the runner's business."""
        if self.trouble is not None:
            return self.verb in _BEGINS_OR_ENDS
        return isinstance(self.node, nodes.TransactionStmt)

    @property
    def refuses_transaction(self) -> str | None:
        """The construct (`CREATE INDEX CONCURRENTLY`, …) for which Postgres refuses a transaction block, or None."""
        return _refuses_transaction(self.node)

    @property
    def is_copy_from_stdin(self) -> bool:
        """Whether the statement's data would follow it in the file, which only psql can send."""
        node = self.node
        return isinstance(node, nodes.CopyStmt) and node.is_from and not node.is_program and not node.filename


def split(text: str, *, without: Sequence[str] = ()) -> tuple[Statement, ...]:
    """Cut `text` into statements, the comments before each kept with it.

    `without` are psql's meta-commands to pass over, each with its line. Raises SplitError for a quote or comment that
    never ends, a NUL, another meta-command, and COPY … FROM STDIN with its data.
    """
    source = _source(text, without)
    try:
        read = [
            _Read(Piece(node, source, start, end), start, end) for node, start, end in parse.statements(source.data)
        ]
    except Unreadable:
        read = _read_singly(source)
    return tuple(_numbered(source, read))


def comments(text: str) -> tuple[Comment, ...]:
    """Every comment of a text that begins with `--`, inside statements as well. Raises SplitError as split does."""
    source = _source(text)
    return tuple(_comment(source, token) for token in _tokens(source) if token.kind == "SQL_COMMENT")


@dataclass(frozen=True)
class _Read:
    """A statement without its comments: what the grammar made of it, and its place."""

    read: Piece | Trouble
    start: int
    end: int


def _source(text: str, without: Sequence[str] = ()) -> Source:
    if (nul := text.find("\0")) >= 0:
        line = text.count("\n", 0, nul) + 1
        raise SplitError(line, "the file holds a NUL byte", "Remove it; no SQL text has one.")
    data = text.encode()
    if data.startswith(_BYTE_ORDER_MARK):
        data = data.replace(_BYTE_ORDER_MARK, b" " * len(_BYTE_ORDER_MARK), 1)
    source = Source(data)
    while without and (token := _first_of(source, without)):
        end = source.data.find(b"\n", token.start)
        end = len(source.data) if end < 0 else end
        source = Source(source.data[: token.start] + b" " * (end - token.start) + source.data[end:])
    return source


def _first_of(source: Source, meta_commands: Sequence[str]) -> Token | None:
    """The first of these meta-commands. One at a time: what stands behind one (`\\restrict 1xY…`) may be no token of
    SQL, and nothing after it can be read while it is there."""
    found = (token for token in _until_unreadable(source) if token.kind == "ASCII_92")
    return next((token for token in found if _meta_command(source, token) in meta_commands), None)


def _numbered(source: Source, read: list[_Read]) -> Iterator[Statement]:
    """Statements with the comments before them, and comments that no statement follows."""
    number = at = start = 0
    current: _Read | None = None
    before: list[Token] = []
    for following in (*read, None):
        upto = following.start if following is not None else len(source.data)
        for token in parse.tokens(source.data[at:upto]):
            place = Token(token.kind, at + token.start, at + token.end)
            if place.is_comment:
                before.append(place)
            else:  # a semicolon
                if source.text(start, place.start).strip(_BLANK):
                    number += 1
                    yield _statement(source, (start, place.start), current, before, number)
                start, current, before = place.end, None, []
        if following is not None:
            current, at = following, following.end
    if source.text(start, len(source.data)).strip(_BLANK):
        yield _statement(source, (start, len(source.data)), current, before, number + 1)


def _statement(
    source: Source, place: tuple[int, int], read: _Read | None, before: list[Token], index: int
) -> Statement:
    start = place[0]
    text = source.text(*place)
    begins = start + len(text.encode()) - len(text.lstrip(_BLANK).encode())
    text = text.strip(_BLANK)
    first = read.start if read is not None else begins
    leading = source.text(start, first).strip(_BLANK) if read is not None else text
    return Statement(
        index=index,
        line=source.line(first),
        start_line=source.line(begins),
        text=text,
        leading=leading,
        comments=tuple(
            _comment(source, token)
            for token in before
            if token.kind == "SQL_COMMENT" and (read is None or token.start < read.start)
        ),
        tree=read.read if read is not None and isinstance(read.read, Piece) else None,
        trouble=read.read if read is not None and isinstance(read.read, Trouble) else None,
    )


def _comment(source: Source, token: Token) -> Comment:
    return Comment(source.line(token.start), source.text(token.start, token.end).rstrip())


def _read_singly(source: Source) -> list[_Read]:
    """Statement by statement, for a text that the grammar does not accept as a whole."""
    found = []
    for tokens in _between_semicolons(_tokens(source)):
        start, end = tokens[0].start, tokens[-1].end
        alone = Source(source.data[start:end], source.line(start))
        try:
            node, _, _ = parse.statements(alone.data)[0]
            found.append(_Read(Piece(node, alone), start, end))
        except Unreadable as error:
            line = alone.line(error.offset if error.offset is not None else 0)
            found.append(_Read(Trouble(line, error.what), start, end))
    return found


def _between_semicolons(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of each statement, comments left out. Semicolons in parentheses (CREATE RULE) and in BEGIN ATOMIC …
    END are a statement's own."""
    found: list[Token] = []
    kinds: set[str] = set()
    parentheses = atomic = 0
    for token in tokens:
        if token.is_comment:
            continue
        if token.kind == "ASCII_59" and not parentheses and not atomic:
            if found:
                yield found
            found, kinds = [], set()
            continue
        if atomic:
            atomic += (token.kind == "CASE") - (token.kind == "END_P")
        elif token.kind == "ATOMIC" and found and found[-1].kind == "BEGIN_P" and kinds & {"FUNCTION", "PROCEDURE"}:
            atomic = 1
        parentheses = max(parentheses + _OPENS.get(token.kind, 0), 0)
        found.append(token)
        kinds.add(token.kind)
    if found:
        yield found


_OPENS = {"ASCII_40": 1, "ASCII_91": 1, "ASCII_41": -1, "ASCII_93": -1}


def _tokens(source: Source) -> list[Token]:
    """Every token. Raises SplitError, saying what is not SQL."""
    try:
        found = parse.tokens(source.data)
    except Unreadable as error:
        _refuse_what_is_for_psql(source, _until_unreadable(source))
        line = source.line(error.offset or 0)
        if unterminated := _UNTERMINATED.match(error.what):
            what = unterminated.group(1).replace("/* comment", "block comment")
            raise SplitError(line, f"the {what} that starts here never ends", "Close it.") from error
        raise SplitError(line, error.what, "Correct it: Postgres cannot read the file from here on.") from error
    _refuse_what_is_for_psql(source, found)
    return found


def _until_unreadable(source: Source) -> list[Token]:
    """The tokens before the first that cannot be read."""
    try:
        return parse.tokens(source.data)
    except Unreadable as error:
        return parse.tokens(source.data[: error.offset or 0])


def _refuse_what_is_for_psql(source: Source, tokens: Sequence[Token]) -> None:
    """psql's own commands and the data behind COPY: the file's text is no SQL from there on, whatever it looks like."""
    command = next((token for token in tokens if token.kind == "ASCII_92"), None)
    if command is None and len(tokens) and tokens[-1].end >= len(source.data.rstrip()):
        return
    before = [token for token in tokens if command is None or token.start < command.start]
    for statement in _between_semicolons(before):
        if statement[0].kind == "COPY" and {"FROM", "STDIN"} <= {token.kind for token in statement}:
            raise CopyDataError(
                source.line(statement[0].start),
                "COPY … FROM STDIN needs psql to send the data",
                "Write the rows as INSERT statements.",
            )
    if command is not None:
        raise SplitError(
            source.line(command.start),
            f"{_meta_command(source, command)} is a psql meta-command, not SQL",
            "Remove it: only psql understands it. Inline what it would include or set.",
        )


def _meta_command(source: Source, backslash: Token) -> str:
    return source.data[backslash.start :].split(maxsplit=1)[0].decode()


def _refuses_transaction(node: AstNode | None) -> str | None:
    match node:
        case nodes.IndexStmt(concurrent=True):
            return "CREATE INDEX CONCURRENTLY"
        case nodes.DropStmt(concurrent=True):
            return "DROP INDEX CONCURRENTLY"
        case nodes.ReindexStmt():
            if any(isinstance(one, nodes.DefElem) and one.defname == "concurrently" for one in node.params):
                return "REINDEX CONCURRENTLY"
            many = label("ReindexObjectType", node.kind).rpartition("_")[2] in {"SCHEMA", "SYSTEM", "DATABASE"}
            return "REINDEX SCHEMA/DATABASE/SYSTEM" if many else None
        case nodes.AlterTableStmt():
            parts = (command.def_ for command in node.cmds if isinstance(command, nodes.AlterTableCmd))
            detaches = any(isinstance(part, nodes.PartitionCmd) and part.concurrent for part in parts)
            return "ALTER TABLE … DETACH PARTITION … CONCURRENTLY" if detaches else None
        case nodes.VacuumStmt(is_vacuumcmd=True):
            return "VACUUM"
        case nodes.ClusterStmt(relation=None):
            return "CLUSTER"
        case nodes.DiscardStmt() if label("DiscardMode", node.target) == "DISCARD_ALL":
            return "DISCARD ALL"
    return _REFUSE.get(type(node).__name__)


# ALTER DATABASE … SET and ALTER TABLESPACE … SET/OWNER are ordinary statements.
_REFUSE = {
    "CreatedbStmt": "CREATE DATABASE",
    "DropdbStmt": "DROP DATABASE",
    "CreateTableSpaceStmt": "CREATE TABLESPACE",
    "DropTableSpaceStmt": "DROP TABLESPACE",
    "CreateSubscriptionStmt": "CREATE SUBSCRIPTION",
    "AlterSubscriptionStmt": "ALTER SUBSCRIPTION",
    "DropSubscriptionStmt": "DROP SUBSCRIPTION",
    "AlterSystemStmt": "ALTER SYSTEM",
}
