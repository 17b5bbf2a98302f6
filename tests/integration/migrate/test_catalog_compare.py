"""Two catalogs side by side: dumped and restored, of two versions, changed by hand; and what two oracles make of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from tests.integration.migrate.catalog_mutations import MUTATIONS
from tests.integration.migrate.catalog_subject import HEALTHY, SERVERS_OWN, SUBJECT, WITHOUT_EXTENSIONS
from tests.integration.migrate.conftest import PAIR, Write
from tests.support.databases import Databases, as_superuser
from tests.support.installed_postgres import shipped_postgres, system_postgres
from tests.support.scratch_here import replay_here  # noqa: F401 - a fixture
from toolkit.migrate import migrate_up
from toolkit.migrate.catalog import document as documents
from toolkit.migrate.catalog.compare import Comparison, Dumps, compare, compare_dumps_of, document_of
from toolkit.migrate.catalog.document import Document
from toolkit.migrate.catalog.pg_dump import compare_dumps, dump_schema, dump_text
from toolkit.migrate.drift import Drift, drift_from_file, drift_from_folder
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.scratch.origin import Origin
from toolkit.postgres.lifetime import throwaway_cluster
from toolkit.postgres.servers import embedded_versions, wheel_bin_dir
from toolkit.report.record import Verdict

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
# A subscription keeps its database from being dropped; and a language whose functions are the system's own is dumped
# as an extension, which no restore can make.
RESTORABLE = SUBJECT + "drop subscription sub; drop language plspare;"
PSQL = wheel_bin_dir(18) / "psql"


async def both(before: str, after: str) -> Comparison:
    one, other = await document_of(before), await document_of(after)
    dumps = await compare_dumps_of(before, after, one.snapshot.major)
    assert dumps.problem == ""
    return compare(one, other, dumps)


async def psql(dsn: str, text: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(PSQL),
        "--no-psqlrc",
        "--quiet",
        "--set",
        "ON_ERROR_STOP=1",
        "--dbname",
        dsn,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, errors = await process.communicate(text.encode())
    assert process.returncode == 0, errors.decode()


async def test_a_dump_restored_is_the_same_catalog(databases: Databases, connect: Connect) -> None:
    async with databases.clone("bare") as original, databases.clone("empty") as copy:
        conn = await connect(as_superuser(original))
        await conn.execute(RESTORABLE)
        # Restored into a database with nothing of its own, in an order and with numbers that are not the original's.
        major = conn.get_server_version().major
        await psql(as_superuser(copy), await dump_text(as_superuser(original), server_major=major))
        found = await both(as_superuser(original), as_superuser(copy))
        assert [str(one) for one in found.differences] == []
        assert found.equal
        assert found.disagreements == ()
        assert found.before.snapshot.digest() == found.after.snapshot.digest()


async def test_options_that_mean_the_same_are_equal_to_both_oracles(bare_db: str, connect: Connect) -> None:
    conn = await connect(as_superuser(bare_db))
    await conn.execute(RESTORABLE)
    major = conn.get_server_version().major
    document, text = await document_of(bare_db), await dump_schema(as_superuser(bare_db), server_major=major)
    for change in ("booleans spelt otherwise", "options in another order"):
        await conn.execute(HEALTHY[change])
    for planted in SERVERS_OWN.values():
        await conn.execute(planted)
    raw = await dump_text(as_superuser(bare_db), server_major=major)
    assert "SET (pg_attver=7" in raw
    assert "WITH (pg_relver=" in raw
    dumps = Dumps(compare_dumps(text, await dump_schema(as_superuser(bare_db), server_major=major)))
    found = compare(document, await document_of(bare_db), dumps)
    assert ([str(one) for one in found.differences], found.dumps, found.disagreements) == ([], Dumps(), ())


async def test_both_oracles_see_a_change_and_agree_and_a_blind_one_is_found_out(bare_db: str, connect: Connect) -> None:
    conn = await connect(as_superuser(bare_db))
    await conn.execute(RESTORABLE)
    major = conn.get_server_version().major

    async def look() -> tuple[Document, str]:
        return await document_of(as_superuser(bare_db)), await dump_schema(as_superuser(bare_db), server_major=major)

    document, text = await look()
    seen = {}
    for name in (
        "column default",
        "policy roles",
        "clustered index",
        "boolean option",
        "boolean option of an index",
        "column options",
        "user mapping",
        "identity kind",
        "default privileges",
        "role setting in this database",
        "publication row filter",
        "function body",
        "enum value",
    ):
        mutation, key = MUTATIONS[name]
        await conn.execute(mutation)
        now, written = await look()
        dumps = Dumps(compare_dumps(text, written))
        found = compare(document, now, dumps)
        assert any(one.key.startswith(key) for one in found.differences), name
        assert found.disagreements == (), name
        assert "hunter2" not in str(found)
        seen[name] = bool(dumps.differences)
        if dumps.differences:
            (theirs, *_) = compare(document, now, Dumps()).disagreements
            assert theirs.startswith("our facts say different, pg_dump says equal: "), name
            (ours, *_) = compare(document, document, dumps).disagreements
            assert ours.startswith("our facts say equal, pg_dump says different: "), name
        document, text = now, written
    # What pg_dump leaves out of a schema's dump needs no consent of it.
    assert [name for name, by_dump in seen.items() if not by_dump] == ["role setting in this database"]


async def test_two_databases_are_asked_of_both_oracles(databases: Databases, connect: Connect) -> None:
    async with databases.clone("bare") as before, databases.clone("bare") as after:
        assert (await both(before, after)).equal
        await (await connect(after)).execute("create table public.t (id integer)")
        found = await both(before, after)
        assert "added: table public.t" in [str(one) for one in found.differences]
        assert found.dumps is not None
        assert "TABLE public: t" in [one.title for one in found.dumps.differences]
        assert found.disagreements == ()
        failed = await compare_dumps_of(before, after, 16, pg_dump=Path("/bin/false"))
        assert failed.problem.startswith("pg_dump failed")


@pytest.mark.parametrize(
    "bin_dir",
    [
        pytest.param(shipped_postgres(18), id="shipped-18"),
        pytest.param(system_postgres(), id="system", marks=pytest.mark.system_postgres),
    ],
)
async def test_the_same_schema_on_two_versions_is_equal(bin_dir: Path | None, bare_db: str, connect: Connect) -> None:
    if bin_dir is None:
        pytest.skip("no such Postgres here (TOOLKIT_TEST_PG_BIN names the bin folder of one)")
    await (await connect(as_superuser(bare_db))).execute(WITHOUT_EXTENSIONS + RESTORABLE)
    here = await document_of(bare_db)
    async with throwaway_cluster(bin_dir) as cluster, Databases(cluster).clone("bare") as dsn:
        conn = await connect(as_superuser(dsn))
        await conn.execute(WITHOUT_EXTENSIONS + RESTORABLE)
        found = compare(here, await document_of(dsn), None)
        assert [str(one) for one in found.differences] == []
        assert found.equal
        assert bool(found.notes) == (here.snapshot.major != found.after.snapshot.major)
        await conn.execute(
            "alter table app.child alter note set not null; revoke select on app.parent from supabase_admin"
        )
        keys = [one.key for one in compare(here, await document_of(dsn), None).differences]
        # Between two servers of 18 the constraint that NOT NULL has there is compared too.
        assert [key for key in keys if not key.startswith("not-null constraint ")] == [
            "column app.child.note",
            "grant on table app.parent to supabase_admin",
        ]


# -- drift --------------------------------------------------------------------------------------------------------


def verdicts(found: Drift) -> dict[str, Verdict]:
    return {check.id: check.verdict for check in found.checks}


async def test_drift_from_a_snapshot_file(bare_db: str, connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    conn = await connect(bare_db)
    await conn.execute("create table public.t (id serial primary key)")
    file.write_text(documents.as_text(await document_of(bare_db)))
    admin = await connect(as_superuser(bare_db))  # as the service does when a day has passed
    await admin.execute(
        "create table realtime.messages_2031_01_02 partition of realtime.messages"
        " for values from ('2031-01-02') to ('2031-01-03');"
        "create table realtime.messages_2019_01_02 partition of realtime.messages"
        " for values from ('2019-01-02') to ('2019-01-03')"
    )
    still = await drift_from_file(bare_db, file)
    assert still.comparison is not None
    assert still.comparison.equal
    await conn.execute("insert into t default values; create index by_hand on public.t (id)")
    drifted = await drift_from_file(bare_db, file)
    assert drifted.comparison is not None
    assert [str(one) for one in drifted.comparison.differences] == ["added: index public.by_hand"]
    moved = await drift_from_file(bare_db, file, positions=True)
    assert moved.comparison is not None
    assert [one.key for one in moved.comparison.differences] == [
        "index public.by_hand",
        "position of sequence public.t_id_seq",
    ]


async def test_drift_from_the_folder_as_far_as_it_is_applied(bare_db: str, connect: Connect, write: Write) -> None:
    conn = await connect(as_superuser(bare_db))
    folder = write(
        PAIR
        | {
            "1_first.sql": PAIR["1_first.sql"] + "\ndo $$ begin create role toolkit_drift_role; end $$;\n"
            "grant select on public.first to toolkit_drift_role, toolkit_drift_other;"
        }
    )
    try:
        # One role that the file makes, one that is in no file.
        await conn.execute("create role toolkit_drift_other")
        applied = await migrate_up(bare_db, read_folder(folder), to="1")
        assert applied.ok, applied
        # What is the platform's does not count, wherever it was changed.
        await conn.execute("create table auth.more (id uuid primary key); grant all on auth.users to anon")
        await conn.execute("create schema net; create table net.more (id integer)")
        await conn.execute("alter table public.first add by_hand text; create policy p on public.first using (true)")
        drifted = await drift_from_folder(bare_db, read_folder(folder))
        assert verdicts(drifted) == {"history": Verdict.PASS}
        assert "auth, extensions, " in drifted.notes[0]
        assert "net, " in drifted.notes[0]
        assert "1 applied versions" in drifted.notes[1]
        assert drifted.comparison is not None
        assert [str(one) for one in drifted.comparison.differences] == [
            "added: column public.first.by_hand",
            "added: policy public.first.p",
        ]
        if conn.get_server_version().major in embedded_versions():
            assert drifted.comparison.dumps is not None
            titles = {one.title for one in drifted.comparison.dumps.differences}
            assert titles == {"TABLE public: first", "POLICY public: first p"}
        else:
            assert "pg_dump was not asked" in drifted.notes[-1]
        assert drifted.comparison.disagreements == ()
    finally:
        for role in ("toolkit_drift_role", "toolkit_drift_other"):
            await conn.execute(
                f"do $$ begin if to_regrole('{role}') is not null then execute 'drop owned by {role}';"
                f" execute 'drop role {role}'; end if; end $$"
            )


@pytest.mark.usefixtures("replay_here")
async def test_a_folder_that_does_not_replay_is_unknown_and_an_edited_file_is_told(
    bare_db: str, connect: Connect, write: Write
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder))
    write({"2_second.sql": "alter table public.absent add x integer;"})
    found = await drift_from_folder(bare_db, read_folder(folder))
    assert found.comparison is None
    assert verdicts(found) == {"history": Verdict.FAIL, "replay": Verdict.UNKNOWN}
    history, replay = found.checks
    assert "2 second is edited" in history.witness[0]
    assert "absent" in replay.detail
    assert "--snapshot" in replay.remedy


@pytest.mark.usefixtures("replay_here")
async def test_drift_starts_where_a_dump_or_a_database_says(
    bare_db: str, connect: Connect, write: Write, tmp_path: Path
) -> None:
    dump = tmp_path / "before.sql"
    dump.write_text("create table public.from_before (id integer);")
    conn = await connect(bare_db)
    await conn.execute(dump.read_text())
    folder = write({"1_first.sql": "alter table public.from_before add note text;"})
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    empty = await drift_from_folder(bare_db, read_folder(folder), dump=False)
    assert verdicts(empty)["replay"] is Verdict.UNKNOWN
    assert "--from FILE" in empty.checks[-1].remedy
    from_dump = await drift_from_folder(bare_db, read_folder(folder), origin=Origin(schema=dump), dump=False)
    assert from_dump.comparison is not None
    assert from_dump.comparison.equal, from_dump.comparison
    assert "They were replayed on the schema of before.sql." in from_dump.notes
    # Its history came along: nothing is left to replay.
    from_itself = await drift_from_folder(bare_db, read_folder(folder), origin=Origin(database=bare_db), dump=False)
    assert from_itself.comparison is not None
    assert from_itself.comparison.equal, from_itself.comparison


@pytest.mark.usefixtures("replay_here")
async def test_what_the_scratch_server_lacks_is_named_with_the_way_to_supply_it(
    bare_db: str, connect: Connect, write: Write
) -> None:
    conn = await connect(bare_db)
    await conn.execute("create domain public.geography as text")
    folder = write({"1_first.sql": "create table public.texts (tags public.geography);"})
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    (replay,) = (await drift_from_folder(bare_db, read_folder(folder), dump=False)).checks[1:]
    assert "lacks type public.geography of the extension postgis" in replay.detail
    assert "--postgres DIR" in replay.remedy
