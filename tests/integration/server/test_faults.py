"""Workers that die, connections that break, writes that come too late: nothing is half done, nothing is done twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.generation.errors import StaleClaim
from reference_server.generation.steps import Checkpoint, StepResult
from reference_server.generation.writer import Assignment
from reference_server.store.pool import CommitUnknown, write
from reference_server.workers.heartbeat import Heartbeat
from reference_server.workers.loop import ServiceSettings, Worker
from reference_server.workers.observer import Counts
from reference_server.workers.outcome import Failure
from reference_server.workers.record import Begun, Recorder
from reference_server.workers.rescue import rescue
from tests.support.generation import FAST, Bench, bench, eventually
from tests.support.logs import check_log
from toolkit.contract.prompts import InputType
from toolkit.contract.statuses import Status
from toolkit.contract.steps import Step

WRITER = DeterministicWriter(7)
UNFENCED = """
create or replace function refuse_task_write(p_process_id uuid, p_task_id uuid, p_claim_token uuid) returns text
language sql as 'select null::text';
create or replace function complete_background_task(p_task_id uuid, p_claim_token uuid) returns boolean
language sql as $$update public.background_tasks set status = 'completed' where id = p_task_id returning true$$
"""
# A sequence, because it also counts what is rolled back.
CRASH_ON_COMPLETION = """
create sequence crashes;
create function crash() returns trigger language plpgsql as $$
begin
  perform nextval('public.crashes');
  perform pg_terminate_backend(pg_backend_pid());
  perform pg_sleep(1);
  return null;
end $$;
create constraint trigger crash after update on background_tasks deferrable initially deferred
  for each row when (new.status = 'completed') execute function crash()
"""


def recorder(b: Bench, name: str = "test") -> Recorder:
    return Recorder(b.pool, name, "host", b.settings)


async def begun(b: Bench, name: str = "test") -> Begun:
    """A task claimed by a worker that is only this test."""
    claimed = await recorder(b, name).begin()
    assert claimed is not None
    assert claimed.run is not None
    return claimed


async def silence(b: Bench, task_id: UUID) -> None:
    """As if the task's worker had stopped beating long ago."""
    await b.pool.execute(
        "update background_tasks set heartbeat_at = clock_timestamp() - interval '1 hour' where id = $1", task_id
    )


async def snapshot(b: Bench) -> list[Any]:
    """Everything the generation tables hold."""
    tables = ("generated_articles_state", "process_events", "process_event_counters", "background_tasks", "articles")
    return [await b.pool.fetch(f"select t::text from {table} t order by 1") for table in tables]


async def step_result(claimed: Begun) -> StepResult:
    assert claimed.run is not None
    analysis = await WRITER.analyze_keywords(_assignment(claimed))
    return StepResult(replace(claimed.run.context, keyword_analysis=analysis))


def _assignment(claimed: Begun) -> Assignment:
    assert claimed.run is not None
    return Assignment(claimed.run.context.request)


async def test_a_dead_workers_task_is_rescued_and_its_late_writes_change_nothing(migrated_db: str) -> None:
    async with bench(migrated_db) as b:
        await b.start()
        first = await begun(b, "w1")
        result = await step_result(first)
        await silence(b, first.task.id)
        assert await rescue(b.pool, FAST, Counts()) == 1
        second = await begun(b, "w2")
        assert second.task.id == first.task.id
        assert second.task.attempt == 1
        before = await snapshot(b)
        late = recorder(b, "w1")
        assert first.run is not None
        for late_write in (
            late.finish(first.task, first.run, result),
            late.checkpoint(first.task, Checkpoint(result.context, (), 99)),
            late.fail(first.task, Step.KEYWORD_ANALYZING, Failure("late", retryable=False)),
        ):
            with pytest.raises(StaleClaim, match="another holder"):
                await late_write
        assert not await late.release(first.task)
        assert await snapshot(b) == before
        assert second.run is not None
        await recorder(b, "w2").finish(second.task, second.run, result)


async def test_an_unfenced_completion_is_what_the_snapshot_would_show(migrated_db: str) -> None:
    """The test above is worth something only if it fails without the fence."""

    async with bench(migrated_db) as b:
        await b.start()
        first = await begun(b, "w1")
        await silence(b, first.task.id)
        await rescue(b.pool, FAST, Counts())
        await begun(b, "w2")
        before = await snapshot(b)
        await b.pool.execute(UNFENCED)
        assert first.run is not None
        await recorder(b, "w1").finish(first.task, first.run, await step_result(first))
        assert await snapshot(b) != before


