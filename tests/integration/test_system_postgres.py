"""The essentials on other versions of Postgres than the embedded one: the system's own, and the newest shipped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from websockets.asyncio.client import connect

from reference_server.replication.stream import StreamLost
from tests.integration.checks.conftest import results
from tests.integration.migrate.conftest import until
from tests.support.databases import Databases
from tests.support.feeds import running_feed, subscribe, user
from tests.support.installed_postgres import major, shipped_postgres, system_postgres, system_versions
from tests.support.plans import CAST_IN_COMPARISON, MOST_ROWS, ran_under_row_security, with_many_rows
from toolkit.client.session import ArticleGeneration
from toolkit.migrate import migrate_down, migrate_up, migrate_verify
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.prove import round_trip
from toolkit.migrate.prove.subject.claims import Level, ProveOptions, Subject
from toolkit.migrate.prove.subject.states import States
from toolkit.migrate.run.run_model import Options
from toolkit.migrate.scratch.databases import scratch_on
from toolkit.postgres.throwaway import throwaway_folder
from toolkit.probes.chosen import probes_of
from toolkit.report.record import Verdict
from toolkit.resources import migrations_dir
from toolkit.targets.embedded import EmbeddedTarget

# The oldest the system has, whatever else it has, and the newest shipped where the system has none.
_SYSTEM = system_versions()
INSTALLATIONS = {"system": system_postgres()}
INSTALLATIONS |= {f"system-{version}": _SYSTEM[version] for version in sorted(_SYSTEM)[1:]}
INSTALLATIONS |= {} if 18 in _SYSTEM else {"shipped-18": shipped_postgres(18)}

TYPES = """
create type public.mood as enum ('fine', 'so so');
create domain public.positive as integer check (value > 0);
create table public.kinds (
  id bigint primary key, yes boolean, small smallint, exact numeric(12, 4), approximate double precision, words text,
  short varchar(5), at timestamptz, on_day date, lasting interval, one uuid, many integer[], nested jsonb, raw bytea,
  feeling public.mood, count public.positive, nothing text);
