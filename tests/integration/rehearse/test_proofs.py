"""The proofs of the rehearsal, each seen to fail on the defect it is there for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.run.api import migrate_down, migrate_up, snapshot
from toolkit.migrate.run.run_model import Options as MigrateOptions
from toolkit.rehearse.phases.proofs import compare_catalog
from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.populate import build, populate
from toolkit.rehearse.stage.rows import changes, read_rows
from toolkit.rehearse.traffic.writer import AcknowledgedWrites, stored_values
from toolkit.report.record import Verdict
from toolkit.resources import migrations_dir

LEGACY = "20250605000000"
MIGRATION = "20250727000000_supabase_realtime_migration.sql"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(migrations_dir(), tmp_path / "migrations"))


def append(path: Path, statement: str) -> None:
    path.write_text(f"{path.read_text()}\n{statement}\n")


async def populated(dsn: str, folder: Path, connect) -> object:
    assert (await migrate_up(dsn, read_folder(folder), to=LEGACY)).ok
    conn = await connect(dsn)
    await populate(conn, build(40))
    return conn


@pytest.mark.parametrize(
    ("defect", "seen"),
    [
        ("", ""),
        (
            "update public.generated_articles_state set auto_resume_eligible = true where status = 'resuming';",
            "auto_resume_eligible",
        ),
        ("delete from public.image_placeholders where placeholder_id = 'img_0';", "public.image_placeholders"),
        ("update public.articles set keywords = array_append(keywords, 'x') where title = '記事 3';", "keywords"),
    ],
)
async def test_a_migration_that_alters_a_row_is_found(bare_db, connect, folder, defect, seen):
    conn = await populated(bare_db, folder, connect)
    before = await read_rows(conn)
    append(folder / MIGRATION, defect)
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    after = await read_rows(conn)
    found = changes(before, after)
    assert bool(found) == bool(seen)
    assert (before.digest() == after.like(before, keys=True).digest()) == (not seen)
    assert any(seen in str(change) for change in found) or not seen


@pytest.mark.parametrize(
    ("defect", "seen"),
    [
        ("", ""),
        ("create table public.left_behind (id integer primary key);", "left_behind"),
        ("grant execute on function public.cleanup_old_processes(integer) to anon;", "cleanup_old_processes"),
        ("alter publication supabase_realtime add table public.generated_articles_state;", "supabase_realtime"),
        ("alter table public.articles alter column title set default '';", "articles"),
    ],
)
async def test_a_rollback_that_leaves_something_behind_is_found(bare_db, connect, folder, tmp_path, defect, seen):
    await populated(bare_db, folder, connect)
    before = await snapshot(bare_db)
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    append(folder / "rollbacks" / MIGRATION, defect)
    down = await migrate_down(
        bare_db, read_folder(folder), to=LEGACY, options=MigrateOptions(export_dir=tmp_path / "exports")
    )
    assert down.ok, down.steps
    found = Findings("rollback", "rollback")
    compare_catalog(found, "catalog", "The catalog is as before", before, await snapshot(bare_db))
    (check,) = found.checks
    assert check.verdict is (Verdict.FAIL if seen else Verdict.PASS)
    assert any(seen in line for line in check.witness) or not seen


async def test_a_rollback_that_forgets_a_value_is_found(bare_db, connect, folder, tmp_path):
    """Dropping a column and adding it again leaves the same catalog, and no value."""
    conn = await populated(bare_db, folder, connect)
    catalog, rows = await snapshot(bare_db), await read_rows(conn)
    append(
        folder / "rollbacks" / MIGRATION,
        "alter table public.articles drop column target_audience;\n"
        "alter table public.articles add column target_audience text;",
    )
    (folder / "rollbacks" / MIGRATION).write_text(
        "-- destroys: column public.articles.target_audience\n" + (folder / "rollbacks" / MIGRATION).read_text()
    )
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    down = await migrate_down(
        bare_db, read_folder(folder), to=LEGACY, options=MigrateOptions(export_dir=tmp_path / "exports")
    )
    assert down.ok, down.steps
    found = changes(rows, await read_rows(conn))
    assert {change.split(" of row ")[0] for change in found} == {"public.articles.target_audience"}
    assert catalog.facts.keys() == (await snapshot(bare_db)).facts.keys()


async def test_a_lost_write_is_found(legacy_db, connect):
    conn = await connect(legacy_db)
    population = build(40)
    await populate(conn, population)
    row, other = population.owned[:2]
    acknowledged_writes = AcknowledgedWrites(acknowledged={row: 7, other: 3}, doubtful={row: 7, other: 4}, count=2)
    for process, ticket in ((row, 6), (other, 4)):
        await conn.execute(
            "update public.generated_articles_state set process_metadata = jsonb_build_object('ticket', $2::int)"
            " where id = $1",
            process,
            ticket,
        )
    assert acknowledged_writes.missing(await stored_values(conn, population.owned)) == (
        f"row {row}: value 7 was acknowledged, 6 is stored",
    )
