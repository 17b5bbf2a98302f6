"""SQL text → statements, cut where Postgres' own grammar ends them, and what kind each statement is. Pure.

The grammar is that of Postgres 18 (`parse.GRAMMAR`). A statement that it does not accept (a mistake, or the syntax of a
later version) is cut off at its semicolon, marked with what is wrong, and left to the server to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from toolkit.migrate.folder.psql import without_psql
from toolkit.migrate.folder.tokens import BACKSLASH, SEMICOLON, between_semicolons, copies_from_stdin, until_unreadable
from toolkit.sql import parse
from toolkit.sql.parse import AstNode, Piece, Source, Token, Unreadable, label, nodes

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK = " \t\r\n\f\v"
_BEGINS_OR_ENDS = frozenset(
    {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"}
)  # the first words of transaction control
ROWS_END = "End them with a line that holds `\\.` alone, or write the rows as INSERT statements."
_READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
_UNTERMINATED = re.compile(r"unterminated (.+?)(?: at or near .*)?$", re.DOTALL)


class SplitError(ValueError):
    """The text cannot be cut: `line` (1-based) is where the trouble starts; `remedy` says what to do."""

    def __init__(self, line: int, what: str, remedy: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line = line
        self.what = what
        self.remedy = remedy


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
    file and for a statement that it does not accept (`trouble` says why). `rows` is what stands behind COPY … FROM
    STDIN, up to the line `\\.`.
    """

    index: int
    line: int
    start_line: int
    text: str
    leading: str
    comments: tuple[Comment, ...] = ()
    tree: Piece | None = field(default=None, compare=False, repr=False)
    trouble: Trouble | None = None
    rows: str | None = None

    @property
    def recorded(self) -> str:
        """As a history keeps it: its text, with the rows that it reads."""
        return self.text if self.rows is None else f"{self.text};\n{self.rows}\\."

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
        """Whether it begins or ends a transaction, which is the runner's business; savepoints are the file's own."""
        if self.trouble is not None:
            return self.verb in _BEGINS_OR_ENDS
        return isinstance(self.node, nodes.TransactionStmt) and not self.is_savepoint

    @property
    def is_savepoint(self) -> bool:
        """Whether it is SAVEPOINT, RELEASE or ROLLBACK TO, which need a transaction around them."""
        node = self.node
        kind = label("TransactionStmtKind", node.kind) if isinstance(node, nodes.TransactionStmt) else ""
        return kind in {"TRANS_STMT_SAVEPOINT", "TRANS_STMT_RELEASE", "TRANS_STMT_ROLLBACK_TO"}

    @property
    def refuses_transaction(self) -> str | None:
        """The construct (`CREATE INDEX CONCURRENTLY`, …) for which Postgres refuses a transaction block, or None."""
        return _refuses_transaction(self.node)

    @property
    def is_copy_from_stdin(self) -> bool:
        """Whether the rows that it reads stand behind it in the file."""
        node = self.node
        return isinstance(node, nodes.CopyStmt) and node.is_from and not node.is_program and not node.filename


def split(text: str) -> tuple[Statement, ...]:
    """Cut `text` into statements, the comments before each kept with it.

    The rows behind COPY … FROM STDIN belong to it; psql's \\restrict and \\unrestrict are passed over. Raises
    SplitError for a quote or comment that never ends, a NUL, another command of psql, and rows that never end.
    """
    source, rows = _source(text)
    try:
        read = [
            _Read(Piece(node, source, start, end), start, end) for node, start, end in parse.statements(source.data)
        ]
    except Unreadable:
        read = _read_singly(source, rows)
    return tuple(_numbered(source, read, rows))


def to_run(pieces: Sequence[Statement]) -> tuple[Statement, ...]:
    """What there is to run: no comments, and without the wrapper, numbered as if that were not there."""
    around = wrapper(pieces)
    statements = tuple(piece for piece in pieces if not piece.is_comment and piece not in around)
    return tuple(replace(one, index=number) for number, one in enumerate(statements, 1)) if around else statements


def wrapper(pieces: Sequence[Statement]) -> tuple[Statement, ...]:
    """One BEGIN as the first statement and one COMMIT as the last, which say what the runner does anyway; or none."""
    statements = [piece for piece in pieces if not piece.is_comment]
    control = [statement for statement in statements if statement.is_transaction_control]
    if len(control) != 2 or control != [statements[0], statements[-1]]:
        return ()
    match [statement.node for statement in control]:
        case [nodes.TransactionStmt(options=[]) as first, nodes.TransactionStmt(chain=False) as last]:
            kinds = (label("TransactionStmtKind", first.kind), label("TransactionStmtKind", last.kind))
            if kinds in {("TRANS_STMT_BEGIN", "TRANS_STMT_COMMIT"), ("TRANS_STMT_START", "TRANS_STMT_COMMIT")}:
                return (control[0], control[1])
    return ()


