"""The end of a run: running processes are cancelled, sessions catch up, and what the database holds is recorded."""

from __future__ import annotations

import asyncio
import contextlib

from toolkit.scenarios.caller import NoAnswer
from toolkit.scenarios.running_scenario import RunningScenario

SETTLE_S = 20.0
POLL_S = 0.05


async def settle(running: RunningScenario) -> None:
    """Cancel what is still running, let the sessions catch up, then record what the database holds."""
    for process in running.processes.values():
        if process.id is None:
            continue
        if running.transport == "realtime" and not process.tracker.ended and not process.stored.ended:
            path = f"/api/articles/generation/{process.id}"
            with contextlib.suppress(NoAnswer):
                await running.caller.call("cancel", "DELETE", path, process.spec.user, process=process.id)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_S
    while loop.time() < deadline:
        behind = [
            process
            for process in running.processes.values()
            if process.id is not None
            and process.session is not None
            and running.transport == "realtime"
            and process.tracker.last_sequence < await running.witness.last_sequence(process.id)
        ]
        if not behind:
            break
        await asyncio.sleep(POLL_S)
    await asyncio.gather(
        *(process.session.close() for process in running.processes.values() if process.session is not None)
    )
    running.history.add("note", "run", "store", value={"read": running.witness.store})
    if not await running.witness.has_log():
        running.history.add("note", "database", "no-event-log")
    for process in running.processes.values():
        if process.id is not None:
            await _read(running, process.id)
    await _strays(running)


async def _strays(running: RunningScenario) -> None:
    """Record processes of this run's users, who are new in each run, that no answer of the API ever named."""
    named = {record.process for record in running.history.records if record.kind == "ok"} | running.owners.keys()
    for user in running.scenario.users:
        for process in await running.witness.processes_of(user, running.users[user].subject):
            if process not in named:
                running.history.add("db", f"user:{user}", "stray", process=process)


async def _read(running: RunningScenario, process: str) -> None:
    actor = running.witness.store.removeprefix("the ")
    for event in await running.witness.events(process):
        running.history.add(
            "db", actor, "event", process=process, seq=event.sequence, event_id=event.id, value=event.value
        )
    rows = await running.witness.rows(process)
    if rows.state is not None:
        running.history.add("db", actor, "state", process=process, value=rows.state)
    if rows.articles is not None:
        kept = [{key: value for key, value in row.items() if key != "content"} for row in rows.articles]
        running.history.add("db", actor, "articles", process=process, value={"rows": kept})
    if rows.tasks is not None:
        running.history.add("db", actor, "tasks", process=process, value={"rows": rows.tasks})
