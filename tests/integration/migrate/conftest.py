"""Small folders of migrations, written by the test that uses them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from toolkit.migrate import Options
from toolkit.migrate.run.locks import LockPolicy

Write = Callable[..., Path]

PAIR = {
    "1_first.sql": "create table public.first (id integer primary key, note text);\n"
    "insert into public.first values (1, 'a');",
    "rollbacks/1_first.sql": "-- destroys: table first\ndrop table public.first;",
    "2_second.sql": "alter table public.first add column extra text default 'x';\n"
    "create table public.second (id integer);",
    "rollbacks/2_second.sql": "-- destroys: table second\n-- destroys: column first.extra\n"
    "drop table public.second;\nalter table public.first drop column extra;",
}


async def until(conn: asyncpg.Connection, question: str, deadline_s: float = 30) -> None:
    """Return when the query answers true."""
    async with asyncio.timeout(deadline_s):
        while not await conn.fetchval(question):  # noqa: ASYNC110 - the database tells nobody when it becomes true
            await asyncio.sleep(0.02)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write({"1_a.sql": "select 1"})` or `write(a="…")`: the folder, with these files added or replaced."""
    folder = tmp_path / "migrations"

    def _write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return folder

    return _write


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Impatient enough for tests; exports go to the test's own folder."""
    policy = LockPolicy(
        lock_timeout_ms=50, first_pause_s=0.02, longest_pause_s=0.1, deadline_s=0.5, runner_deadline_s=0.2
    )
    return Options(locks=policy, export_dir=tmp_path / "exports", statement_deadline_s=60)
