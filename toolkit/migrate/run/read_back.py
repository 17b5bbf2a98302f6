"""The script beside an export that puts its rows back: plain psql, so that it needs nothing but the database."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from toolkit.sql.catalog import PIN_RENDERING
from toolkit.sql.quoting import quote_identifier, quote_name

SCRIPT = "read_back.sql"
# The digest of a row's other columns, as the last one of an export of columns.
ROW_BEFORE = "row_before"

_HOW = f"""\
-- Puts back what the rollback of {{label}} exported, after the migration was applied again:
--
--     cd into this folder, then: psql "$DATABASE_URL" -f {SCRIPT}
--
-- One transaction: everything that can go back does, or nothing changes. No trigger fires, so nothing is recorded
-- twice and no worker is woken; workers find open tasks by polling. Rows of processes that are gone stay out, and
-- a row that changed since keeps what it has. Where another log has begun under the same numbers it refuses.
-- It may be run again. Needs a role that may set session_replication_role: on Supabase, postgres.
"""


@dataclass(frozen=True)
class Staged:
    """One exported file. `compared` are the columns that tell whether a row changed since; None for whole tables.

    `table` and the names are bare; `key` is empty for a table without a primary key.
    """

    table: str
    file: str
    rows: int
    columns: tuple[str, ...]
    key: tuple[str, ...]
    compared: tuple[str, ...] | None = None


def row_digest(compared: Iterable[str]) -> str:
    """SQL for the digest of a row's other columns; only comparable under the same rendering settings."""
    return f"md5(row({', '.join(map(quote_identifier, compared))})::text) as {ROW_BEFORE}"


def script(label: str, staged: Iterable[Staged]) -> str:
    """The text of the script for the files of one rollback."""
    parts = _parts()
    lines = [_HOW.format(label=label), parts["begin"], f"{PIN_RENDERING} \\gset ignored_"]
    for number, one in enumerate(staged, start=1):
        if one.compared is not None and not one.key:
            lines.append(f"\\echo {one.table} has no primary key: see {one.file}, its columns go back by hand")
            continue
        columns = [quote_identifier(name) for name in one.columns]
        if one.compared is not None:
            columns.append(f"null::text as {ROW_BEFORE}")
        lines.append(
            parts["stage"].format(
                stage=f"toolkit_stage_{number}",
                table=quote_name(one.table),
                columns=", ".join(columns),
                file=_text(one.file),
                target=_text(quote_name(one.table)),
                names=_names(one.columns),
                compared="null" if one.compared is None else _names(one.compared),
                key=_names(one.key),
                rows=one.rows,
            )
        )
    return "\n".join([*lines, parts["end"]])


@cache
def _parts() -> dict[str, str]:
    text = files("toolkit.sql").joinpath(SCRIPT).read_text()
    _, *found = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return {name: body.strip() + "\n" for name, body in zip(found[::2], found[1::2], strict=True)}


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _names(names: Iterable[str]) -> str:
    return f"array[{', '.join(map(_text, names))}]::text[]"
