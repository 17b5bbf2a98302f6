"""Reads and writes what was applied: the Supabase CLI's history, and the toolkit's ledger with checksums."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import asyncpg

from toolkit.errors import EnvironmentError_
from toolkit.migrate.folder.files import Migration, Script
from toolkit.migrate.folder.statements import SplitError, Statement, split, without_wrapper
from toolkit.postgres.connection import Connection
from toolkit.report.record import tool_version
from toolkit.sql import history as sql

Direction = Literal["up", "down"]


@dataclass(frozen=True)
class AppliedRow:
    """A row of `schema_migrations`. `statements` and `name` are None where the writer left them out."""

    version: str
    name: str | None
    statements: tuple[str, ...] | None


@dataclass(frozen=True)
class Event:
    """The last success the ledger recorded for a version; `sha256` is that of the file that ran."""

    version: str
    event: Literal["applied", "rolled_back"]
    sha256: str
    at: datetime
    duration_ms: int
    runner: str


@dataclass(frozen=True)
class JournalEntry:
    """A statement of a file without transaction: `started` (it may or may not have happened) or `done`."""

    index: int
    sha256: str
    state: Literal["started", "done"]


@dataclass(frozen=True)
class History:
    """Everything a plan needs to know of the database."""

    rows: tuple[AppliedRow, ...] = ()
    events: Mapping[str, Event] = field(default_factory=dict)
    journal: Mapping[tuple[str, Direction], tuple[JournalEntry, ...]] = field(default_factory=dict)

    def row(self, version: str) -> AppliedRow | None:
        """The history row of a version, or None when it is not applied."""
        return next((row for row in self.rows if row.version == version), None)


@dataclass(frozen=True)
class Runner:
    """The process that runs: `who` is `user@host:pid`; `run_id` is shared by the events of one run."""

    who: str
    tool_version: str
    run_id: uuid.UUID

    @classmethod
    def of_this_process(cls) -> Runner:
        """A new run of this process."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container's user without a name
            user = str(os.getuid())
        who = f"{user}@{socket.gethostname()}:{os.getpid()}"
        return cls(who, tool_version(), uuid.uuid4())


def statement_hash(statement: Statement) -> str:
    """SHA-256 of a statement's text."""
    return hashlib.sha256(statement.recorded.encode()).hexdigest()


def same_text(recorded: tuple[str, ...], script: Script) -> bool:
    """Whether recorded statements are the file's text, white space, semicolons and one BEGIN … COMMIT around it apart.

    Tells an edited file from an unchanged one when somebody else applied it and no checksum is known.
    """
    return same_bar_white_space(recorded, script) or _without_wrapper(recorded) == plain_text(
        ";".join(without_wrapper(script.pieces)) if script.pieces else script.text
    )


def same_bar_white_space(recorded: tuple[str, ...], script: Script) -> bool:
    """Whether recorded statements are the file's text, white space and semicolons apart."""
    return plain_text(";".join(recorded)) == plain_text(script.text)


def differs_in_wrapper_alone(recorded: tuple[str, ...], script: Script) -> bool:
    """Whether a file differs from what was recorded, and only in the BEGIN … COMMIT around it.

    A row that somebody rewrote from the edited file would be that file's text to the letter.
    """
    return not same_bar_white_space(recorded, script) and same_text(recorded, script)


def _without_wrapper(recorded: tuple[str, ...]) -> str:
    try:
        return plain_text(";".join(without_wrapper(split("\n;\n".join(recorded)))))
    except SplitError:
        return plain_text(";".join(recorded))


def plain_text(text: str) -> str:
    """A text without white space and semicolons, to compare what tools cut and joined differently."""
    return re.sub(r"[\s;\ufeff]+", "", text)


async def read_history(conn: Connection) -> History:
    """Read the history without creating or changing anything; a database without any gives an empty one."""
    columns = await _columns(conn)
    if "schema_migrations" not in columns:
        return History()
    complete = {"statements", "name"} <= columns["schema_migrations"]
    rows = tuple(
        AppliedRow(r["version"], r["name"], None if r["statements"] is None else tuple(r["statements"]))
        for r in await conn.fetch(sql.HISTORY if complete else sql.HISTORY_VERSION_ONLY, timeout=30)
    )
    events: dict[str, Event] = {}
    journal: dict[tuple[str, Direction], list[JournalEntry]] = {}
    if "toolkit_events" in columns:
        for r in await conn.fetch(sql.LAST_EVENTS, timeout=30):
            events[r["version"]] = Event(r["version"], r["event"], r["sha256"], r["at"], r["duration_ms"], r["runner"])
    if "toolkit_journal" in columns:
        for r in await conn.fetch(sql.JOURNAL, timeout=30):
            entry = JournalEntry(r["statement_index"], r["sha256"], r["state"])
            journal.setdefault((r["version"], r["direction"]), []).append(entry)
    return History(rows, events, {key: tuple(entries) for key, entries in journal.items()})