alter publication supabase_realtime add table public.kinds;
"""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            name,
            marks=[
                pytest.mark.xdist_group(f"postgres-{name}"),
                *([pytest.mark.system_postgres] if name.startswith("system") else []),
            ],
        )
        for name in INSTALLATIONS
    ],
)
async def system(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedTarget]:
    """A whole embedded system, but on another Postgres."""
    bin_dir = INSTALLATIONS[request.param]
    if bin_dir is None:
        pytest.skip(f"{request.param}: no such Postgres here (TOOLKIT_TEST_PG_BIN names the bin folder of one)")
    with throwaway_folder("rmt-system-") as folder:
        async with EmbeddedTarget(folder / "data", throwaway=True, bin_dir=bin_dir) as target:
            yield target


@pytest.fixture(scope="module")
async def databases(system: EmbeddedTarget) -> Databases:
    return Databases(system.postgres)


async def test_it_is_another_version_than_the_rest_of_the_suite_uses(system: EmbeddedTarget) -> None:
    conn = await asyncpg.connect(system.dsn, timeout=10)
    try:
        assert conn.get_server_version().major == major(system.postgres.bin_dir)
    finally:
        await conn.close(timeout=5)


async def test_every_migration_round_trips(system: EmbeddedTarget, databases: Databases, tmp_path: Path) -> None:
    folder = read_folder(migrations_dir())
    versions = tuple(migration.version for migration in folder.migrations)
    async with databases.clone("bare") as dsn, scratch_on(system.dsn, throwaway=True) as scratch:
        start = await scratch.create(urlsplit(dsn).path.removeprefix("/"))
        options = Options(export_dir=tmp_path / "exports")
        states = States(scratch, start, folder, versions, rows_each=3, options=options)
        for version in versions:
            outcome = await round_trip.run(Subject(folder, versions, states, ProveOptions()), version)
            assert [claim for claim in outcome.claims if claim.violations or claim.level is Level.NOT_CHECKED] == []


async def test_migrations_go_up_and_down_and_hold(databases: Databases, tmp_path: Path) -> None:
    options = Options(export_dir=tmp_path / "exports")
    async with databases.clone("bare") as dsn:
        assert (await migrate_up(dsn, read_folder(migrations_dir()), options=options)).ok
        folder = read_folder(migrations_dir())
        found = await migrate_verify(dsn, folder, probes=probes_of(folder))
        assert found.verdict is Verdict.PASS, [c for c in found.checks if c.verdict is not Verdict.PASS]
        assert {f"RT-5{number}" for number in range(5)} < {check.id for check in found.checks}  # the probes too
        down = await migrate_down(dsn, read_folder(migrations_dir()), to="0", options=options)
        assert down.ok, down.steps
        again = await migrate_up(dsn, read_folder(migrations_dir()), options=options)
        assert again.ok, again.steps
        assert again.catalog_before == down.catalog_after


async def test_a_generation_with_a_worker_and_a_subscription(system: EmbeddedTarget) -> None:
    await system.start_server("api")
    target = system.target
    async with ArticleGeneration.on(target, target.user_token("user_other_postgres")) as article:
        await article.start_article_generation(initial_keywords=["家庭菜園"])
        assert article.stream is not None
        await article.stream.wait_live()
        state = await article.run_to_end()
        assert (state.status, state.progress_percentage) == ("completed", 100)
        assert [event.sequence for event in article.events] == list(range(1, state.last_sequence + 1))
        assert article.stream.delivered["live"] > 0
        stored = await article.client.events_since(article.process_id)
        assert [event.id for event in stored] == [event.id for event in article.events]
    await a_message_of_the_database_arrives(system)
    await system.stop_server("api")


async def a_message_of_the_database_arrives(system: EmbeddedTarget) -> None:
    target = system.target
    assert target.supabase_url is not None
    socket = target.supabase_url.replace("http", "ws", 1)
    conn = await asyncpg.connect(system.dsn, timeout=10)
    async with connect(
        f"{socket}/realtime/v1/websocket?vsn=2.0.0&apikey={target.user_token('user_of_messages')}", open_timeout=10
    ) as client:
        join = {"config": {"broadcast": {"replication_ready": True}}}
        await client.send(json.dumps(["1", "1", "realtime:room", "phx_join", join]))
        async with asyncio.timeout(30):
            while "Replication connection established" not in str(await client.recv()):
                pass
            await conn.execute("select realtime.send('{\"n\": 1}', 'e', 'room', false)")
            assert b'"n": 1' in await client.recv(decode=False)
    # The server has made them as the owner, for which its own role is too weak.
    made = "select count(*) from pg_inherits where inhparent = 'realtime.messages'::regclass"
    assert await conn.fetchval(made) >= 5
    await conn.close(timeout=5)


async def test_generated_columns_are_told_although_a_large_value_was_left_alone(databases: Databases) -> None:
    kind = "" if major(databases.cluster.bin_dir) >= 18 else "stored"  # virtual where there is that
    async with databases.clone("bare") as dsn, running_feed(dsn) as feed:
        conn = await asyncpg.connect(dsn, timeout=10)
        try:
            await conn.execute(
                f"""
                create table public.made (
                  id int primary key, n int, large text, doubled int generated always as (n * 2) {kind},
                  length int generated always as (octet_length(large)) stored,
                  always int generated always as (7) stored);
                alter table public.made alter large set storage external;
                alter publication supabase_realtime add table public.made;
                """
            )
            by_filter = await subscribe(feed, user("anybody"), {"table": "made", "filter": "doubled=eq.6"})
            everything = await subscribe(feed, user("anybody"), {"table": "made"})
            await conn.execute("insert into public.made values (1, 1, repeat('x', 20000))")
            await conn.execute("update public.made set n = 3")
            await conn.execute("update public.made set large = 'small', n = 4")
            await conn.execute("delete from public.made")
            await everything.count(4)
            await by_filter.count(1)
        finally:
            await conn.close(timeout=5)
    inserted, updated, shortened, deleted = everything.data
    assert inserted["record"]["length"] == 20000
    assert updated["record"] == {"id": 1, "n": 3, "doubled": 6, "always": 7}
    assert shortened["record"] == {"id": 1, "n": 4, "large": "small", "doubled": 8, "length": 5, "always": 7}
    assert deleted["old_record"] == {"id": 1}
    assert [data["record"]["n"] for data in by_filter.data] == [3]


async def test_the_change_feed_reads_every_kind_of_value(databases: Databases) -> None:
    async with databases.clone("bare") as dsn, running_feed(dsn) as feed:
        conn = await asyncpg.connect(dsn, timeout=10)
        try:
            await conn.execute(TYPES)
            reader = await subscribe(feed, user("anybody"), {"table": "kinds"})
            await conn.execute(
                """
                insert into public.kinds values (
                  9007199254740993, true, -3, 1234.5, 0.1, 'a "b" 日本', 'short', '2026-01-02 03:04:05.678+00',
                  '2026-01-02', '1 day 02:03', 'a0000000-0000-4000-8000-00000000000a', '{1,null,3}', '{"k": [1, null]}',
                  '\\x00ff', 'so so', 5, null)
                """
            )
            await conn.execute("update public.kinds set words = 'changed'")
            await conn.execute("delete from public.kinds")
            await reader.count(3)
        finally:
            await conn.close(timeout=5)
    inserted, updated, deleted = reader.data
    record = inserted["record"]
    assert [data["type"] for data in reader.data] == ["INSERT", "UPDATE", "DELETE"]
    assert record == {
        "id": 9007199254740993,
        "yes": True,
        "small": -3,
        "exact": 1234.5,
        "approximate": 0.1,
        "words": 'a "b" 日本',
        "short": "short",
        "at": "2026-01-02T03:04:05.678+00:00",
        "on_day": "2026-01-02",
        "lasting": "1 day 02:03:00",
        "one": "a0000000-0000-4000-8000-00000000000a",
        "many": [1, None, 3],
        "nested": {"k": [1, None]},
        "raw": "00ff",
        "feeling": "so so",
        "count": 5,
        "nothing": None,
    }
    assert {column["name"]: column["type"] for column in inserted["columns"]}["feeling"] == "mood"
    assert updated["record"]["words"] == "changed"
    assert deleted["old_record"] == {"id": 9007199254740993}


async def test_an_output_plugin_that_is_not_allowed_is_said(databases: Databases) -> None:
    setting = "select current_setting('output_plugin_libraries', true)"
    conn = await asyncpg.connect(databases.cluster.admin_dsn(), timeout=10)
    try:
        if await conn.fetchval(setting) is None:  # an older minor version, which allows every one
            (check,) = [check for check in await results(databases.cluster.dsn()) if check.id == "DB-2"]
            assert check.verdict is Verdict.PASS
            return
        await conn.execute("alter system set output_plugin_libraries = 'test_decoding'")
        await conn.execute("select pg_reload_conf()")
        await until(conn, f"{setting} = 'test_decoding'")
        async with databases.clone("bare") as dsn:
            with pytest.raises(StreamLost, match="output_plugin_libraries"):
                async with running_feed(dsn):
                    pass
            (check,) = [check for check in await results(dsn) if check.id == "DB-2"]
        assert check.verdict is Verdict.FAIL
        assert "pgoutput" in check.detail
        await conn.execute("alter system reset output_plugin_libraries")
        await conn.execute("select pg_reload_conf()")
        await until(conn, f"{setting} <> 'test_decoding'")
    finally:
        await conn.close(timeout=5)


async def test_no_statement_under_row_security_reads_a_whole_table(databases: Databases) -> None:
    async with databases.clone("migrated") as dsn:
        await with_many_rows(dsn)
        ran = dict(await ran_under_row_security(dsn, cast=CAST_IN_COMPARISON))
        conn = await asyncpg.connect(dsn, timeout=10)
        version = conn.get_server_version()
        await conn.close(timeout=5)
    distrusted = ran.pop("cast").rows > MOST_ROWS
    assert {what: one.plan for what, one in ran.items() if one.rows > MOST_ROWS} == {}
    assert distrusted or not (version.major == 15 and version.minor >= 20)
