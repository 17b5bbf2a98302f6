"""The real Supabase CLI reads what we wrote, and we read what it wrote."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from toolkit.migrate import (
    MigrationRefused,
    Options,
    migrate_down,
    migrate_plan,
    migrate_status,
    migrate_up,
    migrate_verify,
)
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.repair.mend import look, mend
from toolkit.migrate.run.plan import Up
from toolkit.migrate.scratch.platform import prepare_platform
from toolkit.postgres.cluster import THROWAWAY_SETTINGS, PostgresCluster, free_port
from toolkit.postgres.throwaway import throwaway_folder
from toolkit.resources import migrations_dir

ROOT = Path(__file__).resolve().parents[3]
CLI = ROOT / "tests" / "js" / "node_modules" / ".bin" / "supabase"

FILES = {
    "20250101000000_first.sql": "-- a comment; with a semicolon\ncreate table public.a (id integer); -- behind it\n\n"
    "/* block /* nested; */ */\ncreate function public.f() returns integer language sql begin atomic\n"
    "  select case when true then 1 else 2 end; select 2; end;\n",
    "20250102000000_second.sql": "create function public.g() returns void language plpgsql as $body$\nbegin\n"
    "  perform 1; -- inner\nend\n$body$;\n;\ninsert into public.a values (1);\n-- the end\n",
}

WRAPPED = "-- head\nBEGIN; -- opened\n\n-- why\ncreate table public.w (id integer);\n-- closing\nCOMMIT;\n-- end\n"
AS_THEY_ARE = {
    "20250103000000_wrapped.sql": WRAPPED,
    "20250104000000_comments.sql": "-- nothing any more\n",
    "20250105000000_savepoints.sql": "savepoint a;\nselect 1;\nrollback to savepoint a;\nrelease savepoint a;\n",
    "20250106000000_empty.sql": "",
}

pytestmark = [
    # Where nobody installed the JavaScript packages these tests are passed over; where a test run is meant to be
    # complete, or the packages are there without the CLI, its absence is a failure.
    pytest.mark.skipif(
        not CLI.exists() and not CLI.parents[1].exists() and not os.environ.get("CI"),
        reason="the supabase CLI is not installed: make tests/js/node_modules/.ready",
    ),
    pytest.mark.xdist_group("supabase-cli"),
]


@pytest.fixture(scope="module")
def tcp_cluster() -> Iterator[PostgresCluster]:
    """The CLI speaks TCP only."""
    with throwaway_folder("rmt-cli-") as folder:
        pg = PostgresCluster(folder / "data", settings=THROWAWAY_SETTINGS, tcp_port=free_port())
        pg.start()
        try:
            yield pg
        finally:
            pg.destroy()


Make = Callable[[], Awaitable[str]]


@pytest.fixture
def make(tcp_cluster: PostgresCluster, request: pytest.FixtureRequest) -> Make:
    """Addresses of databases of this test's own, each as a project looks on arrival."""
    numbers = itertools.count()

    async def fresh() -> str:
        name = f"cli_{abs(hash(request.node.name))}_{next(numbers)}"
        admin = await asyncpg.connect(tcp_cluster.admin_dsn(), timeout=10)
        await admin.execute(f'create database "{name}" owner postgres')
        await admin.close(timeout=5)
        conn = await asyncpg.connect(tcp_cluster.admin_dsn(name), timeout=10)
        await prepare_platform(conn)
        await conn.close(timeout=5)
        return tcp_cluster.tcp_dsn(name)

    return fresh


