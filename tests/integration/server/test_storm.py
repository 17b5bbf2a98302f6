"""Four workers and impatient users on few processes: no deadlock, no gap, no half-made step, one article each."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID

import asyncpg
import pytest

from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.generation.errors import GenerationError
from tests.support.generation import ANSWERS, Bench, bench
from tests.support.logs import check_log
from toolkit.contract.prompts import InputType
from toolkit.contract.statuses import ENDED, Status

USERS = 12
ACTIONS = 25


async def impatient(b: Bench, process_id: UUID, dice: random.Random, refused: list[str]) -> None:
    """Pauses, resumes, answers and asks at random moments."""
    for _ in range(ACTIONS):
        view = await b.service.get(process_id)
        if view.status in ENDED:
            return
        action = dice.choice(["pause", "resume", "answer", "answer", "answer", "regenerate", "test_event"])
        try:
            if action == "pause":
                await b.service.pause(process_id)
            elif action == "resume":
                await b.service.resume(process_id)
            elif action == "test_event":
                await b.service.test_event(process_id, "hello")
            elif view.input_type is not None:
                answer = ANSWERS[InputType(view.input_type)] if action == "answer" else ("regenerate", {})
                await b.service.answer(process_id, *answer)
        except GenerationError as error:
            refused.append(error.code)
        await asyncio.sleep(dice.random() * 0.03)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_storm(emptied_db: str, seed: int) -> None:
    dice = random.Random(seed)
    async with bench(emptied_db) as b:
        deadlocks = await _deadlocks(b.pool)
        for i in range(4):
            writer = DeterministicWriter(7, step_latency_s=0.004, failure_rate=0.1)
            b.worker(writer, concurrency=2, sweep_seconds=0.1 + i / 10)
        processes = [await b.start(auto_mode=i % 4 == 0, company_name=str(i)) for i in range(USERS)]
        refused: list[str] = []
        crowd = [impatient(b, process_id, random.Random(dice.random()), refused) for process_id in processes * 2]
        cancelled = processes[:3]
        await asyncio.gather(*crowd, *(_cancel(b, process_id) for process_id in cancelled))

        assert set(refused) <= {"illegal_transition", "not_waiting_for_input", "unexpected_response_type"}
        for process_id in processes:
            view = await b.service.get(process_id)
            if view.status in (Status.PAUSED, Status.ERROR):
                await b.service.resume(process_id)
            view = await b.to_the_end(process_id)
            assert view.status in (Status.COMPLETED, Status.ERROR, Status.CANCELLED)
            types = [t for t in check_log(await b.events(process_id)) if t != "test_event"]
            if view.status is Status.COMPLETED:
                assert types.count("generation_completed") == 1
                assert view.article_id is not None
        assert await _deadlocks(b.pool) == deadlocks
        articles = await b.pool.fetchval("select count(*) from articles")
        completed = await b.pool.fetchval("select count(*) from generated_articles_state where status = 'completed'")
        assert articles == completed > 0
        doubled = await b.pool.fetchval(
            """select count(*) from (
                 select process_id, event_data ->> 'task_id' from process_events where event_type = 'step_completed'
                 group by 1, 2 having count(*) > 1) d"""
        )
        assert doubled == 0, "no task has ended a step twice"


async def _cancel(b: Bench, process_id: UUID) -> None:
    await asyncio.sleep(0.2)
    try:
        await b.service.cancel(process_id)
    except GenerationError as error:
        assert error.code == "illegal_transition"  # noqa: PT017


async def _deadlocks(pool: asyncpg.Pool) -> int:
    # A deadlock that `transact` healed would still be counted here.
    await pool.execute("select pg_stat_force_next_flush()")
    return int(
        await pool.fetchval(
            "select coalesce(sum(deadlocks), 0) from pg_stat_database where datname = current_database()"
        )
    )
