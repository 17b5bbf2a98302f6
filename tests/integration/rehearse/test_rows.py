"""The legacy rows fit the legacy schema, and whatever changes in them is seen."""

from __future__ import annotations

import pytest

from toolkit.contract.statuses import Status
from toolkit.errors import EnvironmentError_
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.run.api import migrate_up
from toolkit.migrate.verify.run import verify_alone
from toolkit.rehearse.phases.migrate import UNUPDATABLE
from toolkit.rehearse.stage.populate import USERS, build, populate
from toolkit.rehearse.stage.rows import changes, read_rows
from toolkit.report.record import Verdict
from toolkit.resources import migrations_dir


async def test_the_population_has_every_kind_of_row(legacy_db, connect):
    conn = await connect(legacy_db)
    population = build(300)
    await populate(conn, population)
    statuses = dict(await conn.fetch("select status::text, count(*) from public.generated_articles_state group by 1"))
    assert statuses == population.per_status()
    assert set(statuses) == set(Status)
    assert min(statuses.values()) > 20
    assert population.processes >= 300
    assert set(USERS) < set(population.users)
    rows = await read_rows(conn)
    assert all(table.rows for table in rows.tables.values()), "every table holds something"
    assert rows.digest() == (await read_rows(conn)).digest()


async def test_a_population_is_the_same_for_a_seed_and_does_not_fit_other_schemas(bare_db, connect):
    assert build(40, seed=1) == build(40, seed=1)
    assert build(40, seed=1) != build(40, seed=2)
    with pytest.raises(EnvironmentError_, match="legacy schema"):
        await populate(await connect(bare_db), build(40))


@pytest.mark.parametrize(
    ("defect", "seen"),
    [
        (
            "update public.articles set title = title || ' ' "
            "where id = (select min(id::text)::uuid from public.articles)",
            "public.articles.title",
        ),
        (
            "update public.generated_articles_state set generated_content = null "
            "where generated_content = 'null'::jsonb",
            "generated_content",
        ),
        ("delete from public.image_placeholders where placeholder_id = 'img_2'", "is gone"),
        ("alter table public.articles drop column target_audience", "public.articles.target_audience is gone"),
        ("drop table public.image_placeholders", "public.image_placeholders is gone"),
        ("alter table public.articles alter column keywords type text using keywords::text", ""),
    ],
)
async def test_planted_damage_is_found(legacy_db, connect, defect, seen):
    conn = await connect(legacy_db)
    await populate(conn, build(40))
    before = await read_rows(conn)
    await conn.execute(defect)
    found = changes(before, await read_rows(conn))
    if seen:
        assert found
        assert any(seen in str(change) for change in found)
    else:
        assert not found, "the same values under another type are the same values"


async def test_the_migration_leaves_every_row_as_it_was(legacy_db, connect, tmp_path):
    conn = await connect(legacy_db)
    await populate(conn, build(40))
    before = await read_rows(conn)
    assert (await migrate_up(legacy_db, read_folder(migrations_dir()))).ok
    after = await read_rows(conn)
    assert changes(before, after) == ()
    assert after.like(before, keys=True).digest() == before.digest()
    assert len(after.tables) > len(before.tables)


async def test_the_legacy_schemas_own_file_finds_its_rows_without_a_history(legacy_db, connect):
    """Where a project makes these tables by files of its own."""
    conn = await connect(legacy_db)
    await conn.execute("drop schema supabase_migrations cascade")
    (legacy, *_) = read_folder(migrations_dir()).migrations
    assert {check.verdict for check in await verify_alone(legacy_db, legacy)} == {Verdict.PASS}
    await populate(conn, build(40))
    assert [c.id for c in await verify_alone(legacy_db, legacy) if c.verdict is not Verdict.PASS] == [UNUPDATABLE]


async def test_rows_without_a_key_are_compared_by_what_they_hold(bare_db, connect):
    conn = await connect(bare_db)
    await conn.execute("create table plans (name text); insert into plans values ('free'), ('free'), ('paid')")
    before = await read_rows(conn)
    assert changes(before, await read_rows(conn)) == ()
    assert before.digest() == (await read_rows(conn)).like(before, keys=True).digest()
    await conn.execute("update plans set name = 'gratis' where ctid = (select min(ctid) from plans)")
    assert changes(before, await read_rows(conn))
