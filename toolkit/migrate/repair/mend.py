"""Mending a history that has come apart from its folder: look, propose, and only when told to, change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from toolkit.errors import EnvironmentError_, RefusalError
from toolkit.migrate.folder.files import Folder, Migration, read_folder, read_script
from toolkit.migrate.repair.model import Disagreement, Named, Prefer, Proposal, Triage
from toolkit.migrate.repair.triage import file_name, names_to_look_up, triage
from toolkit.migrate.run.api import locked
from toolkit.migrate.run.history import History, Runner, prepare_history, read_history, record_applied, record_known
from toolkit.migrate.run.run_model import OnProgress, Options
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import history as history_sql
from toolkit.sql import repair as sql

_LOOK_UP = {"relation": sql.RELATION_EXISTS, "type": sql.TYPE_EXISTS, "function": sql.FUNCTION_EXISTS}
_PARTS = ("", "rollbacks", "verify")


@dataclass(frozen=True)
class Mended:
    """What `mend` did, and what is left for people to decide."""

    done: tuple[Disagreement, ...]
    left: tuple[Disagreement, ...]


async def look(dsn: str, folder: Folder, prefer: Prefer = "files", accepted: Collection[str] = ()) -> Triage:
    """Triage history and folder, as `triage` says; changes nothing."""
    async with connected(dsn) as conn:
        found, _ = await _triage(conn, folder, prefer, accepted)
    return found


async def mend(
    dsn: str,
    folder: Folder,
    agreed: Triage,
    prefer: Prefer = "files",
    accepted: Collection[str] = (),
    *,
    options: Options | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Mended:
    """Carry out the proposals of `agreed`: rows, our ledger's record of them, and files, or none of it.

    Raises RefusalError when what is found now asks for other changes than what was agreed to, EnvironmentError_ when
    the history may not be changed or a file cannot be.
    """
    options = options or Options()
    async with locked(dsn, options, on_progress) as conn:
        try:
            async with conn.transaction():
                await prepare_history(conn)
                for statement in sql.CREATE_REPAIRS:
                    await conn.execute(statement, timeout=30)
                await conn.execute(history_sql.BOUND_WAITING, f"{int(options.locks.deadline_s * 1000)}ms", timeout=10)
                await conn.execute(sql.LOCK_HISTORY, timeout=options.locks.deadline_s + 10)
                # The files themselves will be renamed or recorded: they must be what was looked at.
                same_files = read_folder(folder.path) == folder
                found, history = await _triage(conn, folder, prefer, accepted)
                if not same_files or found.proposals != agreed.proposals:
                    raise RefusalError(
                        "History or folder changed since the proposals were shown; nothing was changed.",
                        "Look at the new proposals: `toolkit migrate repair`.",
                    )
                runner = Runner.of_this_process()
                await _carry_out(conn, folder, history, found, runner)
                # Last, so that a file that cannot be written takes the rows back too.
                for written in _change_files(folder, history, found.proposals):
                    await record_known(conn, written.version, written, runner=runner, detail="file written")
        except asyncpg.LockNotAvailableError as error:
            raise EnvironmentError_(
                "Somebody is writing to the migration history.", "Run it again when they are through."
            ) from error
        except asyncpg.InsufficientPrivilegeError as error:
            raise EnvironmentError_(
                f"The role may not change the history: {error}.", "Connect as its owner (on Supabase: postgres)."
            ) from error
    return Mended(
        tuple(one for one in found.disagreements if one.proposal is not None),
        tuple(one for one in found.disagreements if one.proposal is None),
    )


async def _triage(
    conn: Connection, contents: Folder, prefer: Prefer, accepted: Collection[str]
) -> tuple[Triage, History]:
    history = await read_history(conn)
    exists = await _look_up(conn, names_to_look_up(contents, history))
    return triage(contents, history, exists, prefer, accepted), history


async def _look_up(conn: Connection, names: Sequence[Named]) -> Mapping[Named, bool]:
    return {name: bool(await conn.fetchval(_LOOK_UP[name.kind], name.name, timeout=30)) for name in names}


async def _carry_out(conn: Connection, contents: Folder, history: History, found: Triage, runner: Runner) -> None:
    for one in found.disagreements:
        if (proposal := one.proposal) is None:
            continue
        for version in (*proposal.removed, proposal.row or proposal.file):
            before = await conn.fetchval(sql.ROW_BEFORE, version, timeout=30) if proposal.row else None
            await conn.execute(
                sql.INSERT_REPAIR,
                proposal.action,
                version,
                _becomes(proposal),
                before,
                list(one.evidence),
                list(proposal.changes),
                runner.who,
                runner.tool_version,
                runner.run_id,
                timeout=30,
            )
        await _change_row(conn, contents, history, proposal, runner)


def _becomes(proposal: Proposal) -> str | None:
    """The version under which the row is found afterwards; None: there is none."""
    if proposal.action == "mark_reverted":
        return None
    if proposal.action == "renumber_file":
        return proposal.becomes
    return proposal.file if proposal.action in {"move_row", "mark_applied", "squash_rows"} else proposal.row


async def _change_row(conn: Connection, contents: Folder, history: History, proposal: Proposal, runner: Runner) -> None:
    migration = _file_of(contents, proposal)
    if proposal.action == "mark_reverted":
        deleted = await conn.fetchval(history_sql.DELETE_HISTORY, proposal.row, timeout=30)
        assert deleted == proposal.row, "the history is locked, and the row was there a moment ago"
    elif proposal.action == "mark_applied":
        assert migration is not None
        await record_applied(conn, migration, duration_ms=0, runner=runner)
    elif proposal.row is not None and proposal.action != "write_file":
        assert migration is not None
        for version in proposal.removed:
            deleted = await conn.fetchval(history_sql.DELETE_HISTORY, version, timeout=30)
            assert deleted == version, "the history is locked, and the row was there a moment ago"
        if proposal.action in {"move_row", "squash_rows"}:
            moved = await conn.fetchval(sql.MOVE_ROW, proposal.row, migration.version, migration.name, timeout=30)
            assert moved == migration.version, "the history is locked, and the row was there a moment ago"
        renamed = proposal.action in {"rename_file", "renumber_file"}
        version = proposal.row if renamed else migration.version
        if proposal.rewrites:
            await conn.fetchval(sql.SET_STATEMENTS, version, list(migration.up.recorded), timeout=30)
        await record_known(conn, version, migration, runner=runner, detail="; ".join(proposal.changes))


def _file_of(contents: Folder, proposal: Proposal) -> Migration | None:
    everything = (*contents.migrations, *contents.doubles)
    named = (m for m in everything if m.version == proposal.file and proposal.source in {"", m.up.path.name})
    return next(named, None)


def _change_files(contents: Folder, history: History, proposals: Sequence[Proposal]) -> list[Migration]:
    """Rename and write; returns what was written. Raises EnvironmentError_ with every file as it was."""
    written: list[Migration] = []
    done: list[tuple[Path, Path | None]] = []
    try:
        for proposal in proposals:
            if proposal.action in {"rename_file", "renumber_file"}:
                _rename(contents, proposal, done)
            elif proposal.action == "write_file":
                row = history.row(proposal.row or "")
                assert row is not None
                path = contents.path / file_name(row)
                with path.open("x", encoding="utf-8", newline="\n") as file:
                    done.append((path, None))
                    file.writelines(
                        f"{text}\n" if text.endswith("\n\\.") else f"{text};\n" for text in row.statements or ()
                    )
                written.append(Migration(row.version, row.name or "unnamed", read_script(path), None, None))
    except (OSError, RefusalError) as error:
        for new, old in reversed(done):
            new.unlink() if old is None else new.rename(old)
        if isinstance(error, RefusalError):
            raise
        raise EnvironmentError_(
            f"{error.filename} cannot be written: {error.strerror}; nothing was changed.",
            "Make the folder writable, or move what is in the way.",
        ) from error
    return written


def _rename(contents: Folder, proposal: Proposal, done: list[tuple[Path, Path | None]]) -> None:
    """Adds to `done` as it goes, so that half a rename can be taken back."""
    migration = _file_of(contents, proposal)
    assert migration is not None
    for part in _PARTS:
        old = contents.path / part / migration.up.path.name
        new = old.with_name(f"{proposal.becomes or proposal.row}_{migration.name}.sql")
        if old.is_file():
            if new.exists():
                raise FileExistsError(17, "another file has that name", str(new))
            old.rename(new)
            done.append((new, old))