async def test_sections_already_written_survive_their_worker(migrated_db: str) -> None:
    observed = Counts()
    async with bench(migrated_db) as b:
        first = b.worker(DeterministicWriter(7, step_latency_s=0.1, sections=6))
        process_id = await b.start()
        for prompt in InputType:
            await b.answer(process_id, prompt)
        await b.until(process_id, lambda view: view.context is not None and len(view.context.sections) >= 2)
        first._recorder.release = _lost  # type: ignore[method-assign]
        await b.kill(first)
        kept = (await b.service.get(process_id)).context
        assert kept is not None
        task = await b.pool.fetchval("select id from background_tasks where status = 'running'")
        await silence(b, task)
        b.worker(DeterministicWriter(7, sections=6), observer=observed)
        assert (await b.to_the_end(process_id)).status is Status.COMPLETED
        events = await b.events(process_id)
        types = check_log(events)
        assert types.count("task_rescued") == 1
        written = [e.event_data["section_index"] for e in events if e.event_type == "section_completed"]
        assert written == list(range(6)), "every section once, in order: none was written again"
        assert len(kept.sections) >= 2


async def _lost(_task: object) -> bool:
    return False


async def test_a_task_that_kills_its_workers_ends_its_process_in_error(migrated_db: str) -> None:
    settings = ServiceSettings(lease_seconds=3, max_rescues=2)
    async with bench(migrated_db, settings) as b:
        process_id = await b.start()
        for _ in range(3):
            claimed = await begun(b)
            await silence(b, claimed.task.id)
            assert await rescue(b.pool, settings, Counts()) == 1
        view = await b.service.get(process_id)
        assert (view.status, view.resume_from_step) == (Status.ERROR, "keyword_analyzing")
        assert "worker died" in (view.error_message or "")
        assert check_log(await b.events(process_id))[-1] == "generation_error"


