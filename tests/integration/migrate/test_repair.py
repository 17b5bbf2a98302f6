"""Repairing a history: shown first, changed only when told to, and what was there is never lost."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from tests.integration.migrate.conftest import PAIR, Write
from toolkit.cli import main
from toolkit.errors import EnvironmentError_, RefusalError
from toolkit.migrate import migrate_status, migrate_up
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.repair.mend import look, mend

Connect = Callable[[str], Awaitable[asyncpg.Connection]]


async def rows(conn: asyncpg.Connection) -> list[tuple[object, ...]]:
    found = await conn.fetch("select * from supabase_migrations.schema_migrations order by version")
    return [tuple(row) for row in found]


async def hosted(conn: asyncpg.Connection) -> None:
    """Version 2 as a hosted project records it: under a time of its own, with columns of its own."""
    await conn.execute(
        "alter table supabase_migrations.schema_migrations add created_by text, add idempotency_key text unique;"
        "update supabase_migrations.schema_migrations set version = '20250101120000', created_by = 'someone',"
        " idempotency_key = 'k' where version = '2';"
        "delete from supabase_migrations.toolkit_events where version = '2'"
    )


async def test_a_row_with_an_own_timestamp_gets_the_version_of_its_file(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder))
    conn = await connect(bare_db)
    await hosted(conn)
    before = await rows(conn)
    found = await look(bare_db, read_folder(folder))
    assert [(p.action, p.row, p.file) for p in found.proposals] == [("move_row", "20250101120000", "2")]
    assert await rows(conn) == before
    assert await conn.fetchval("select to_regclass('supabase_migrations.toolkit_repairs') is null")
    mended = await mend(bare_db, read_folder(folder), found)
    assert [f.id for f in mended.done] == ["moved-20250101120000"]
    assert await rows(conn) == [before[0], ("2", *before[1][1:])]
    status = await migrate_status(bare_db, read_folder(folder))
    assert [v.state for v in status.versions] == ["applied", "applied"]
    repair = await conn.fetchrow("select * from supabase_migrations.toolkit_repairs")
    assert repair is not None
    assert (repair["action"], repair["version"], repair["becomes"]) == ("move_row", "20250101120000", "2")
    assert json.loads(repair["row_before"])["idempotency_key"] == "k"
    event = await conn.fetchrow("select * from supabase_migrations.toolkit_events order by id desc limit 1")
    assert event is not None
    assert (event["event"], event["version"], event["run_id"]) == ("applied", "2", repair["run_id"])
    assert event["detail"].startswith("repaired: history row 20250101120000")
    assert (await look(bare_db, read_folder(folder))).disagreements == ()


async def test_or_the_file_and_its_companions_are_renamed(bare_db: str, write: Write, connect: Connect) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder))
    conn = await connect(bare_db)
    await hosted(conn)
    before = await rows(conn)
    await mend(bare_db, read_folder(folder), await look(bare_db, read_folder(folder), "history"), "history")
    assert await rows(conn) == before
    assert (folder / "20250101120000_second.sql").read_text() == PAIR["2_second.sql"]
    assert (folder / "rollbacks" / "20250101120000_second.sql").is_file()
    assert not (folder / "2_second.sql").exists()
    status = await migrate_status(bare_db, read_folder(folder))
    assert [(v.version, v.state) for v in status.versions] == [("1", "applied"), ("20250101120000", "applied")]


async def test_a_row_without_file_is_written_into_one_that_then_agrees(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(
        PAIR
        | {
            "3_third.sql": "-- a comment; with a semicolon\ncreate function public.f() returns integer"
            " language sql as $$ select 1; $$;\n\ncreate table public.third ();\n"
        }
    )
    await migrate_up(bare_db, read_folder(folder))
    (folder / "3_third.sql").unlink()
    found = await look(bare_db, read_folder(folder))
    assert [(p.action, p.row) for p in found.proposals] == [("write_file", "3")]
    await mend(bare_db, read_folder(folder), found)
    assert (await look(bare_db, read_folder(folder))).disagreements == ()
    assert [v.state for v in (await migrate_status(bare_db, read_folder(folder))).versions] == ["applied"] * 3


async def test_a_row_whose_objects_are_gone_is_removed_and_kept_in_the_ledger(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(
        PAIR
        | {
            "3_third.sql": "create table public.third (); create type public.t as enum ('a');"
            "create function public.f() returns integer language sql as $$ select 1 $$;"
        }
    )
    await migrate_up(bare_db, read_folder(folder))
    conn = await connect(bare_db)
    assert (await look(bare_db, read_folder(folder))).disagreements == ()
    await conn.execute("drop table public.third; drop type public.t")
    (partly,) = (await look(bare_db, read_folder(folder))).disagreements
    assert (partly.id, partly.proposal) == ("partly-gone-3", None)
    await conn.execute("drop function public.f()")
    found = await look(bare_db, read_folder(folder))
    assert [(p.action, p.row) for p in found.proposals] == [("mark_reverted", "3")]
    await mend(bare_db, read_folder(folder), found)
    assert (await migrate_status(bare_db, read_folder(folder))).pending == ("3",)
    kept = await conn.fetchval("select row_before from supabase_migrations.toolkit_repairs")
    assert json.loads(kept)["statements"][0] == "create table public.third ()"
    assert (await migrate_up(bare_db, read_folder(folder))).ok


async def test_objects_without_a_row_are_recorded_as_the_cli_does(bare_db: str, write: Write, connect: Connect) -> None:
    folder = write({"1_a.sql": "create table public.a (id integer);"})
    conn = await connect(bare_db)
    await conn.execute("create table public.a (id integer)")
    found = await look(bare_db, read_folder(folder))
    assert [(p.action, p.file) for p in found.proposals] == [("mark_applied", "1")]
    await mend(bare_db, read_folder(folder), found)
    assert await rows(conn) == [("1", ["create table public.a (id integer)"], "a")]
    assert [v.state for v in (await migrate_status(bare_db, read_folder(folder))).versions] == ["applied"]


async def test_proposals_that_nobody_agreed_to_are_not_carried_out(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder))
    conn = await connect(bare_db)
    await hosted(conn)
    agreed = await look(bare_db, read_folder(folder))
    await conn.execute("update supabase_migrations.schema_migrations set version = '7' where version like '2025%'")
    before = await rows(conn)
    with pytest.raises(RefusalError, match="changed since the proposals were shown"):
        await mend(bare_db, read_folder(folder), agreed)
    assert await rows(conn) == before
    assert await conn.fetchval("select to_regclass('supabase_migrations.toolkit_repairs') is null")


async def test_a_file_in_the_way_takes_the_rows_back_too(bare_db: str, write: Write, connect: Connect) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder))
    conn = await connect(bare_db)
    await hosted(conn)
    await conn.execute(
        "update supabase_migrations.schema_migrations set version = '20250101110000' where version = '1'"
    )
    (folder / "20250101120000_second.sql").mkdir()  # the first file is renamed by then, and must get its name back
    found = await look(bare_db, read_folder(folder), "history")
    before = await rows(conn)
    with pytest.raises(EnvironmentError_, match="cannot be written"):
        await mend(bare_db, read_folder(folder), found, "history")
    assert await rows(conn) == before
    assert sorted(path.name for path in folder.rglob("*.sql") if path.is_file()) == [
        "1_first.sql",
        "1_first.sql",
        "2_second.sql",
        "2_second.sql",
    ]
    assert len(found.proposals) == 2
    assert await conn.fetchval("select to_regclass('supabase_migrations.toolkit_repairs') is null")


def test_the_command_shows_asks_and_never_guesses_a_target(
    bare_db: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = str(write(PAIR))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", bare_db)

    def toolkit(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["toolkit", "migrate", *args, "--migrations", folder])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        return int(stopped.value.code or 0), out, err

    assert toolkit("up", "--to", "1", "--yes")[0] == 0
    assert toolkit("repair")[0] == 0
    (Path(folder) / "1_first.sql").rename(Path(folder) / "3_first.sql")
    (Path(folder) / "rollbacks" / "1_first.sql").rename(Path(folder) / "rollbacks" / "3_first.sql")
    code, out, _ = toolkit("repair", "--json")
    report = json.loads(out)
    assert (code, report["verdict"], report["repair"]["applied"]) == (1, "fail", False)
    assert report["repair"]["findings"][0]["proposal"]["action"] == "move_row"
    assert "history row 1: version 1 → 3" in " ".join(toolkit("repair")[1].split())
    code, _, err = toolkit("repair", "--apply")
    assert (code, "--yes" in err) == (2, True)
    (tmp_path / ".toolkit" / "embedded").mkdir(parents=True)
    code, _, err = toolkit("repair", "--apply", "--yes")
    assert code == 2
    assert "Two databases could be meant" in err
    code, out, _ = toolkit("repair", "--apply", "--yes", "--target", "external", "--json")
    assert (code, json.loads(out)["repair"]["applied"]) == (0, True)
    assert toolkit("repair", "--target", "external")[0] == 0


async def test_squashed_rows_become_one_and_are_kept_in_the_ledger(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(PAIR)
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    second, first = folder / "2_second.sql", folder / "1_first.sql"
    second.write_text(f"-- both\n{first.read_text()}\n{second.read_text()}")
    first.unlink()
    (folder / "rollbacks" / "1_first.sql").unlink()
    conn = await connect(bare_db)
    assert [v.state for v in (await migrate_status(bare_db, read_folder(folder))).versions] == [
        "missing_locally",
        "edited",
    ]
    found = await look(bare_db, read_folder(folder))
    assert [(p.action, p.row, p.removed) for p in found.proposals] == [("squash_rows", "2", ("1",))]
    await mend(bare_db, read_folder(folder), found)
    assert [row[0] for row in await rows(conn)] == ["2"]
    assert [v.state for v in (await migrate_status(bare_db, read_folder(folder))).versions] == ["applied"]
    assert (await look(bare_db, read_folder(folder))).disagreements == ()
    kept = await conn.fetch("select version, becomes, row_before from supabase_migrations.toolkit_repairs order by id")
    assert [(row["version"], row["becomes"]) for row in kept] == [("1", "2"), ("2", "2")]
    assert all(json.loads(row["row_before"])["statements"] for row in kept)


async def test_a_second_file_of_a_version_gets_one_of_its_own_and_runs(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(PAIR)
    assert (await migrate_up(bare_db, read_folder(folder), to="1")).ok
    (folder / "rollbacks" / "2_second.sql").rename(folder / "rollbacks" / "1_second.sql")
    (folder / "2_second.sql").rename(folder / "1_second.sql")
    with pytest.raises(RefusalError, match="have the same version 1") as refused:
        await migrate_up(bare_db, read_folder(folder))
    assert "`toolkit migrate repair`" in refused.value.remedy
    found = await look(bare_db, read_folder(folder))
    await mend(bare_db, read_folder(folder), found)
    assert (folder / "rollbacks" / "2_second.sql").is_file()
    assert (await look(bare_db, read_folder(folder))).disagreements == ()
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    conn = await connect(bare_db)
    assert [row[0] for row in await rows(conn)] == ["1", "2"]


async def test_a_renamed_file_with_another_comment_is_in_step_afterwards(bare_db: str, write: Write) -> None:
    folder = write(PAIR)
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    for part in ("", "rollbacks"):
        (folder / part / "2_second.sql").rename(folder / part / "20_renamed.sql")
    (folder / "20_renamed.sql").write_text(f"-- why\n{(folder / '20_renamed.sql').read_text()}")
    found = await look(bare_db, read_folder(folder))
    assert [(p.action, p.row, p.file) for p in found.proposals] == [("move_row", "2", "20")]
    await mend(bare_db, read_folder(folder), found)
    assert (await look(bare_db, read_folder(folder))).disagreements == ()
    assert [v.state for v in (await migrate_status(bare_db, read_folder(folder))).versions] == ["applied", "applied"]
