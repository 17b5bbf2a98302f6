"""A worker that ends a step may take on the next one in the same transaction: never out of turn, never lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.generation.errors import StaleClaim
from reference_server.generation.steps import StepResult
from reference_server.generation.writer import Assignment
from reference_server.store.pool import CommitUnknown, write
from reference_server.workers.observer import Counts
from reference_server.workers.record import Begun, Recorder
from tests.support.generation import Bench, bench
from tests.support.logs import check_log
from toolkit.contract.statuses import Status


def recorder(b: Bench) -> Recorder:
    return Recorder(b.pool, "w", "host", b.settings)


async def begun(b: Bench) -> tuple[Begun, StepResult]:
    """The first step of a process of its own, done and not yet written."""
    await b.start()
    claimed = await recorder(b).begin()
    assert claimed is not None
    assert claimed.run is not None
    analysis = await DeterministicWriter(7).analyze_keywords(Assignment(claimed.run.context.request))
    return claimed, StepResult(replace(claimed.run.context, keyword_analysis=analysis))


async def finish(b: Bench, claimed: Begun, result: StepResult) -> Begun | None:
    assert claimed.run is not None
    return await recorder(b).finish(claimed.task, claimed.run, result, inherit=True)


async def running(b: Bench) -> list[UUID]:
    rows = await b.pool.fetch("select claim_token from background_tasks where status = 'running' order by created_at")
    return [row["claim_token"] for row in rows]


async def test_the_next_step_is_begun_with_the_end_of_the_last(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        claimed, result = await begun(b)
        heir = await finish(b, claimed, result)
        assert heir is not None
        assert heir.run is not None
        view = await b.service.get(claimed.task.process_id)
        assert (view.executing_step, view.current_step, view.progress_percentage) == (
            heir.run.step,
            heir.run.step,
            heir.run.progress,
        )
        assert heir.run.context == view.context
        assert await running(b) == [heir.task.claim_token]
        row = await b.pool.fetchrow("select * from background_tasks where id = $1", heir.task.id)
        assert (row["worker_id"], row["worker_hostname"]) == ("w", "host")
        assert row["started_at"] is not None
        assert row["heartbeat_at"] is not None
        types = check_log(await b.events(view.process_id))
        assert types[-4:] == ["step_completed", "step_changed", "progress_updated", "step_started"]
        with pytest.raises(StaleClaim):
            await finish(b, claimed, result)


@pytest.mark.parametrize(
    ("priority", "delay", "inherited"), [(10, "0", False), (7, "0", False), (6, "0", True), (10, "1 hour", True)]
)
async def test_whoever_would_be_claimed_first_goes_first(
    emptied_db: str, priority: int, delay: str, inherited: bool
) -> None:
    async with bench(emptied_db) as b:
        claimed, result = await begun(b)
        other = await b.start()
        await b.pool.execute(
            "update background_tasks set priority = $2, scheduled_for = clock_timestamp() + $3::text::interval"
            " where process_id = $1",
            other,
            priority,
            delay,
        )
        heir = await finish(b, claimed, result)
        assert (heir is not None) == inherited
        following = await recorder(b).begin()
        if inherited:
            due_now = delay == "0"
            assert (following is not None) == due_now, "and only then what has less priority"
        else:
            assert following is not None
            assert following.task.process_id == other


@pytest.mark.parametrize("lands", [True, False])
async def test_a_lost_reply_loses_no_inherited_task(
    emptied_db: str, monkeypatch: pytest.MonkeyPatch, lands: bool
) -> None:
    attempts = 0

    async def flaky(pool: Any, statement: Any) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts > 1 or lands:
            done = await write(pool, statement)
        if attempts == 1:
            raise CommitUnknown("lost")
        return done

    async with bench(emptied_db) as b:
        claimed, result = await begun(b)
        monkeypatch.setattr("reference_server.workers.record.write", flaky)
        heir = await finish(b, claimed, result)
        assert heir is not None
        assert await running(b) == [heir.task.claim_token]
        assert attempts == (1 if lands else 2)
        types = [e.event_type for e in await b.events(claimed.task.process_id)]
        assert types.count("step_completed") == 1


async def test_giving_back_a_task_gives_back_what_was_inherited_from_it(emptied_db: str) -> None:
    """The worker was stopped between the commit of `finish` and its reply."""
    async with bench(emptied_db) as b:
        claimed, result = await begun(b)
        heir = await finish(b, claimed, result)
        assert heir is not None
        assert await recorder(b).release(claimed.task)
        row = await b.pool.fetchrow("select * from background_tasks where id = $1", heir.task.id)
        assert (row["status"], row["worker_id"], row["retry_count"]) == ("pending", None, 0)
        assert not await recorder(b).release(claimed.task)
        assert (await b.service.get(claimed.task.process_id)).executing_step is None


async def test_a_worker_carries_a_process_from_start_to_end_with_one_claim(migrated_db: str) -> None:
    async with bench(migrated_db) as b:
        await b.pool.execute("""
            create table claims ();
            create function count_claim() returns trigger language plpgsql as
              'begin insert into public.claims default values; return null; end';
            create trigger count_claim after update on background_tasks for each row
              when (old.status = 'pending' and new.status = 'running') execute function count_claim()""")
        counts = Counts()
        b.worker(observer=counts, concurrency=1)
        process_id = await b.start(auto_mode=True)
        view = await b.to_the_end(process_id)
        assert view.status is Status.COMPLETED
        check_log(await b.events(process_id))
        assert await b.pool.fetchval("select count(*) from claims") == 1
        assert counts.claimed == 9


async def test_a_draining_worker_inherits_nothing(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        worker = b.worker(DeterministicWriter(7, step_latency_s=0.3))
        process_id = await b.start(auto_mode=True)
        await b.until(process_id, lambda view: view.executing_step == "keyword_analyzing")
        await worker.drain(20)
        statuses = await b.pool.fetch("select status from background_tasks order by created_at")
        assert [row["status"] for row in statuses] == ["completed", "pending"]
        assert (await b.service.get(process_id)).executing_step is None
