"""Rows that other programs wrote, and what is larger than the log takes: said in words, at once, never a success."""

from __future__ import annotations

from dataclasses import replace

from reference_server.generation.content import KeywordAnalysis, Persona
from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.generation.writer import Assignment
from tests.support.generation import bench
from toolkit.contract.statuses import Status


class LongWinded(DeterministicWriter):
    """Its personas are longer than an event may be."""

    async def generate_personas(self, job: Assignment, keywords: KeywordAnalysis) -> tuple[Persona, ...]:
        made = await super().generate_personas(job, keywords)
        return tuple(replace(persona, description="長" * 60_000) for persona in made)


async def test_an_article_of_another_user_is_no_result(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        process_id = await b.start(auto_mode=True)
        await b.pool.execute(
            "insert into articles (user_id, generation_process_id, title) values ('user_2other', $1, 'theirs')",
            process_id,
        )
        b.worker()
        ended = await b.until(process_id, lambda view: view.status in {Status.ERROR, Status.COMPLETED})
        assert (ended.status, ended.article_id) == (Status.ERROR, None)
        assert "an article of another user" in str(ended.error_message)
        types = [event.event_type for event in await b.events(process_id)]
        assert "generation_completed" not in types
        assert "task_retry_scheduled" not in types


async def test_an_answer_that_no_event_holds_is_told_at_once(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        b.worker(LongWinded(7))
        process_id = await b.start()
        ended = await b.until(process_id, lambda view: view.status in {Status.ERROR, Status.COMPLETED})
        assert ended.status is Status.ERROR
        assert "larger than an event may be (262,144 bytes)" in str(ended.error_message)
        assert await b.pool.fetchval("select max(retry_count) from background_tasks") == 0
