"""The embedded cluster: what Supabase offers on arrival is there."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from toolkit.errors import EnvironmentError_
from toolkit.postgres.cluster import PASSED_ON, THROWAWAY_SETTINGS, PostgresCluster, postgres_user
from toolkit.postgres.servers import EMBEDDED_VERSION

Connect = Callable[[str], Awaitable[asyncpg.Connection]]


async def test_a_bare_database_looks_like_a_supabase_project(bare_db: str, connect: Connect) -> None:
    conn = await connect(bare_db)
    assert await conn.fetchval("show wal_level") == "logical"
    roles = {r["rolname"] for r in await conn.fetch("select rolname from pg_roles")}
    assert {"anon", "authenticated", "service_role"} <= roles
    assert await conn.fetchval("select 1 from pg_publication where pubname = 'supabase_realtime'") == 1


async def test_claims_that_were_reset_read_as_absent(bare_db: str, connect: Connect) -> None:
    conn = await connect(bare_db)
    async with conn.transaction():
        await conn.execute("select set_config('request.jwt.claims', '{\"role\":\"anon\"}', true)")
        assert await conn.fetchval("select auth.role()") == "anon"
    # After a local setting ends, Postgres reports '' and a plain ::jsonb cast would raise (defect D6).
    assert await conn.fetchval("select auth.jwt()") is None
    assert await conn.fetchval("select auth.role()") is None


async def test_it_runs_in_a_folder_of_any_name_and_says_whose_data_it_is(tmp_path: Path, connect: Connect) -> None:
    folder = tmp_path / ("日本語の" * 8) / 'it\'s $HOME, "a" `b`;' / "data"
    cluster = PostgresCluster(folder, settings=THROWAWAY_SETTINGS)
    cluster.start()
    try:
        conn = await connect(cluster.admin_dsn())
        assert await conn.fetchval("show data_directory") == str(folder)
        await conn.close(timeout=5)
        cluster.stop()
        assert not cluster.running
        (folder / "PG_VERSION").write_text("14\n")
        with pytest.raises(EnvironmentError_, match=f"is of Postgres 14, and this is Postgres {EMBEDDED_VERSION}"):
            cluster.start()
    finally:
        (folder / "PG_VERSION").write_text(f"{EMBEDDED_VERSION}\n")
        cluster.destroy()


async def test_a_half_made_cluster_is_made_anew_and_a_taken_port_is_named(tmp_path: Path, connect: Connect) -> None:
    half = tmp_path / "data.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("16\n")  # what a killed initdb leaves
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        cluster = PostgresCluster(tmp_path / "data", settings=THROWAWAY_SETTINGS, tcp_port=port)
        with pytest.raises(EnvironmentError_, match=f"port {port} is in use by another program"):
            cluster.start()
    cluster.start()
    try:
        conn = await connect(cluster.tcp_dsn())
        assert await conn.fetchval("select 1") == 1
        assert not half.exists()
    finally:
        cluster.destroy()


async def test_programs_that_a_database_runs_know_nothing_of_ours_and_are_in_no_group_of_ours(
    cluster: PostgresCluster, connect: Connect
) -> None:
    assert "PYTEST_CURRENT_TEST" in os.environ  # and what else the caller's environment holds
    conn = await connect(cluster.admin_dsn())
    await conn.execute("create temp table said (line text)")
    await conn.execute("copy said from program 'env; echo; id -G; id -u'")
    said = [row["line"] for row in await conn.fetch("select line from said")]
    names = {line.partition("=")[0] for line in said[: said.index("")]}
    assert {name for name in names - PASSED_ON if not name.startswith(("PG", "LC_"))} <= {"PWD", "OLDPWD", "SHLVL", "_"}
    groups, user = said[-2:]
    if os.geteuid() == 0:
        entry = pwd.getpwuid(int(user))
        assert (entry.pw_name, groups) == (postgres_user(), str(entry.pw_gid))
