"""Extensions that the server lacks: created under their names, and giving what the real ones give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from tests.support.databases import as_superuser
from tests.support.scratch_here import replay_here  # noqa: F401 - a fixture
from toolkit.migrate import migrate_up, read_folder
from toolkit.migrate.drift import drift_from_folder
from toolkit.postgres.cluster import PostgresCluster
from toolkit.postgres.stand_ins import VERSION, stand_ins, with_stand_ins

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
# Answers of the real extensions on Postgres 15 and 17, wherever they do not depend on chance.
ANSWERS = [
    ("uuid-ossp", "uuid_generate_v3(uuid_ns_dns(), 'python.org')", "6fa459ea-ee8a-3ca4-894e-db77e160355e"),
    ("uuid-ossp", "uuid_generate_v5(uuid_ns_dns(), 'python.org')", "886313e1-3b8a-5372-9b90-0c9aee199e5d"),
    ("uuid-ossp", "substr(uuid_generate_v1()::text, 15, 1)", "1"),
    ("uuid-ossp", "substr(uuid_generate_v4()::text, 15, 1)", "4"),
    ("uuid-ossp", "uuid_nil()", "00000000-0000-0000-0000-000000000000"),
    ("pgcrypto", "encode(digest('abc', 'sha1'), 'hex')", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    ("pgcrypto", "encode(digest(repeat('a', 1000), 'sha1'), 'hex')", "291e9a6c66994949b57ba5e650361e98fc36b1ba"),
    ("pgcrypto", "encode(digest('abc', 'md5'), 'hex')", "900150983cd24fb0d6963f7d28e17f72"),
    (
        "pgcrypto",
        "encode(hmac('what do ya want for nothing?', 'Jefe', 'sha256'), 'hex')",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    ("pgcrypto", "length(gen_random_bytes(33))::text", "33"),
    ("pgcrypto", "crypt('a', h) = h and crypt('b', h) <> h from gen_salt('bf') s, crypt('a', s) h", "true"),
    ("pgcrypto", "length(crypt('a', gen_salt('bf', 8)))::text", "60"),
    ("pgcrypto", "pgp_sym_decrypt(pgp_sym_encrypt('x', 'key'), 'key')", "x"),
    (
        "pgjwt",
        "sign('{\"sub\":\"1\"}', 'secret')",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.8qZF8vbN3UpcanXFc-mPXJkOPN01-bRch8XX3rToP1U",
    ),
    ("pgjwt", "(verify(sign('{\"sub\":\"1\"}', 'secret'), 'secret')).valid::text", "true"),
    ("pgjwt", "(verify(sign('{\"sub\":\"1\"}', 'secret'), 'other')).valid::text", "false"),
    ("citext", "('ABC'::citext = 'abc'::citext)::text", "true"),
    ("citext", "('ABC'::citext like 'a%')::text", "true"),
    ("citext", "min(v) from unnest(array['b', 'A', 'C']::citext[]) v", "A"),
    ("unaccent", "unaccent('Hôtel Łódź')", "Hotel Lodz"),
    ("pg_trgm", "round(similarity('word', 'two words')::numeric, 4)::text", "0.3636"),
    ("pg_trgm", "array_to_string(show_trgm('word'), ',')", "  w, wo,ord,rd ,wor"),
    ("pg_net", "net.http_post('http://example.org', '{}'::jsonb)::text", "1"),
    ("http", "(http_get('http://127.0.0.1:1')).status::text", "503"),
]


@pytest.fixture
async def conn(bare_db: str, connect: Connect) -> asyncpg.Connection:
    return await connect(bare_db)


async def _create(conn: asyncpg.Connection, name: str) -> None:
    await conn.execute(f'create extension if not exists "{name}" cascade')


@pytest.mark.parametrize(("extension", "expression", "answer"), ANSWERS)
async def test_it_answers_as_the_real_one(
    conn: asyncpg.Connection, extension: str, expression: str, answer: str
) -> None:
    await _create(conn, extension)
    found = await conn.fetchval(f"select {expression}")
    assert {True: "true", False: "false"}.get(found, str(found)) == answer


@pytest.mark.parametrize("name", [*stand_ins()])
async def test_every_extension_can_be_created_and_dropped(bare_db: str, connect: Connect, name: str) -> None:
    conn = await connect(as_superuser(bare_db) if name == "supabase_vault" else bare_db)
    await conn.execute(f'drop extension if exists "{name}" cascade')
    await _create(conn, name)
    version = await conn.fetchval("select extversion from pg_extension where extname = $1", name)
    comment = await conn.fetchval(
        "select obj_description(oid, 'pg_extension') from pg_extension where extname = $1", name
    )
    assert (version == VERSION) == (comment == f"Stand-in of the migration toolkit: {stand_ins()[name].says}")
    await conn.execute(f'drop extension "{name}" cascade')


async def test_a_new_project_has_its_extensions(conn: asyncpg.Connection) -> None:
    found = await conn.fetch(
        "select extname, extnamespace::regnamespace::text as home from pg_extension where extname <> 'plpgsql'"
    )
    assert {row["extname"]: row["home"] for row in found} == {
        "pg_stat_statements": "extensions",
        "pgcrypto": "extensions",
        "supabase_vault": "vault",
        "uuid-ossp": "extensions",
    }
    await conn.execute(
        "create table public.t (id uuid primary key default uuid_generate_v4(), token text default "
        "encode(gen_random_bytes(8), 'hex')); insert into public.t default values"
    )
    await conn.execute("select vault.create_secret('s', 'key')")
    assert await conn.fetchval("select decrypted_secret from vault.decrypted_secrets where name = 'key'") == "s"


async def test_jobs_are_kept_by_name_and_never_run(conn: asyncpg.Connection) -> None:
    await _create(conn, "pg_cron")
    first = await conn.fetchval("select cron.schedule('clean', '* * * * *', 'select 1')")
    assert await conn.fetchval("select cron.schedule('clean', '0 * * * *', 'select 2')") == first
    assert await conn.fetchval("select schedule || command from cron.job") == "0 * * * *select 2"
    assert await conn.fetchval("select cron.unschedule('clean')")
    with pytest.raises(asyncpg.RaiseError, match="could not find valid entry"):
        await conn.fetchval("select cron.unschedule('clean')")


async def test_a_queue_gives_each_message_once_until_its_time_is_over(conn: asyncpg.Connection) -> None:
    await _create(conn, "pgmq")
    await conn.execute("select pgmq.create('jobs')")
    assert await conn.fetchval("select * from pgmq.send('jobs', '{\"n\": 1}')") == 1
    read = "select msg_id, read_ct from pgmq.read('jobs', 3600, 5)"
    assert [tuple(row) for row in await conn.fetch(read)] == [(1, 1)]
    assert await conn.fetch(read) == []
    assert await conn.fetchval("select pgmq.archive('jobs', 1)")
    assert await conn.fetchval("select (pgmq.metrics('jobs')).queue_length") == 0
    assert await conn.fetchval("select count(*) from pgmq.a_jobs") == 1


async def test_the_trigger_stamps_its_column(conn: asyncpg.Connection) -> None:
    await _create(conn, "moddatetime")
    await conn.execute(
        "create table public.t (id int, changed timestamptz);"
        "create trigger stamp before update on public.t for each row execute function moddatetime(changed);"
        "insert into public.t values (1, null); update public.t set id = 2"
    )
    assert await conn.fetchval("select changed from public.t") is not None


async def test_texts_without_case_are_unique_and_found_by_an_index(conn: asyncpg.Connection) -> None:
    await _create(conn, "citext")
    await conn.execute(
        "create table public.people (email citext primary key); insert into public.people values ('A@b')"
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await conn.execute("insert into public.people values ('a@B')")
    await conn.execute("set enable_seqscan = off")
    plan = await conn.fetch("explain select from public.people where email = 'a@b'")
    assert "people_pkey" in str(plan)


async def test_what_is_wrong_is_refused_as_by_the_real_one(conn: asyncpg.Connection) -> None:
    for statement in ("select digest('a', 'md4x')", "select pgp_sym_decrypt(pgp_sym_encrypt('x', 'key'), 'other')"):
        with pytest.raises(asyncpg.PostgresError):
            await conn.fetchval(statement)
    await _create(conn, "pg_trgm")
    if "pg_trgm" in {
        row[0] for row in await conn.fetch("select extname from pg_extension where extversion = $1", VERSION)
    }:
        await conn.execute("create table public.t (name text)")
        with pytest.raises(asyncpg.UndefinedObjectError, match="gin_trgm_ops"):
            await conn.execute("create index on public.t using gin (name gin_trgm_ops)")


def test_the_servers_own_folder_is_not_touched(cluster: PostgresCluster) -> None:
    prefix = with_stand_ins(cluster.bin_dir)
    assert prefix != cluster.bin_dir
    assert with_stand_ins(cluster.bin_dir) == prefix, "made once"
    assert not [*cluster.bin_dir.parent.rglob(f"*{VERSION}*")]
    assert not (prefix / "postgres").is_symlink(), "Postgres would find its own share again"


def test_a_server_of_unknown_layout_does_without(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "postgres").touch()
    assert with_stand_ins(tmp_path / "bin") == tmp_path / "bin"
    assert with_stand_ins(tmp_path / "nowhere") == tmp_path / "nowhere"


def test_names_are_those_that_a_folder_may_use() -> None:
    assert {"uuid_generate_v4", "uuid_generate_v5"} <= stand_ins()["uuid-ossp"].names
    assert {"schedule", "job"} <= stand_ins()["pg_cron"].names
    assert "toolkit_sha1" not in stand_ins()["pgcrypto"].names
    assert stand_ins()["pg_net"].says == "requests are queued and never sent."


@pytest.mark.usefixtures("replay_here")
async def test_a_stand_in_is_no_drift_from_the_real_one(bare_db: str, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "1_http.sql").write_text("create extension http; create table public.t (id int);")
    assert (await migrate_up(bare_db, read_folder(tmp_path))).ok
    conn = await connect(as_superuser(bare_db))
    # As the real one would look: another version, another comment.
    await conn.execute("update pg_extension set extversion = '1.6' where extname = 'http'")
    await conn.execute("comment on extension http is 'HTTP client'")
    drifted = await drift_from_folder(bare_db, read_folder(tmp_path))
    assert drifted.comparison is not None
    assert [str(one) for one in drifted.comparison.differences] == []
    assert drifted.comparison.dumps is None or drifted.comparison.dumps.differences == ()
    assert any("left out: http" in note for note in drifted.notes)