def without_wrapper(pieces: Sequence[Statement]) -> tuple[str, ...]:
    """The texts of all pieces as a history keeps them, of the wrapper only the comments that stand around it."""
    around = wrapper(pieces)
    return tuple(piece.leading if piece in around else piece.recorded for piece in pieces)


def comments(text: str) -> tuple[Comment, ...]:
    """Every comment of a text that begins with `--`, inside statements as well. Raises SplitError as split does."""
    source, rows = _source(text)
    return tuple(_comment(source, token) for token in _tokens(source, rows) if token.kind == "SQL_COMMENT")


@dataclass(frozen=True)
class _Read:
    """A statement without its comments: what the grammar made of it, and its place."""

    read: Piece | Trouble
    start: int
    end: int


def _source(text: str) -> tuple[Source, dict[int, str]]:
    """The text that the server would get, and the rows behind each COPY by the offset of its semicolon."""
    if (nul := text.find("\0")) >= 0:
        line = text.count("\n", 0, nul) + 1
        raise SplitError(line, "the file holds a NUL byte", "Remove it; no SQL text has one.")
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise SplitError(line, "the text holds half a surrogate pair", "Save the file as UTF-8 anew.") from error
    if data.startswith(_BYTE_ORDER_MARK * 2):
        raise SplitError(1, "the file begins with two byte order marks", "Save it as UTF-8 without any.")
    if data.startswith(_BYTE_ORDER_MARK):
        data = data.replace(_BYTE_ORDER_MARK, b" " * len(_BYTE_ORDER_MARK), 1)
    data, rows = without_psql(data)
    return Source(data), rows


def _numbered(source: Source, read: list[_Read], rows: Mapping[int, str]) -> Iterator[Statement]:
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
                    cut = _statement(source, (start, place.start), current, before, number)
                    yield replace(cut, rows=rows[place.start]) if place.start in rows else cut
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


def _read_singly(source: Source, rows: Mapping[int, str]) -> list[_Read]:
    """Statement by statement, for a text that the grammar does not accept as a whole."""
    found = []
    for tokens in between_semicolons(_tokens(source, rows)):
        start, end = tokens[0].start, tokens[-1].end
        alone = Source(source.data[start:end], source.line(start))
        try:
            node, _, _ = parse.statements(alone.data)[0]
            found.append(_Read(Piece(node, alone), start, end))
        except Unreadable as error:
            line = alone.line(error.offset if error.offset is not None else 0)
            found.append(_Read(Trouble(line, error.what), start, end))
    return found


def _tokens(source: Source, rows: Mapping[int, str]) -> list[Token]:
    """Every token. Raises SplitError, saying what is not SQL."""
    try:
        found = parse.tokens(source.data)
    except Unreadable as error:
        _refuse_what_is_for_psql(source, until_unreadable(source.data), rows)
        line = source.line(error.offset or 0)
        if unterminated := _UNTERMINATED.match(error.what):
            what = unterminated.group(1).replace("/* comment", "block comment")
            raise SplitError(line, f"the {what} that starts here never ends", "Close it.") from error
        raise SplitError(line, error.what, "Correct it: Postgres cannot read the file from here on.") from error
    _refuse_what_is_for_psql(source, found, rows)
    return found


def _refuse_what_is_for_psql(source: Source, tokens: Sequence[Token], rows: Mapping[int, str]) -> None:
    """psql's own commands, and rows behind COPY without an end: the text is no SQL from there on, whatever it looks
    like."""
    command = next((token for token in tokens if token.kind == BACKSLASH), None)
    if command is None and len(tokens) and tokens[-1].end >= len(source.data.rstrip()):
        return
    before = [token for token in tokens if command is None or token.start < command.start]
    for statement in between_semicolons(before):
        if copies_from_stdin(statement) and _semicolon_after(statement, before) not in rows:
            line = source.line(statement[0].start)
            raise SplitError(line, "the rows behind COPY … FROM STDIN never end", ROWS_END)
    if command is not None:
        raise SplitError(
            source.line(command.start),
            f"{_meta_command(source, command)} is a psql meta-command, not SQL",
            "Remove it: only psql understands it. Inline what it would include or set.",
        )


def _semicolon_after(statement: Sequence[Token], tokens: Sequence[Token]) -> int | None:
    after = (token for token in tokens if token.start >= statement[-1].end and token.kind == SEMICOLON)
    return next((token.start for token in after), None)


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
