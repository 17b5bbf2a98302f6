"""Phase 3: Realtime is turned on, first beside the WebSocket and then alone; the four scenarios run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from toolkit.postgres.connection import connected
from toolkit.rehearse.phases.rollback import switch
from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.endpoints import ask_every_endpoint
from toolkit.rehearse.stage.populate import PAUSED_USER
from toolkit.rehearse.stage.scenario_runs import run_all, system_of
from toolkit.rehearse.stage.stage import Stage
from toolkit.rehearse.traffic.user_generation import UserGeneration, legacy_generation, realtime_generation
from toolkit.report.pictures import percentile
from toolkit.report.record import Band, Distribution, Table, Verdict
from toolkit.sql import rehearsal as sql

DRAIN_DEADLINE_S = 120.0
APART_S = 0.25


async def run(stage: Stage, found: Findings) -> None:
    """Turn Realtime on. Leaves API and worker at work on Realtime alone, and the legacy server stopped."""
    began = stage.clock.now()
    await _transition(stage, found)
    stage.diary.bands.append(Band(began, stage.clock.now(), "both → realtime", "good"))
    await _old_processes(stage, found)
    await _endpoints(stage, found)
    await _runs(stage, found)
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
    stage.say("old and new transport side by side; people at work finish their articles")
    new, old, late = await asyncio.gather(
        realtime_generation(target, "user_both_new"),
        legacy_generation(target, UserGeneration("user_both_old", "websocket")),
        traffic.drain(DRAIN_DEADLINE_S),
    )
    bad = [str(generation) for generation in (new, old) if not generation.good]
    found.check(
        "side-by-side",
        "With `both`, articles are written over either transport at the same time",
        not bad,
        f"{new}; {old}",
        f"Read {api.log_path.name}.",
        bad,
    )
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
    feedback = _feedback(traffic.generations)
    if feedback:
        found.measure("first feedback p50", percentile(feedback, 0.5), "ms", group="legacy")
        found.measure("first feedback p95", percentile(feedback, 0.95), "ms", group="legacy")
    await stage.embedded.stop_server("legacy")
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


async def _runs(stage: Stage, found: Findings) -> None:
    count = stage.options.size.realtime_runs
    stage.say(f"{count} articles side by side over Realtime")
    target = stage.target(stage.api)

    async def person(number: int) -> UserGeneration:
        # Starts are spread, as they were on the legacy server: people do not press the button in the same instant.
        await asyncio.sleep(number * APART_S)
        return await realtime_generation(target, f"user_realtime_{number}")

    generations = await asyncio.gather(*(person(number) for number in range(count)))
    await _events(stage, found, generations)
    feedback = _feedback(generations)
    if feedback:
        found.measure("first feedback p50", percentile(feedback, 0.5), "ms")
        found.measure("first feedback p95", percentile(feedback, 0.95), "ms")
    rows = [
        (transport, str(len(times)), f"{percentile(times, 0.5):.0f}", f"{percentile(times, 0.95):.0f}")
        for transport, times in (
            ("WebSocket", _feedback(stage.traffic.generations if stage.traffic else [])),
            ("Realtime", feedback),
        )
        if times
    ]
    found.tables.append(Table("First feedback after a start, ms", ("", "runs", "p50", "p95"), tuple(rows), found.group))
    put, answered = (
        sum(generation.prompts_put for generation in generations),
        sum(generation.prompts_answered for generation in generations),
    )
    found.measure("prompts put", put, "")
    found.measure("prompts answered", answered, "")
    # An operation is what a user would call one: a start, an answer to each prompt, and the article.
    found.measure("operations", sum(2 + generation.prompts_put for generation in generations), "")
    found.measure("failed operations", sum(not generation.good for generation in generations) + put - answered, "")
    stage.distributions.append(Distribution("First feedback over Realtime", "ms", tuple(feedback), found.group))


async def _events(stage: Stage, found: Findings, generations: Sequence[UserGeneration]) -> None:
    ids = [UUID(generation.process_id) for generation in generations if generation.process_id]
    async with connected(stage.dsn, "toolkit rehearse") as conn:
        stored = {row["process_id"]: row["events"] for row in await conn.fetch(sql.EVENT_COUNTS, ids, timeout=30)}
    bad = [str(generation) for generation in generations if not generation.good]
    for generation in generations:
        # The stream ends with the event that ends the process; what the database holds after it is not lost.
        wanted = list(range(1, len(generation.sequences) + 1))
        if generation.sequences != wanted:
            bad.append(f"{generation}: sequences {generation.sequences[:20]} … are not 1 to {len(wanted)}")
        in_log = stored.get(generation.process_id or "", 0)
        if len(generation.sequences) < in_log:
            bad.append(f"{generation}: {len(generation.sequences)} events delivered, {in_log} stored")
    live = sum(generation.live for generation in generations)
    fetched = sum(generation.backfilled for generation in generations)
    found.check(
        "events",
        "Every event reaches its subscriber over Realtime, once and in order",
        Verdict.FAIL if bad else Verdict.PASS if live else Verdict.UNKNOWN,
        f"{sum(stored.values())} events stored, {live} delivered live, {fetched} fetched "
        f"while connecting; {len(generations)} subscribers",
        "Compare process_events with the sequences of the witness.",
        bad,
    )
    found.measure("events stored", sum(stored.values()), "")
    found.measure("events delivered live", live, "")


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


def _feedback(generations: Sequence[UserGeneration]) -> list[float]:
    return sorted(generation.feedback_ms for generation in generations if generation.feedback_ms is not None)
