"""`toolkit bootstrap` on a Postgres that is no Supabase project, and `plan`, which says that it is needed."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.integration.migrate.conftest import Write
from tests.support.databases import Databases, as_superuser
from tests.support.scratch_here import replay_here  # noqa: F401 - a fixture
from toolkit.cli import main
from toolkit.errors import EnvironmentError_, RefusalError
from toolkit.migrate.bootstrap.run import look, prepare
from toolkit.migrate.scratch.platform import mode_of_database

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
Toolkit = Callable[..., tuple[int, dict[str, Any], str]]
# The platform's roles belong to the cluster of the tests, where other databases have made them.
OF_THE_CLUSTER = {f"{what}-{role}" for what in ("role", "member") for role in ("anon", "authenticated", "service_role")}


@pytest.fixture
async def plain_db(databases: Databases, bare_db: str, connect: Connect) -> AsyncIterator[str]:
    """DSN of an empty database, on a cluster that has the platform's roles because of another."""
    assert bare_db
    async with databases.clone("empty") as dsn:
        admin = await connect(as_superuser(dsn))
        await admin.execute("alter role postgres superuser")  # as where nobody has thought of Supabase
        try:
            yield dsn
        finally:
            await admin.execute("alter role postgres nosuperuser")


@pytest.fixture
def toolkit(
    plain_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Toolkit:
    """`toolkit("bootstrap")` on that database: exit code, report and what stderr said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", plain_db)

    def run(*args: str) -> tuple[int, dict[str, Any], str]:
        monkeypatch.setattr(sys, "argv", ["toolkit", *args, "--json"])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        return int(stopped.value.code or 0), json.loads(out), err

    return run


def failed(report: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["remedy"] for check in report["checks"] if check["verdict"] == "fail"}


@pytest.mark.usefixtures("replay_here")
def test_a_plain_postgres_is_prepared_and_the_migration_applies(toolkit: Toolkit) -> None:
    code, report, _ = toolkit("migrate", "plan", "--bundled")
    assert (code, failed(report).keys()) == (1, {"missing-schema-auth", "missing-publication-supabase_realtime"})
    assert all("`toolkit bootstrap` makes it" in remedy for remedy in failed(report).values())
    code, planned, _ = toolkit("bootstrap", "--dry-run")
    assert (code, planned["title"]) == (0, "Would make 11 of 18")
    assert "create schema auth" in planned["bootstrap"]["missing"].values()
    assert not planned["bootstrap"]["missing"].keys() & OF_THE_CLUSTER
    code, _, err = toolkit("bootstrap")
    assert (code, "nobody confirmed it" in err, "create publication supabase_realtime" in err) == (2, True, True)
    code, done, _ = toolkit("bootstrap", "--yes")
    assert (code, done["title"], done["bootstrap"]["applied"]) == (0, "11 made", True)
    code, again, _ = toolkit("bootstrap", "--yes")
    assert (code, again["title"], again["bootstrap"]["missing"]) == (0, "Nothing to do", {})
    assert toolkit("migrate", "plan", "--bundled")[0] == 0
    assert toolkit("migrate", "up", "--bundled", "--yes")[0] == 0
    # It is then what a Supabase project is, as far as migrations can tell.
    code, drift, _ = toolkit("migrate", "drift", "--bundled", "--no-dump")
    assert code == 0, drift["diff"]


async def test_a_supabase_project_is_refused(bare_db: str, connect: Connect) -> None:
    assert (await look(bare_db)).missing == (), "our own stand for one and lack nothing"
    conn = await connect(as_superuser(bare_db))
    await conn.execute("comment on schema auth is null")
    for refusing in (look, prepare):
        with pytest.raises(RefusalError, match="This is a Supabase project"):
            await refusing(bare_db)


async def test_roles_are_made_and_a_role_that_may_not_make_them_is_told_so(plain_db: str, connect: Connect) -> None:
    conn = await connect(plain_db)
    roles = ("anon", "authenticated", "service_role")
    await conn.execute("create role toolkit_weak login")
    try:
        for role in roles:
            await conn.execute(f"alter role {role} rename to {role}_away")
        missing = {part.id for part in (await look(plain_db)).missing}
        assert {"role-anon", "role-authenticated", "role-service_role"} <= missing
        with pytest.raises(EnvironmentError_, match="may not run `create role anon nologin`") as refused:
            await prepare(plain_db.replace("//postgres@", "//toolkit_weak@"))
        assert "a role with CREATEROLE and BYPASSRLS" in refused.value.remedy
        assert {part.id for part in (await look(plain_db)).missing} == missing, "nothing was changed"
        assert (await prepare(plain_db)).missing == ()
        assert await conn.fetchval("select rolbypassrls from pg_roles where rolname = 'service_role'")
        await conn.execute("set role anon; select set_config('request.jwt.claims', '{\"sub\": \"u1\"}', false)")
        assert await conn.fetchval("select auth.jwt() ->> 'sub'") == "u1"
        await conn.execute("reset role")
    finally:
        for role in roles:
            if await conn.fetchval("select exists (select from pg_roles where rolname = $1)", f"{role}_away"):
                if await conn.fetchval("select exists (select from pg_roles where rolname = $1)", role):
                    await conn.execute(f"drop owned by {role}; drop role {role}")
                await conn.execute(f"alter role {role}_away rename to {role}")
        await conn.execute("drop role toolkit_weak")


def test_a_plan_names_what_the_files_need_and_nobody_makes(toolkit: Toolkit, write: Write) -> None:
    folder = write(
        {
            "1_own.sql": "create schema vault; create table vault.secrets (id int);",
            "2_theirs.sql": "insert into vault.secrets values (1);\ninsert into storage.buckets (id) values ('a');",
        }
    )
    code, report, _ = toolkit("migrate", "plan", "--migrations", str(folder))
    assert (code, failed(report).keys()) == (1, {"missing-schema-storage"})
    (check,) = (one for one in report["checks"] if one["verdict"] == "fail")
    assert check["detail"] == "2_theirs.sql:2 names it"
    assert "does not make" in check["remedy"]


async def test_it_is_prepared_as_a_newer_project_when_that_is_asked_for(plain_db: str, connect: Connect) -> None:
    assert {"default-tables", "default-functions"} <= {part.id for part in (await look(plain_db, "new")).missing}
    assert (await prepare(plain_db, "new")).missing == ()
    conn = await connect(plain_db)
    assert await mode_of_database(conn) == "new"
    await conn.execute("create table public.t (id int)")
    assert not await conn.fetchval("select has_table_privilege('anon', 'public.t', 'select')")
    assert await conn.fetchval("select has_table_privilege('anon', 'public.t', 'truncate')"), "a hosted one leaves it"
