"""What a file holds for psql and not for the server: the rows behind COPY … FROM STDIN, and \\restrict lines. Pure."""

from __future__ import annotations

import re

from toolkit.migrate.folder.tokens import BACKSLASH, SEMICOLON, between_semicolons, copies_from_stdin, until_unreadable

# pg_dump writes them so that psql obeys no other command of a dump; they do nothing to the database.
_MEAN_NOTHING = ("\\restrict", "\\unrestrict")
_STARTS_WITH_BACKSLASH = re.compile(rb"^[ \t]*\\", re.MULTILINE)
_END_OF_ROWS = re.compile(rb"^\\\.[ \t]*\r?(?:\n|\Z)", re.MULTILINE)


def without_psql(data: bytes) -> tuple[bytes, dict[int, str]]:
    """The text with blanks for what only psql reads, and the rows behind each COPY by the offset of its semicolon.

    Offsets and lines stay as they were. Other commands of psql, and rows that never end, are left where they are.
    """
    rows: dict[int, str] = {}
    at = 0
    for backslash in _STARTS_WITH_BACKSLASH.finditer(data):
        if backslash.start() < at:
            continue  # among rows that are read already
        # Only up to this line: what follows may be rows, in which anything looks like the start of a text.
        tokens = until_unreadable(data[at : backslash.start()])
        for statement in between_semicolons(tokens):
            if copies_from_stdin(statement):
                after = (token for token in tokens if token.kind == SEMICOLON and token.start >= statement[-1].end)
                if (semicolon := next(after, None)) is not None:
                    begin = data.find(b"\n", at + semicolon.start) + 1
                    end = _END_OF_ROWS.search(data, begin) if begin else None
                    if end is None:
                        return data, rows
                    rows[at + semicolon.start] = data[begin : end.start()].decode()
                    data, at = _blank(data, begin, end.end()), end.end()
                break
        else:
            command = backslash.end() - 1
            line_end = data.find(b"\n", command)
            line_end = len(data) if line_end < 0 else line_end
            words = data[command:line_end].split(maxsplit=1)
            outside = until_unreadable(data[at : command + 1])[-1:]
            if words[0].decode() in _MEAN_NOTHING and outside and outside[0].kind == BACKSLASH:
                data = _blank(data, command, line_end)
    return data, rows


def _blank(data: bytes, start: int, end: int) -> bytes:
    return data[:start] + re.sub(rb"[^\n]", b" ", data[start:end]) + data[end:]
