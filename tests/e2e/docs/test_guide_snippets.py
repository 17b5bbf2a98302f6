"""The page on the guide's snippets: what the guide says fails as the page says, and what the page says instead works.

Console blocks of the page are typed by test_pages.py, like those of any page.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from tests.support.documentation import ROOT, Block, blocks
from toolkit.client.session import ArticleGeneration
from toolkit.contract.events import EVENTS, EventType

PAGE = ROOT / "docs" / "guide-snippets.md"
TEXT = PAGE.read_text()
CLI = ROOT / "tests" / "js" / "node_modules" / ".bin" / "supabase"
_ROWS = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \|$", re.MULTILINE)

pytestmark = pytest.mark.xdist_group("documentation")
Connect = Callable[[str], Awaitable[asyncpg.Connection]]


def snippets(language: str) -> list[Block]:
    """Blocks of the page in this language, each with what the page says comes of it."""
    return [block for block in blocks(TEXT, PAGE.name) if block.language == language]


def expected(block: Block) -> str:
    """`works`, `fails CODE` or `exits CODE`: the comment before the block."""
    before = TEXT.splitlines()[block.line - 3]
    found = re.fullmatch(r"<!-- guide: (.+) -->", before)
    assert found, f"{PAGE.name}:{block.line}: nothing says what comes of this block"
    return found[1]


def statements(text: str) -> Iterator[str]:
    """The statements of a block; none of them has a semicolon inside."""
    yield from (part.strip() for part in text.split(";") if part.strip())


@pytest.fixture
async def process(migrated_db: str, connect: Connect) -> tuple[asyncpg.Connection, UUID]:
    """A connection, and a process that is under way."""
    conn = await connect(migrated_db)
    made = await conn.fetchval(
        "insert into public.generated_articles_state (user_id, status, current_step_name) "
        "values ('user_demo', 'in_progress', 'start') returning id"
    )
    return conn, made


@pytest.mark.parametrize("block", snippets("sql"), ids=lambda block: f"{block.title}, line {block.line}")
async def test_sql_does_what_the_page_says(block: Block, process: tuple[asyncpg.Connection, UUID]) -> None:
    conn, process_id = process
    outcome = "works"
    try:
        for statement in statements(block.text.replace("PROCESS_ID", str(process_id))):
            await conn.fetch(statement, timeout=20)
    except asyncpg.PostgresError as error:
        outcome = f"fails {error.sqlstate}"
    assert outcome == expected(block)


async def test_functions_and_triggers_leave_events(process: tuple[asyncpg.Connection, UUID]) -> None:
    conn, process_id = process
    today = next(block for block in snippets("sql") if block.title == "Today" and "create_process_event" in block.text)
    before = await conn.fetchval("select count(*) from public.process_events where process_id = $1", process_id)
    for statement in statements(today.text.replace("PROCESS_ID", str(process_id))):
        rows = await conn.fetch(statement, timeout=20)
    assert [row["event_type"] for row in rows[before:]] == ["test_event", "progress_updated"]


async def test_verifying_by_the_guide_finds_all_names(migrated_db: str, connect: Connect) -> None:
    conn = await connect(migrated_db)
    guide = next(block for block in snippets("sql") if "information_schema.tables" in block.text)
    tables, columns, published = [await conn.fetch(statement) for statement in statements(guide.text)]
    assert (len(tables), len(columns)) == (3, 3)
    assert {"process_events"} <= {row["tablename"] for row in published}


async def test_the_guides_rollback_leaves_half_behind(migrated_db: str, connect: Connect) -> None:
    conn = await connect(migrated_db)
    guide = next(block for block in snippets("sql") if "DROP TABLE" in block.text)
    for statement in statements(guide.text):
        await conn.execute(statement)
    assert await conn.fetchval("select to_regclass('public.process_events')") is None
    left = {
        "trigger": "select count(*) from pg_trigger where tgname = 'trigger_publish_process_event'",
        "functions": "select count(*) from pg_proc where proname = 'create_process_event'",
        "table": "select count(*) from pg_class where oid = to_regclass('public.task_dependencies')",
        "columns": "select count(*) from pg_attribute where attrelid = 'public.generated_articles_state'::regclass "
        "and attname = 'realtime_channel'",
        "history": "select count(*) from supabase_migrations.schema_migrations where version = '20250727000000'",
    }
    assert [what for what, question in left.items() if not await conn.fetchval(question)] == []


async def test_every_column_of_the_guide_is_there_with_its_type(migrated_db: str, connect: Connect) -> None:
    conn = await connect(migrated_db)
    found = {
        (row["t"], row["c"]): row["type"]
        for row in await conn.fetch(
            "select attrelid::regclass::text as t, attname::text as c, format_type(atttypid, null) as type "
            "from pg_attribute where attrelid = any($1::text[]::regclass[]) and attnum > 0",
            ["process_events", "background_tasks", "generated_articles_state"],
        )
    }
    rows = re.findall(
        r"^\| `(process_events|background_tasks|generated_articles_state)` \| (.+) \|$", TEXT, re.MULTILINE
    )
    named = [(table, *column) for table, told in rows for column in re.findall(r"`(\w+)` ([\w\[\]]+)", told)]
    assert len(named) == 19
    types = {"timestamptz": "timestamp with time zone"}
    assert [one for one in named if found.get(one[:2]) != types.get(one[2], one[2])] == []


@pytest.mark.parametrize("block", snippets("bash"), ids=lambda block: f"line {block.line}")
def test_shell_commands_of_the_guide_end_as_the_page_says(block: Block, tmp_path: Path) -> None:
    program = block.text.split()[0]
    if program == "supabase" and not CLI.exists():
        pytest.skip("the Supabase CLI is not installed: make tests/js/node_modules/.ready")
    path = f"{CLI.parent}:{ROOT / '.venv' / 'bin'}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", block.text],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path), "DO_NOT_TRACK": "1", "SUPABASE_TELEMETRY_DISABLED": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert expected(block) == f"exits {done.returncode}", done.stdout + done.stderr


def test_names_of_the_hook_are_those_of_the_class() -> None:
    named = [theirs for _, theirs in _ROWS.findall(TEXT)][1:]
    assert "start_article_generation" in named
    attributes = vars(ArticleGeneration).keys() | {"state"}
    assert [name for name in named if name not in attributes] == []


def test_events_carry_what_the_guide_reads() -> None:
    assert "step_name" in EVENTS[EventType.STEP_STARTED].required
    assert "input_type" in EVENTS[EventType.USER_INPUT_REQUIRED].required


def test_every_snippet_of_the_page_is_judged() -> None:
    judged = [block for block in blocks(TEXT, PAGE.name) if block.title in {"The guide", "Today"}]
    assert {block.language for block in judged} == {"sql", "bash"}
    assert [expected(block) for block in judged]
    listed = re.findall(r"^\| \[(\d+)\]\(#(\d+)-", TEXT, re.MULTILINE)
    assert [int(number) for number, _ in listed] == list(range(1, len(re.findall(r"^### ", TEXT, re.MULTILINE)) + 1))
