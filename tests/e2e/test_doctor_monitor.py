"""`toolkit doctor` and `toolkit monitor` on a real system: healthy, with defects planted, and by URL."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from toolkit.client.session import ArticleGeneration
from toolkit.monitor.doctor import doctor
from toolkit.monitor.watch import RealtimeWatch, watching
from toolkit.report.record import Check, Report, Verdict
from toolkit.targets.embedded import EmbeddedTarget
from toolkit.targets.target import Target
from toolkit.tokens import mint_api_key

# One system for the module: its tests belong on one worker.
pytestmark = pytest.mark.xdist_group("doctor")
DEADLINE_S = 3.0


class System:
    def __init__(self, embedded: EmbeddedTarget, folder: Path) -> None:
        self.embedded = embedded
        self.folder = folder

    @property
    def target(self) -> Target:
        return self.embedded.target

    async def sql(self, *statements: str) -> Any:
        conn = await asyncpg.connect(self.embedded.dsn, timeout=10)
        try:
            for statement in statements[:-1]:
                await conn.execute(statement)
            return await conn.fetchval(statements[-1])
        finally:
            await conn.close(timeout=5)

    async def examine(self, target: Target | None = None, *, may_write: bool = True) -> Report:
        return await doctor(target or self.target, may_write=may_write, deadline_s=DEADLINE_S)

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment}
        return subprocess.run(
            [sys.executable, "-m", "toolkit.cli", *arguments],
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def by_url(self) -> dict[str, str]:
        target = self.target
        return {
            "DATABASE_URL": target.get("DATABASE_URL"),
            "API_URL": target.get("API_URL"),
            "SUPABASE_URL": target.get("SUPABASE_URL"),
            "SUPABASE_ANON_KEY": target.get("SUPABASE_ANON_KEY"),
            "SUPABASE_SERVICE_ROLE_KEY": target.get("SUPABASE_SERVICE_ROLE_KEY"),
            "SUPABASE_JWT_SECRET": target.get("SUPABASE_JWT_SECRET"),
        }


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("doctor")
    async with EmbeddedTarget(folder / "d", throwaway=True) as embedded:
        await embedded.start_server("api", roles=("api", "realtime"))
        await embedded.start_server("worker", roles=("worker",))
        embedded.announce("realtime")
        target = embedded.target
        async with ArticleGeneration(
            target.get("API_URL"),
            target.get("SUPABASE_URL"),
            target.get("SUPABASE_ANON_KEY"),
            target.user_token("user_1"),
        ) as article:
            await article.start_article_generation(initial_keywords=["a"])
            assert (await article.run_to_end(60)).status == "completed"
        yield System(embedded, folder)


def failing(report: Report) -> set[str]:
    assert all(c.remedy and c.detail for c in report.checks if c.verdict is Verdict.FAIL)
    return {c.id for c in report.checks if c.verdict is Verdict.FAIL}


def unknown(report: Report) -> set[str]:
    return {c.id for c in report.checks if c.verdict is Verdict.UNKNOWN}


def one(report: Report, id: str) -> Check:
    return next(check for check in report.checks if check.id == id)


# -- doctor -------------------------------------------------------------------------------------


async def test_a_healthy_system_passes_and_nothing_of_the_probe_stays(system: System) -> None:
    done = system.command("doctor", "--data", "d", "--json")
    found = json.loads(done.stdout)
    assert {c["id"]: c["detail"] for c in found["checks"] if c["verdict"] != "pass"} == {}, done.stderr
    assert (done.returncode, found["name"], found["verdict"]) == (0, "doctor", "pass")
    assert {"started_at", "finished_at", "target", "measurements"} <= found.keys()
    assert not any(secret in done.stdout for secret in (system.target.jwt_secret, system.target.anon_key))
    probes = r"select count(*) from public.generated_articles_state where user_id like 'toolkit\_probe\_%'"
    assert await system.sql(probes) == 0


PLANTED = {
    "events not published": (
        "alter publication supabase_realtime drop table public.process_events",
        "alter publication supabase_realtime add table public.process_events",
        {"PUB-2", "RT-4"},
    ),
    "row security without a policy": (
        "alter policy process_events_read on public.process_events to service_role",
        "alter policy process_events_read on public.process_events to authenticated",
        {"RLS-2", "RT-5"},
    ),
    "row security off and open to everybody": (
        "alter table public.process_events disable row level security;grant select on public.process_events to anon",
        "alter table public.process_events enable row level security;revoke select on public.process_events from anon",
        {"RLS-1", "GRT-2", "RT-7", "RT-8"},
    ),
    "select revoked": (
        "revoke select on public.process_events from authenticated",
        "grant select on public.process_events to authenticated",
        {"GRT-1", "RT-4"},
    ),
}


@pytest.mark.parametrize("defect", PLANTED)
async def test_what_stops_events_is_found_end_to_end(system: System, defect: str) -> None:
    plant, undo, expected = PLANTED[defect]
    await system.sql(plant, "select 1")
    try:
        found = await system.examine()
    finally:
        await system.sql(undo, "select 1")
    assert failing(found) == expected, [c for c in found.checks if c.id.startswith("RT")]


async def test_a_wrong_secret_and_a_wrong_key(system: System) -> None:
    found = await system.examine(replace(system.target, jwt_secret="another-secret-of-at-least-32-bytes!"))
    assert failing(found) >= {"SET-2", "SET-3", "API-3", "RT-4"}
    foreign = mint_api_key("another-secret-of-at-least-32-bytes!", "anon")
    found = await system.examine(replace(system.target, anon_key=foreign))
    assert failing(found) >= {"SET-2", "RT-2", "RT-4"}


async def test_a_dead_worker_and_a_transport_that_was_switched_back(system: System) -> None:
    worker = system.embedded.servers["worker"]
    worker.kill()
    await worker.wait_exited(15)
    service = {"Authorization": f"Bearer {system.target.service_role_key}"}
    try:
        await _put_transport(system, "websocket", service)
        found = await system.examine()
        assert failing(found) == {"WRK-1", "API-5"}
    finally:
        await _put_transport(system, "realtime", service)
        await system.embedded.restart_server("worker")


async def _put_transport(system: System, transport: str, headers: dict[str, str]) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=system.target.get("API_URL"), headers=headers, timeout=20) as client:
        answer = await client.put("/api/internal/transport", json={"transport": transport})
        assert answer.status_code == 200, answer.text


async def test_an_api_that_is_away_is_unknown_and_says_where(system: System) -> None:
    found = await system.examine(
        replace(system.target, api_url="http://127.0.0.1:9", supabase_url="http://127.0.0.1:9")
    )
    assert one(found, "API-1").verdict is Verdict.UNKNOWN
    assert "127.0.0.1:9" in one(found, "API-1").detail
    assert failing(found) == {"RT-2", "RT-4"}


async def test_a_target_of_the_user_is_not_written_to_unasked(system: System) -> None:
    """Read-only by URL: what only an event shows is unknown; with --yes it is seen."""
    events = await system.sql("select sum(last_sequence) from public.process_event_counters")
    done = system.command("doctor", "--json", "--deadline", "5s", **system.by_url())
    found = json.loads(done.stdout)
    assert done.returncode == 3, done.stderr
    assert {c["id"] for c in found["checks"] if c["verdict"] != "pass"} == {"RT-5", "RT-6", "RT-7", "RT-8"}
    assert all("--yes" in c["remedy"] for c in found["checks"] if c["verdict"] == "unknown")
    assert await system.sql("select sum(last_sequence) from public.process_event_counters") == events
    refused = system.command("doctor", "--probe", **system.by_url())
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    agreed = system.command("doctor", "--yes", **system.by_url())
    assert agreed.returncode == 0, agreed.stdout


async def test_without_a_database_the_probe_goes_through_the_api(system: System) -> None:
    found = await system.examine(replace(system.target, database_url=None))
    assert failing(found) == set()
    assert one(found, "RT-5").verdict is Verdict.PASS
    assert one(found, "DB-1").detail == "DATABASE_URL is not set"
    assert "SET-1" in unknown(found)
    await system.sql(r"delete from public.generated_articles_state where user_id like 'toolkit\_probe\_%'", "select 1")


# -- monitor ------------------------------------------------------------------------------------


async def test_one_sample_holds_all_three_groups(system: System) -> None:
    done = system.command("monitor", "--once", "--json", "--data", "d")
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"]) == (0, "pass"), done.stdout + done.stderr
    values = {m["name"]: m["value"] for m in found["measurements"]}
    assert (values["events delivered"], values["connection success rate"]) == (20, 1)
    assert 0 < values["delivery p50"] <= values["delivery p95"]
    assert values["completion rate of editing"] == 1
    assert values["writing_sections p95"] >= values["writing_sections p50"] > 0
    assert values["events appended"] > 50
    assert values["generation_start p50"] > 0
    titles = {table["title"] for table in found["tables"]}
    assert {
        "Active processes",
        "Recent events",
        "Task queue",
        "Tables",
        "Indexes",
        "Replication slots",
        "Server metrics",
        "Health",
        "Steps",
    } <= titles


async def test_thresholds_decide_and_samples_repeat_as_plain_lines(system: System) -> None:
    done = system.command(
        "monitor",
        "--data",
        "d",
        "--count",
        "2",
        "--interval",
        "1s",
        "--max-delivery-p95",
        "1ms",
        "--only",
        "realtime",
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (1, 2), done.stdout + done.stderr
    assert all(" fail " in line and "delivery-p95: p95" in line for line in lines)
    done = system.command(
        "monitor",
        "--data",
        "d",
        "--count",
        "2",
        "--interval",
        "1s",
        "--json",
        "--only",
        "database",
        "--only",
        "application",
    )
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 0
    assert "growth of process_events" not in {m["name"] for m in first["measurements"]}
    assert "growth of process_events" in {m["name"] for m in second["measurements"]}


async def test_what_has_no_address_is_unknown_by_name(system: System) -> None:
    done = system.command("monitor", "--once", "--json", API_URL=system.target.get("API_URL"))
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"], found["measurements"]) == (3, "unknown", [])
    (table,) = [table for table in found["tables"] if table["title"] == "Unknown"]
    reasons = {row[1]: row[2] for row in table["rows"]}
    assert reasons["queue length"] == "DATABASE_URL is not set"
    assert reasons["event delivery latency"] == "SUPABASE_URL is not set"


async def test_failed_tasks_are_counted_and_shown(system: System) -> None:
    process = await system.sql(
        "insert into public.generated_articles_state (user_id, status, error_message, current_step_name)"
        " values ('user_2', 'error', 'the model was away', 'researching') returning id"
    )
    await system.sql(
        "insert into public.background_tasks (process_id, task_type, status, completed_at, error_message)"
        f" select '{process}', 'generation_continue', 'failed', now(), 'the model was away'"
        " from generate_series(1, 5) returning 1"
    )
    try:
        done = system.command("monitor", "--once", "--data", "d", "--only", "application", "--only", "database")
        assert (done.returncode, "failed-rate" in done.stdout) == (1, True)
        assert "the model was away" in done.stdout
        assert failing(await system.examine()) == {"TSK-3"}
    finally:
        await system.sql(f"delete from public.generated_articles_state where id = '{process}'", "select 1")


async def test_a_kept_subscription_counts_its_reconnections(system: System) -> None:
    async with watching(system.target, may_write=True, deadline_s=10) as watch:
        assert isinstance(watch, RealtimeWatch)
        assert len((await watch.deliver(3)).latencies_ms) == 3
        assert watch.reconnections().count == 0
        server = system.embedded.servers["api"]
        server.kill()
        await server.wait_exited(15)
        await system.embedded.restart_server("api")
        await watch.stream.wait_live(30)
        assert watch.reconnections().count >= 1
        assert len((await watch.deliver(3)).latencies_ms) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stopped_monitor_leaves_nothing_behind(system: System, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "toolkit.cli",
        "monitor",
        "--data",
        "d",
        "--interval",
        "1h",
        cwd=system.folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    probes = r"select count(*) from public.generated_articles_state where user_id like 'toolkit\_probe\_%'"
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert b" pass " in await process.stdout.readline()
        assert await system.sql(probes) == 1
        process.send_signal(number)
        async with asyncio.timeout(30):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, b"Traceback" in said) == (128 + number, False), said
    assert await system.sql(probes) == 0