async def prepare_history(conn: Connection) -> None:
    """Create the history table as the Supabase CLI does, and our ledger; nothing when they are there.

    Raises EnvironmentError_ when the role may not, or when somebody else keeps the history locked.
    """
    columns = await _columns(conn)
    statements: list[str] = []
    if not {"version", "statements", "name"} <= columns.get("schema_migrations", frozenset()):
        statements += sql.CREATE_HISTORY
    if not {"toolkit_events", "toolkit_journal"} <= columns.keys():
        statements += sql.CREATE_LEDGER
    if statements:
        try:
            async with conn.transaction():
                # The value the CLI sets here; IF NOT EXISTS warns about what is there, which nobody needs to read.
                await conn.execute(sql.PREPARE_QUIETLY, timeout=10)
                for statement in statements:
                    await conn.execute(statement, timeout=30)
        except asyncpg.InsufficientPrivilegeError as error:
            raise EnvironmentError_(
                f"The role may not create the migration history: {error}.",
                "Connect as the owner of the database (on Supabase: postgres).",
            ) from error
        except asyncpg.LockNotAvailableError as error:
            raise EnvironmentError_(
                "Another session keeps the migration history locked.", "Run it again when that has ended."
            ) from error


async def record_applied(conn: Connection, migration: Migration, *, duration_ms: int, runner: Runner) -> None:
    """Write the history row, as the CLI fills it, and our event; call it in the transaction of the DDL."""
    up, rollback = migration.up, migration.rollback
    if "rollback" in (await _columns(conn))["schema_migrations"]:
        undo = None if rollback is None else list(rollback.recorded)
        await conn.execute(
            sql.INSERT_HISTORY_WITH_ROLLBACK, migration.version, list(up.recorded), migration.name, undo, timeout=30
        )
    else:
        await conn.execute(sql.INSERT_HISTORY, migration.version, list(up.recorded), migration.name, timeout=30)
    await conn.execute(sql.CLEAR_JOURNAL, migration.version, "up", timeout=30)
    await _event(conn, "applied", migration, up, duration_ms=duration_ms, runner=runner)


async def record_known(conn: Connection, version: str, migration: Migration, *, runner: Runner, detail: str) -> None:
    """Write that the file of `migration` is what was applied as `version`: a repair found it out; `detail` says how."""
    up = migration.up
    await conn.execute(
        sql.INSERT_EVENT,
        "applied",
        version,
        migration.name,
        up.sha256,
        len(up.statements),
        0,
        runner.who,
        runner.tool_version,
        runner.run_id,
        f"repaired: {detail}",
        timeout=30,
    )


async def record_rolled_back(conn: Connection, migration: Migration, *, duration_ms: int, runner: Runner) -> None:
    """Delete the history row and write our event; call it in the transaction of the DDL."""
    assert migration.rollback is not None
    deleted = await conn.fetchval(sql.DELETE_HISTORY, migration.version, timeout=30)
    assert deleted == migration.version, "the history row vanished while its migration was rolled back"
    await conn.execute(sql.CLEAR_JOURNAL, migration.version, "down", timeout=30)
    await _event(conn, "rolled_back", migration, migration.rollback, duration_ms=duration_ms, runner=runner)


async def record_failed(
    conn: Connection, migration: Migration, script: Script, *, duration_ms: int, runner: Runner, detail: str
) -> None:
    """Write that a file failed; in a transaction of its own, since that of the file is gone."""
    await _event(conn, "failed", migration, script, duration_ms=duration_ms, runner=runner, detail=detail)


async def journal_statement(
    conn: Connection, version: str, direction: Direction, statement: Statement, state: Literal["started", "done"]
) -> None:
    """Note where a file without transaction is."""
    await conn.execute(
        sql.JOURNAL_STATEMENT, version, direction, statement.index, statement_hash(statement), state, timeout=30
    )


async def is_applied(conn: Connection, version: str) -> bool:
    """Whether the history holds the version."""
    return bool(await conn.fetchval(sql.IS_APPLIED, version, timeout=30))


async def run_recorded(conn: Connection, runner: Runner, version: str, event: str) -> bool:
    """Whether this very run recorded the event: tells after a lost connection whether the commit happened."""
    return bool(await conn.fetchval(sql.EVENT_OF_RUN, runner.run_id, version, event, timeout=30))


async def _event(
    conn: Connection,
    event: str,
    migration: Migration,
    script: Script,
    *,
    duration_ms: int,
    runner: Runner,
    detail: str | None = None,
) -> None:
    await conn.execute(
        sql.INSERT_EVENT,
        event,
        migration.version,
        migration.name,
        script.sha256,
        len(script.statements),
        duration_ms,
        runner.who,
        runner.tool_version,
        runner.run_id,
        detail,
        timeout=30,
    )


async def _columns(conn: Connection) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for row in await conn.fetch(sql.COLUMNS, timeout=30):
        found.setdefault(row["relation"], set()).add(row["name"])
    return {relation: frozenset(names) for relation, names in found.items()}
