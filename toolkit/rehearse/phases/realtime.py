"""Phase 3: Realtime is turned on, first beside the WebSocket and then alone; the four scenarios run."""

from __future__ import annotations

import asyncio
from uuid import UUID

from toolkit.postgres.connection import connected
from toolkit.rehearse.phases.comparison import compare_transports
from toolkit.rehearse.phases.rollback import switch
from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.endpoints import ask_every_endpoint
from toolkit.rehearse.stage.populate import PAUSED_USER
from toolkit.rehearse.stage.scenario_runs import run_all, system_of
from toolkit.rehearse.stage.stage import Stage
from toolkit.rehearse.traffic.user_generation import UserGeneration, legacy_generation, realtime_generation
from toolkit.report.record import Band, Table, Verdict
from toolkit.sql import rehearsal as sql

DRAIN_DEADLINE_S = 120.0


async def run(stage: Stage, found: Findings) -> None:
    """Turn Realtime on. Leaves API and worker at work on Realtime alone, and the legacy server stopped."""
    began = stage.clock.now()
    await _transition(stage, found)
    stage.diary.bands.append(Band(began, stage.clock.now(), "both → realtime", "good"))
    await _old_processes(stage, found)
    await _endpoints(stage, found)
    # The third needs servers with settings of its own, so it comes last; the others share theirs.
    await run_all(stage, found, "scenario", (1, 2, 4, 3), under_faults=False)
    await _abandoned(stage, found)
    await _tasks(stage, found)


async def _transition(stage: Stage, found: Findings) -> None:
    traffic = stage.traffic
    assert traffic is not None
    stage.say("starting API and worker with both transports")
    system = system_of(stage)
    await system.configure("both", stage.writer_env())
    api = stage.api
    target = stage.target(api)
    stage.say("people at work finish their articles on the legacy server")
    late = await traffic.drain(DRAIN_DEADLINE_S)
    ended = [generation for generation in traffic.generations if generation.ended is not None]
    bad = [str(generation) for generation in (*late, *ended) if not generation.good]
    found.check(
        "drained",
        "Every process that people began on the legacy server came to its end",
        not bad,
        f"{len(ended)} of {len(traffic.generations)} ended well before the legacy server was stopped",
        "Read legacy.log around the times of the witness.",
        bad,
    )
    await stage.embedded.stop_server("legacy")
    await compare_transports(stage, found)
    await switch(stage, api, "realtime")
    refused = await legacy_generation(target, UserGeneration("user_late", "websocket"))
    found.check(
        "alone",
        "With `realtime`, a new process on the WebSocket is refused in words",
        "transport_unavailable" in refused.error,
        refused.error or "it was accepted",
        f"Read {api.log_path.name}.",
    )


async def _old_processes(stage: Stage, found: Findings) -> None:
    assert stage.population is not None
    stage.say("processes that were paused before the migration are resumed")
    target = stage.target(stage.api)
    generations = await asyncio.gather(
        *(realtime_generation(target, PAUSED_USER, resume=str(process)) for process in stage.population.paused)
    )
    bad = [str(generation) for generation in generations if not generation.good]
    found.check(
        "old-processes",
        "Processes that were paused before the migration are resumed and finished over Realtime",
        not bad,
        f"{len(generations) - len(bad)} of {len(generations)}",
        "The context that older servers wrote must still be readable: see the API's and the worker's log.",
        bad,
    )


async def _abandoned(stage: Stage, found: Findings) -> None:
    """Runs after the four scenarios, so that the workers had time to touch processes that are not theirs."""
    population = stage.population
    assert population is not None
    stage.say("processes that nobody worked on any more")
    taken_up = {*population.paused, *population.abandoned}
    ids = [row["id"] for row in population.rows["generated_articles_state"] if row["id"] not in taken_up]
    async with connected(stage.dsn, "toolkit rehearse") as conn:
        tasks = await conn.fetchval(sql.TASKS_OF, ids, timeout=30)
    target = stage.target(stage.api)
    generations = await asyncio.gather(
        *(
            legacy_generation(target, UserGeneration(PAUSED_USER, "websocket", process_id=str(id)))
            for id in population.abandoned
        )
    )
    completed = sum(generation.good for generation in generations)
    bad = [
        *([f"{tasks} tasks of processes that nobody resumed"] if tasks else []),
        *(str(generation) for generation in generations if not generation.good),
    ]
    found.check(
        "abandoned",
        "Processes whose server was gone before the migration stay as they are until their user comes back",
        not bad,
        f"{tasks} tasks for {len(ids)} old processes: no worker takes up what it was not given. "
        f"{completed} of {len(generations)} whose users came back finished over the WebSocket, which "
        "serves what was begun on it whatever the flag says",
        "Look at what made a task for a process that nobody asked for: background_tasks.created_by.",
        bad,
    )


async def _endpoints(stage: Stage, found: Findings) -> None:
    stage.say("every endpoint of the guide")
    asked = await ask_every_endpoint(stage.target(stage.api))
    bad = [f"{one.endpoint}: {one.error}" for one in asked if one.error]
    found.check(
        "endpoints",
        "Every endpoint of the guide answers as it should",
        not bad,
        f"{len(asked) - len(bad)} of {len(asked)} requests answered as they should be",
        "Read api.log; /docs describes each.",
        bad,
    )
    found.measure("endpoints asked", len(asked), "")


async def _tasks(stage: Stage, found: Findings) -> None:
    async with connected(stage.dsn, "toolkit rehearse") as conn:
        rows = await conn.fetch(sql.TASKS, [UUID(id) for id in stage.failing_on_purpose], timeout=30)
    found.tables.append(
        Table(
            "Background tasks",
            ("task", "process", "tasks", "retries", "rescues"),
            tuple(
                (row["status"], row["process_status"], *(str(row[name]) for name in ("tasks", "retries", "rescues")))
                for row in rows
            ),
            found.group,
        )
    )
    bad = [
        f"{row['tasks']} {row['status']} task(s) of {row['process_status']} processes: {row['error'] or 'no error'}"
        for row in rows
        if row["status"] == "failed"
        or (row["status"] != "completed" and row["process_status"] == "completed")
        or (row["status"] in {"pending", "running"} and row["process_status"] in {"cancelled", "error"})
    ]
    done = sum(row["tasks"] for row in rows if row["status"] == "completed")
    found.check(
        "tasks",
        "Background tasks are executed to their end",
        Verdict.FAIL if bad else Verdict.PASS if done else Verdict.UNKNOWN,
        f"{done} completed, {sum(row['retries'] for row in rows)} retries; "
        f"{len(stage.failing_on_purpose)} processes that a scenario makes fail are left to its own judges",
        "Look at background_tasks.error_message and the worker's log.",
        bad,
    )
    found.measure("tasks completed", done, "")
