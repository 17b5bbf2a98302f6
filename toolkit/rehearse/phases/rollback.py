"""Phase 4: the transport flag goes back to WebSocket, the database back to the legacy schema, and is migrated again."""

from __future__ import annotations

import asyncio

import httpx

from toolkit.client.errors import ApiError
from toolkit.client.generation import GenerationClient
from toolkit.migrate.run.api import migrate_down
from toolkit.migrate.run.api import snapshot as take_catalog
from toolkit.migrate.run.run_model import Options as MigrateOptions
from toolkit.postgres.connection import connected
from toolkit.rehearse.phases import migrate
from toolkit.rehearse.phases.proofs import compare_catalog, compare_rows
from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.rows import read_rows
from toolkit.rehearse.stage.stage import Stage
from toolkit.rehearse.traffic.user_generation import BODY, Gate, UserGeneration, legacy_generation, realtime_generation
from toolkit.report.record import Band
from toolkit.server_process import ServerHandle
from toolkit.sql import rehearsal as sql

RUNNING = 3
GATE_DEADLINE_S = 60.0
FLAG_DEADLINE_S = 15.0


async def switch(stage: Stage, server: ServerHandle, transport: str) -> None:
    """Set the flag of a running API process. Raises httpx.HTTPError when it refuses."""
    token = stage.embedded.target.user_token("toolkit", role="service_role")
    async with httpx.AsyncClient(base_url=server.url, timeout=FLAG_DEADLINE_S) as http:
        answer = await http.put(
            "/api/internal/transport", json={"transport": transport}, headers={"Authorization": f"Bearer {token}"}
        )
        answer.raise_for_status()


# -- immediate rollback ---------------------------------------------------------------------------


async def run_flag(stage: Stage, found: Findings) -> None:
    """Set the flag back while processes run: they complete, and new ones use the old transport."""
    api = stage.api
    target = stage.target(api)
    began = stage.clock.now()
    stage.say(f"{RUNNING} processes on Realtime, each held at its first prompt")
    gates = [Gate() for _ in range(RUNNING)]
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(realtime_generation(target, f"user_flag_{number}", gate))
            for number, gate in enumerate(gates)
        ]
        async with asyncio.timeout(GATE_DEADLINE_S):
            await asyncio.gather(*(gate.reached.wait() for gate in gates))
        stage.say("flag back to websocket")
        await switch(stage, api, "websocket")
        refusal = await _refused_start(stage, api)
        for gate in gates:
            gate.open.set()
        old = await legacy_generation(target, UserGeneration("user_flag_old", "websocket"))
    generations = [task.result() for task in running]
    found.check(
        "refused",
        "New Realtime processes are refused, in words",
        refusal.startswith("409 transport_unavailable"),
        refusal,
        "Look at what the API does with GENERATION_TRANSPORT.",
    )
    bad = [str(generation) for generation in generations if not generation.good]
    found.check(
        "running",
        "Processes that were running on Realtime complete",
        not bad,
        f"{len(generations) - len(bad)} of {len(generations)} completed after the flag was flipped",
        "Read the worker's log.",
        bad,
    )
    found.check("legacy", "New processes use the WebSocket again", old.good, str(old), f"Read {api.log_path.name}.")
    stage.diary.bands.append(Band(began, stage.clock.now(), "flag back", "plain"))


async def _refused_start(stage: Stage, api: ServerHandle) -> str:
    async with GenerationClient(api.url, stage.token("user_flag_new")) as client:
        try:
            started = await client.start_article_generation(**BODY)
        except ApiError as error:
            return f"{error.status} {error.code}: {error.message}"
    return f"201: process {started.process_id} was started"


# -- database rollback ----------------------------------------------------------------------------


async def run_database(stage: Stage, found: Findings) -> None:
    """Roll the database back. Leaves the legacy schema, with every server stopped."""
    assert stage.rows_before is not None
    assert stage.catalog_before is not None
    stage.say("stopping API and workers")
    await stage.stop_servers()
    async with connected(stage.dsn, "toolkit rehearse") as conn:
        sessions = [
            f"{row['application_name'] or '(unnamed)'}: {row['sessions']}"
            for row in await conn.fetch(sql.OTHER_SESSIONS, timeout=30)
        ]
        written = (await read_rows(conn)).like(stage.rows_before)
    found.check(
        "quiet",
        "No server works on the database any more",
        not sessions,
        f"{len(sessions)} kinds of session are left",
        "Stop every API, worker and Realtime process first.",
        sessions,
    )
    result = await migrate_down(
        stage.dsn,
        stage.migrations,
        to=stage.legacy_version,
        options=MigrateOptions(export_dir=stage.options.run_dir / "exports"),
        on_progress=migrate.teller(stage, "undo"),
    )
    exported = [export for step in result.steps for export in step.exports]
    rows = sum(export.rows for export in exported)
    found.check(
        "down",
        "The database is rolled back, and what that destroys is exported first",
        result.ok and bool(result.steps) and bool(exported),
        f"{len(result.steps)} files in {sum(step.seconds for step in result.steps):.2f} s; {rows} rows of "
        f"{len(exported)} tables in exports/",
        "Read the failed statement.",
        [str(step.failure) for step in result.steps if step.failure],
    )
    found.measure("rows exported", rows, "rows")
    compare_catalog(
        found,
        "catalog",
        "The catalog is what it was before the migration",
        stage.catalog_before,
        await take_catalog(stage.dsn),
    )
    await compare_rows(
        stage, found, "rows", "After the rollback every old row is as before the migration", stage.rows_before
    )
    await compare_rows(
        stage, found, "later-rows", "Rows that were written since keep what the legacy columns hold", written
    )

    stage.say("the legacy system once more")
    server = await stage.embedded.start_server(
        "legacy-again", roles=("api",), transport="websocket", env=stage.writer_env()
    )
    generation = await legacy_generation(stage.target(server), UserGeneration("user_again", "websocket"))
    found.check(
        "legacy",
        "The legacy system writes articles on the rolled-back schema",
        generation.good,
        str(generation),
        f"Read {server.log_path.name}.",
    )
    await server.stop()


# -- again ----------------------------------------------------------------------------------------


async def run_again(stage: Stage, found: Findings) -> None:
    """Migrate once more. Leaves the migrated schema, with every server stopped."""
    await migrate.apply(stage, found, "again")
    await migrate.verify_applied(stage, found)
    stage.applied(found)
    if stage.catalog_after is not None:
        compare_catalog(
            found,
            "catalog",
            "The second migration leads where the first one led",
            stage.catalog_after,
            await take_catalog(stage.dsn),
        )
    assert stage.rows_before is not None
    await compare_rows(stage, found, "rows", "After the second migration every old row is unchanged", stage.rows_before)
    stage.say("one more article over Realtime")
    server = await stage.embedded.start_server("all-again", transport="realtime", env=stage.writer_env())
    generation = await realtime_generation(stage.target(server), "user_again")
    found.check(
        "realtime",
        "Realtime works on the schema that was migrated twice",
        generation.good,
        str(generation),
        f"Read {server.log_path.name}.",
    )
    await server.stop()