async def test_a_crash_before_commit_leaves_nothing(migrated_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server end of the connection dies after the last write of `finish`, before its commit."""
    async with bench(migrated_db) as b:
        await b.start()
        claimed = await begun(b)
        result = await step_result(claimed)
        before = await snapshot(b)
        await b.pool.execute(CRASH_ON_COMPLETION)
        monkeypatch.setattr("reference_server.workers.record.REPEAT_DELAYS_S", (0.01, 0.01))
        assert claimed.run is not None
        with pytest.raises(ConnectionError):
            await recorder(b).finish(claimed.task, claimed.run, result)
        assert await b.pool.fetchval("select last_value from crashes") == 3, "tried, looked up, tried again"
        assert await snapshot(b) == before
        await b.pool.execute("drop trigger crash on background_tasks")
        await recorder(b).finish(claimed.task, claimed.run, result)
        assert await b.pool.fetchval("select count(*) from background_tasks") == 2


@pytest.mark.parametrize("lands", [True, False])
@pytest.mark.parametrize("what", ["finish", "checkpoint"])
async def test_a_lost_commit_reply_is_looked_up_not_repeated(
    migrated_db: str, monkeypatch: pytest.MonkeyPatch, lands: bool, what: str
) -> None:
    lost = 0

    async def flaky(pool: asyncpg.Pool, statement: Any) -> Any:
        nonlocal lost
        lost += 1
        if lost > 1:
            return await write(pool, statement)
        if lands:
            await write(pool, statement)
        raise CommitUnknown("lost")

    async with bench(migrated_db) as b:
        process_id = await b.start()
        claimed = await begun(b)
        result = await step_result(claimed)
        assert claimed.run is not None
        monkeypatch.setattr("reference_server.workers.record.write", flaky)
        if what == "finish":
            await recorder(b).finish(claimed.task, claimed.run, result)
        else:
            await recorder(b).checkpoint(claimed.task, Checkpoint(result.context, (), 6))
        view = await b.service.get(process_id)
        assert view.context is not None
        assert view.context.revision == 1
        types = [e.event_type for e in await b.events(process_id)]
        assert types.count("step_completed") == (what == "finish")
        assert types.count("progress_updated") == 2


async def test_a_connection_that_dies_during_commit(migrated_db: str) -> None:
    """For once without any stand-in: the backend is ended while it is busy with COMMIT."""
    async with bench(migrated_db) as b:
        process_id = await b.start()
        claimed = await begun(b)
        result = await step_result(claimed)
        await b.pool.execute("""
            create table slow_commit (yes boolean);
            insert into slow_commit values (true);
            create function dawdle() returns trigger language plpgsql as $$
            begin
              if exists (select from public.slow_commit) then perform pg_sleep(60); end if;
              return null;
            end $$;
            create constraint trigger dawdle after update on background_tasks deferrable initially deferred
              for each row when (new.status = 'completed') execute function dawdle()""")
        assert claimed.run is not None
        finishing = asyncio.create_task(recorder(b).finish(claimed.task, claimed.run, result))
        committing = "select pid from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"

        async def in_commit() -> bool:
            return await b.pool.fetchval(committing) is not None

        await eventually(in_commit, "the backend is busy with the commit")
        pid = await b.pool.fetchval(committing)
        await b.pool.execute("delete from slow_commit")
        await _terminate(b.dsn, pid)
        await finishing
        types = check_log(await b.events(process_id))
        assert types.count("step_completed") == 1
        assert await b.pool.fetchval("select count(*) from background_tasks") == 2


async def test_transient_failures_are_retried_and_told(migrated_db: str) -> None:
    async with bench(migrated_db) as b:
        counts = Counts()
        b.worker(DeterministicWriter(3, failure_rate=0.3), observer=counts)
        processes = [await b.start(auto_mode=True, company_name=str(i)) for i in range(4)]
        views = [await b.until(p, lambda view: view.status in (Status.COMPLETED, Status.ERROR)) for p in processes]
        assert {view.status for view in views} == {Status.COMPLETED}
        told = 0
        for process_id in processes:
            told += check_log(await b.events(process_id)).count("task_retry_scheduled")
        assert told == counts.ended["retried"] > 0


async def test_draining_finishes_what_it_can_and_gives_the_rest_back_without_a_retry(migrated_db: str) -> None:
    async with bench(migrated_db) as b:
        counts = Counts()
        worker = b.worker(DeterministicWriter(7, step_latency_s=30), observer=counts)
        process_id = await b.start()
        await b.until(process_id, lambda view: view.executing_step == "keyword_analyzing")
        await worker.drain(0.1)
        task = await b.pool.fetchrow("select * from background_tasks")
        assert (task["status"], task["retry_count"], task["rescue_count"], task["worker_id"]) == ("pending", 0, 0, None)
        assert counts.ended["released"] == 1
        b.worker()
        await b.until_waiting(process_id, InputType.SELECT_PERSONA)
        assert check_log(await b.events(process_id)).count("generation_started") == 1


async def test_a_worker_that_lost_its_claim_stops_working(migrated_db: str) -> None:
    async with bench(migrated_db) as b:
        counts = Counts()
        b.worker(DeterministicWriter(7, step_latency_s=30), observer=counts, sweep_seconds=60, concurrency=1)
        process_id = await b.start()
        await b.until(process_id, lambda view: view.executing_step == "keyword_analyzing")
        await b.service.cancel(process_id)

        async def stopped() -> bool:
            return counts.ended["discarded"] == 1

        await eventually(stopped, "the worker stops working on a cancelled process")


def test_a_heartbeat_that_does_not_fit_the_lease_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 10 s"):
        Heartbeat("", worker_id="w", interval_s=11, lease_s=30, running=lambda: (), lost=lambda _t, _r: None)


async def test_workers_survive_the_loss_of_every_connection(migrated_db: str) -> None:
    async with bench(migrated_db) as b:
        worker = b.worker(DeterministicWriter(7, step_latency_s=0.03))
        processes = [await b.start(auto_mode=True) for _ in range(3)]
        for _ in range(3):
            await b.until(processes[0], lambda view: view.executing_step is not None or view.status in {"completed"})
            await _terminate(b.dsn)
        for process_id in processes:
            await b.completed(process_id)
            check_log(await b.events(process_id))

        async def listening() -> bool:
            return worker.status.listening

        await eventually(listening, "the worker listens again")


async def test_statements_cached_before_a_migration_heal(migrated_db: str) -> None:
    async with bench(migrated_db) as b:
        process_id = await b.start()
        await b.service.get(process_id)
        claimed = await begun(b)
        await b.pool.execute("alter table background_tasks add column later text")
        await b.pool.execute("alter table generated_articles_state alter column resume_from_step type varchar")
        assert claimed.run is not None
        await recorder(b).finish(claimed.task, claimed.run, await step_result(claimed))
        second = await begun(b)
        assert second.run is not None
        assert second.run.step is Step.PERSONA_GENERATING
        assert (await b.service.get(process_id)).current_step == "persona_generating"


async def test_a_worker_waits_for_the_migration(legacy_db: str, migrated_db: str) -> None:
    async with bench(legacy_db) as b:
        counts = Counts()
        worker = b.worker(observer=counts)

        async def tried() -> bool:
            return counts.claim_failures >= 2

        await eventually(tried, "the worker looks for the queue again")
        assert worker.status.running == 0
    async with bench(migrated_db) as b:
        b.worker(listen=False, poll_seconds=0.05)
        await b.until_waiting(await b.start(), InputType.SELECT_PERSONA)


async def test_a_connection_that_delivers_no_notifications_is_found_out(
    migrated_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a transaction pooler: LISTEN is accepted, and nothing ever comes."""

    async def deaf(*_: object) -> None: ...

    monkeypatch.setattr("reference_server.workers.wake.TEST_DEADLINE_S", 0.05)
    monkeypatch.setattr(asyncpg.Connection, "add_listener", deaf)
    async with bench(migrated_db) as b:
        worker = b.worker(poll_seconds=0.1)
        process_id = await b.start()
        await b.until_waiting(process_id, InputType.SELECT_PERSONA)
        assert not worker.status.listening


async def test_a_retry_is_taken_up_when_it_is_due_not_at_the_next_poll(migrated_db: str) -> None:
    async with bench(migrated_db, ServiceSettings(retry_base_seconds=1)) as b:
        process_id = await b.start()
        claimed = await begun(b)
        await recorder(b).fail(claimed.task, Step.KEYWORD_ANALYZING, Failure("busy", retryable=True))
        b.worker(poll_seconds=60)
        await b.until_waiting(process_id, InputType.SELECT_PERSONA)
        events = {e.event_type: e for e in await b.events(process_id)}
        due = datetime.fromisoformat(events["task_retry_scheduled"].event_data["scheduled_for"])
        assert events["step_started"].created_at >= due


async def test_a_deleted_process_takes_its_work_along(migrated_db: str) -> None:
    async with bench(migrated_db) as b:
        process_id = await b.start()
        claimed = await begun(b)
        await b.pool.execute("delete from generated_articles_state where id = $1", process_id)
        assert claimed.run is not None
        with pytest.raises(StaleClaim, match="deleted"):
            await recorder(b).finish(claimed.task, claimed.run, await step_result(claimed))


async def test_prompts_remind_at_half_time_and_then_expire(migrated_db: str) -> None:
    async with bench(migrated_db) as b:
        b.worker()
        process_id = await b.start()
        await b.until_waiting(process_id, InputType.SELECT_PERSONA)
        await _ask_an_hour_earlier(b, process_id)
        shift = (
            "update generated_articles_state set user_input_timeout = clock_timestamp() + $2::interval where id = $1"
        )
        await b.pool.execute(shift, process_id, timedelta(minutes=30))
        sent = "select input_reminder_sent from generated_articles_state where id = $1"
        await eventually(lambda: b.pool.fetchval(sent, process_id), "the reminder")
        await b.pool.execute(shift, process_id, timedelta(0))
        view = await b.until(process_id, lambda view: view.status is Status.PAUSED)
        events = await b.events(process_id)
        types = check_log(events)
        assert types.count("user_input_reminder") == 1
        assert types[-1] == "generation_paused"
        assert events[-1].event_data["reason"] == "input_timeout"
        assert view.user_input_timeout is None
        assert (await b.service.resume(process_id)).status is Status.USER_INPUT_REQUIRED
        assert (await b.to_the_end(process_id)).status is Status.COMPLETED


async def _ask_an_hour_earlier(b: Bench, process_id: UUID) -> None:
    """As if the prompt had opened an hour ago: half of its time passes without anybody waiting for it."""
    async with b.pool.acquire() as connection, connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        await connection.execute(
            "update process_events set created_at = created_at - interval '1 hour' where process_id = $1", process_id
        )


async def _terminate(dsn: str, pid: int | None = None) -> None:
    """Ends one backend, or all of this database but the one asking."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute(
            """select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
                 and ($1::integer is null or pid = $1)""",
            pid,
        )
    finally:
        await connection.close(timeout=5)


def test_worker_identities_differ_between_boots() -> None:
    made = [Worker(None, "", WRITER) for _ in range(2)]  # type: ignore[arg-type]
    assert made[0].worker_id != made[1].worker_id