@pytest.fixture
async def dsn(make: Make) -> str:
    return await make()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder of the CLI; migrations are in `supabase/migrations`."""
    folder = tmp_path / "project" / "supabase" / "migrations"
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return tmp_path / "project"


async def supabase(project: Path, dsn: str | None, *args: str) -> str:
    """Run the CLI, against the database if there is one; its output. Fails the test on any exit code but 0."""
    environment = os.environ | {
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "SUPABASE_YES": "1",
        "SUPABASE_TELEMETRY_DISABLED": "1",
        "DO_NOT_TRACK": "1",
        "HOME": str(project),
    }
    process = await asyncio.create_subprocess_exec(
        str(CLI),
        *args,
        *([f"--remote={dsn}"] if dsn else []),
        cwd=project,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), 90)
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    assert process.returncode == 0, errors.decode()
    return output.decode() + errors.decode()


async def listed(project: Path, dsn: str) -> list[tuple[str, str]]:
    output = await supabase(project, dsn, "migration", "list", "--output-format", "json")
    found = json.loads(output[output.index("{") : output.rindex("}") + 1])
    return [(entry["local"], entry["remote"]) for entry in found["migrations"]]


async def history(dsn: str) -> list[tuple[object, ...]]:
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        rows = await conn.fetch(
            "select version, name, statements from supabase_migrations.schema_migrations order by version"
        )
        return [tuple(row) for row in rows]
    finally:
        await conn.close(timeout=5)


async def test_after_our_apply_the_cli_sees_a_match_and_is_up_to_date(dsn: str, project: Path) -> None:
    assert (await migrate_up(dsn, read_folder(project / "supabase" / "migrations"))).ok
    assert await listed(project, dsn) == [(v, v) for v in ("20250101000000", "20250102000000")]
    before = await history(dsn)
    output = await supabase(project, dsn, "migration", "up")
    assert "up to date" in output
    assert "Applying" not in output
    assert await history(dsn) == before


async def test_after_the_clis_apply_we_see_it_applied_and_an_edit_of_it(dsn: str, project: Path) -> None:
    folder = project / "supabase" / "migrations"
    await supabase(project, dsn, "migration", "up")
    status = await migrate_status(dsn, read_folder(folder))
    assert [(v.state, v.detail) for v in status.versions] == [("applied", "by another tool; no checksum")] * 2
    assert (await migrate_plan(dsn, read_folder(folder), Up())).steps == ()
    first = folder / "20250101000000_first.sql"
    first.write_text(FILES[first.name].replace("id integer", "id bigint"))
    with pytest.raises(MigrationRefused, match="edited after it was applied"):
        await migrate_plan(dsn, read_folder(folder), Up())


async def test_we_record_exactly_what_the_cli_records(dsn: str, project: Path, tcp_cluster: PostgresCluster) -> None:
    await supabase(project, dsn, "migration", "up")
    theirs = await history(dsn)
    conn = await asyncpg.connect(dsn, timeout=10)
    await conn.execute("drop schema supabase_migrations cascade; drop table public.a; drop function public.f, public.g")
    await conn.close(timeout=5)
    assert (await migrate_up(dsn, read_folder(project / "supabase" / "migrations"))).ok
    assert await history(dsn) == theirs


@pytest.mark.parametrize("name", [name for name in AS_THEY_ARE if "savepoints" not in name])
async def test_wrapped_and_empty_files_are_recorded_as_the_cli_records_them(
    dsn: str, project: Path, make: Make, name: str
) -> None:
    """The CLI itself cannot run savepoints: it applies such a file statement by statement."""
    folder = project / "supabase" / "migrations"
    (folder / name).write_text(AS_THEY_ARE[name])
    await supabase(project, dsn, "migration", "up")
    contents = read_folder(folder)
    assert [v.state for v in (await migrate_status(dsn, contents)).versions] == ["applied"] * 3
    assert (await look(dsn, contents)).disagreements == ()
    ours = await make()
    assert (await migrate_up(ours, contents)).ok
    assert await history(ours) == await history(dsn)


async def test_a_wrapper_that_is_taken_away_after_the_cli_applied_it_is_no_edit(dsn: str, project: Path) -> None:
    file = project / "supabase" / "migrations" / "20250103000000_wrapped.sql"
    file.write_text(WRAPPED)
    await supabase(project, dsn, "migration", "up")
    file.write_text(WRAPPED.replace("BEGIN;", "").replace("COMMIT;", ""))
    contents = read_folder(file.parent)
    assert [v.state for v in (await migrate_status(dsn, contents)).versions] == ["applied"] * 3
    assert (await migrate_plan(dsn, contents, Up())).steps == ()
    assert (await look(dsn, contents)).disagreements == ()


async def test_the_clis_and_our_runs_can_alternate(dsn: str, project: Path) -> None:
    folder = project / "supabase" / "migrations"
    assert (await migrate_up(dsn, read_folder(folder), to="20250101000000")).ok
    output = await supabase(project, dsn, "migration", "up")
    assert "20250102000000_second.sql" in output
    (folder / "20250103000000_third.sql").write_text("create table public.c ();")
    result = await migrate_up(dsn, read_folder(folder))
    assert [step.version for step in result.steps] == ["20250103000000"]
    assert await listed(project, dsn) == [(v, v) for v in ("20250101000000", "20250102000000", "20250103000000")]


async def test_the_cli_agrees_about_the_projects_own_migrations(dsn: str, project: Path) -> None:
    folder = project / "supabase" / "migrations"
    shutil.rmtree(folder)
    shutil.copytree(migrations_dir(), folder)
    assert (await migrate_up(dsn, read_folder(folder))).ok
    versions = [version.version for version in (await migrate_status(dsn, read_folder(folder))).versions]
    assert await listed(project, dsn) == [(version, version) for version in versions]
    assert "up to date" in await supabase(project, dsn, "migration", "up")


async def run(dsn: str, text: str) -> None:
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        await conn.execute(text)
    finally:
        await conn.close(timeout=5)


async def test_what_the_cli_applied_we_verify_and_roll_back_and_it_sees_that(
    dsn: str, project: Path, tmp_path: Path
) -> None:
    folder = project / "supabase" / "migrations"
    second = "20250102000000_second.sql"
    for part, text in (
        ("verify", "-- check: V1 the row is there\nselect 1 where not exists (select from public.a where id = 1)"),
        ("rollbacks", "-- destroys: rows a\ndelete from public.a where id = 1;\ndrop function public.g();"),
    ):
        (folder / part).mkdir()
        (folder / part / second).write_text(text)
    await supabase(project, dsn, "migration", "up")
    verified = await migrate_verify(dsn, read_folder(folder))
    assert ("V1", "pass") in [(check.id, check.verdict.value) for check in verified.checks]
    result = await migrate_down(dsn, read_folder(folder), options=Options(export_dir=tmp_path / "exports"))
    assert result.ok, result.steps
    assert await listed(project, dsn) == [("20250101000000", "20250101000000"), ("20250102000000", "")]
    output = await supabase(project, dsn, "migration", "up")
    assert second in output
    assert [v.state for v in (await migrate_status(dsn, read_folder(folder))).versions] == ["applied", "applied"]


def differences(output: str) -> list[str]:
    """What the diff prints beside its target and the notice that it leaves out who may set which parameter: there are
    such grants on our servers, as on hosted ones."""
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith("Target: ")]
    if any(line.startswith("▲") and "object kinds: parameter ACL. " in line for line in lines):
        lines = [line for line in lines if not line.startswith(("│", "▲", "●"))]
    return lines


async def test_our_ledger_is_no_difference_to_the_clis_diff(dsn: str, project: Path, make: Make) -> None:
    """The same objects, made by us with history, ledger and repairs, and made by hand without any of it."""
    folder = project / "supabase" / "migrations"
    plain = await make()
    for text in FILES.values():
        await run(plain, text)
    assert (await migrate_up(dsn, read_folder(folder))).ok
    await run(dsn, "update supabase_migrations.schema_migrations set version = '20250109' where version like '%102%'")
    await mend(dsn, read_folder(folder), await look(dsn, read_folder(folder)))
    arguments = ("db", "diff", "--use-pg-delta", f"--from={plain}", f"--to={dsn}")
    output = await supabase(project, None, *arguments)
    assert differences(output) == []
    # The diff does see what is one.
    await run(dsn, "create table public.planted ()")
    assert "planted" in await supabase(project, None, *arguments)


async def test_what_the_clis_repair_did_is_told_and_mended(dsn: str, project: Path) -> None:
    folder = project / "supabase" / "migrations"
    third = folder / "20250103000000_third.sql"
    third.write_text("create table public.c (id integer);\n")
    assert (await migrate_up(dsn, read_folder(folder))).ok
    await supabase(project, dsn, "migration", "repair", "--status", "reverted", "20250103000000")
    assert (await migrate_status(dsn, read_folder(folder))).pending == ("20250103000000",)
    found = await look(dsn, read_folder(folder))
    assert [(f.id, f.proposal.action if f.proposal else None) for f in found.disagreements] == [
        ("unrecorded-20250103000000", "mark_applied")
    ]
    await mend(dsn, read_folder(folder), found)
    assert (await listed(project, dsn))[-1] == ("20250103000000", "20250103000000")
    # An edit that its repair writes into the history, over the evidence: our ledger knows better.
    third.write_text("create table public.c (id bigint);\n")
    await supabase(project, dsn, "migration", "repair", "--status", "applied", "20250103000000")
    with pytest.raises(MigrationRefused, match="edited after it was applied"):
        await migrate_plan(dsn, read_folder(folder), Up())
    (finding,) = (await look(dsn, read_folder(folder))).disagreements
    assert (finding.id, finding.proposal) == ("checksum-20250103000000", None)
    assert "`supabase migration repair` recorded the edited file" in finding.evidence[1]
