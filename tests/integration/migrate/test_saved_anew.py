"""A file that somebody saves while a command works: what was read at the start is what runs and what is reported."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import pty
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import asyncpg

from tests.integration.migrate.conftest import Write
from tests.integration.migrate.prove.conftest import SubjectOf, bare_template, scratch, subject_of  # noqa: F401
from toolkit.migrate.prove.report import of_proof
from toolkit.migrate.prove.run import prove
from toolkit.migrate.run.run_model import Progress
from toolkit.report.frame import Frame
from toolkit.report.record import Verdict

Connect = Callable[[str], Awaitable[asyncpg.Connection]]

FILES = {
    "1_notes.sql": "create table public.notes (id integer primary key, note text);",
    "rollbacks/1_notes.sql": "-- destroys: table notes\ndrop table public.notes;",
    "verify/1_notes.sql": "-- check: N the table is there\nselect 1 where to_regclass('public.notes') is null;",
}
# Each of them would be noticed: the first two fail, the third finds something.
SAVED_ANEW = {
    "1_notes.sql": "create table public.notes (id nonsense);",
    "rollbacks/1_notes.sql": "-- destroys: table notes\ndrop table public.nonsense;",
    "verify/1_notes.sql": "-- check: N the table is not there\nselect 1;",
}


def sums(files: dict[str, str]) -> list[str]:
    return [hashlib.sha256(text.encode()).hexdigest() for text in files.values()]


async def test_what_is_proved_is_what_the_report_names(subject_of: SubjectOf) -> None:  # noqa: F811
    subject = await subject_of(FILES)
    proofs: list[str] = []

    def save(progress: Progress) -> None:
        proofs.append(progress.message)
        for name, text in SAVED_ANEW.items():
            (subject.folder.path / name).write_text(text)

    object.__setattr__(subject, "tell", save)
    found = await prove(subject, ("replay", "round-trip", "data", "crash", "locks", "behaviour", "delivery"))
    assert len(proofs) > 7
    assert [claim.id for one in found for claim in one.outcome.claims if claim.violations] == []
    report = of_proof(Frame("prove", datetime.now(UTC), "scratch", "0"), subject, found)
    assert report.verdict is not Verdict.FAIL
    (files,) = [table for table in report.tables if table.title == "Files (SHA-256)"]
    assert list(files.rows[0][1:]) == sums(FILES)


async def test_what_was_shown_before_the_question_is_what_runs(bare_db: str, write: Write, connect: Connect) -> None:
    """The file is saved while `toolkit migrate up` waits for the answer."""
    folder = write(FILES)
    ours, terminal = pty.openpty()
    try:
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "toolkit.cli", "migrate", "up", "--migrations", str(folder), "--json"),
            stdin=terminal,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"DATABASE_URL": bare_db},
            cwd=folder,
        )
        try:
            assert running.stderr is not None
            async with asyncio.timeout(60):
                shown = await running.stderr.readuntil(b"[y/N]")
            write(SAVED_ANEW)
            os.write(ours, b"y\n")
            async with asyncio.timeout(60):
                out, err = await running.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
    finally:
        os.close(ours)
        os.close(terminal)
    assert running.returncode == 0, err.decode()
    assert re.search(r"1_notes", shown.decode())
    (step,) = json.loads(out)["run"]["steps"]
    assert step["sha256"] == sums(FILES)[0]
    conn = await connect(bare_db)
    recorded = await conn.fetchval("select statements from supabase_migrations.schema_migrations")
    assert recorded == [FILES["1_notes.sql"].rstrip(";")]
    assert await conn.fetchval("select sha256 from supabase_migrations.toolkit_events") == sums(FILES)[0]
