"""The monitor's figures over rows whose figures are known."""

from __future__ import annotations

import pytest

from tests.integration.checks.conftest import Patient
from toolkit.checks.absent import Absent
from toolkit.monitor.figures import Application, Database, Growth, Queue, StepOutcome, StepTimes, TaskTimes
from toolkit.monitor.sample import take
from toolkit.targets.target import Target

BOTH = frozenset({"database", "application"})


async def sample(dsn: str, window_s: float = 3600) -> tuple[Database, Application]:
    found = await take(Target(kind="embedded", database_url=dsn), window_s=window_s, groups=BOTH, realtime=None)
    assert found.database is not None
    assert found.application is not None
    return found.database, found.application


async def test_the_guides_queries(patient: Patient) -> None:
    await patient.conn.execute(
        "update public.generated_articles_state set status = 'error', error_message = 'boom' where id = $1",
        patient.works,
    )
    database, _ = await sample(patient.dsn)
    assert database.active == {"user_input_required": 1, "error": 1, "completed": 1}
    assert isinstance(database.failed, tuple)
    assert [(row[0], row[2]) for row in database.failed] == [(str(patient.works), "boom")]
    assert isinstance(database.queue_health, tuple)
    assert [row[:3] for row in database.queue_health] == [("pending", "5", "1")]
    assert isinstance(database.recent_events, tuple)
    counts = {row[0]: row[1] for row in database.recent_events}
    assert counts["process_created"] == "3"
    assert isinstance(database.growth, Growth)
    assert database.growth.events == sum(map(int, counts.values()))
    assert isinstance(database.tables, tuple)
    assert [table.name for table in database.tables] == [
        "background_tasks",
        "generated_articles_state",
        "process_events",
    ]


async def test_what_is_due_and_what_only_waits(patient: Patient) -> None:
    await patient.conn.execute(
        "update public.background_tasks set created_at = now() - interval '90 s',"
        " scheduled_for = now() - interval '90 s'"
    )
    database, _ = await sample(patient.dsn)
    assert isinstance(database.queue, Queue)
    assert (database.queue.pending, database.queue.oldest_due_s) == (1, pytest.approx(90, abs=10))
    # A task of a paused process is not late.
    await patient.conn.execute(
        "update public.generated_articles_state set status = 'paused' where id = $1", patient.works
    )
    database, _ = await sample(patient.dsn)
    assert database.queue == Queue(1, 0, None)


async def test_times_and_rates_of_tasks_and_steps(patient: Patient) -> None:
    await patient.conn.execute(
        "delete from public.background_tasks; set session_replication_role = replica;"
        "insert into public.background_tasks (process_id, task_type, status, completed_at, execution_time)"
        f" select '{patient.done}', 't', 'completed', now(), make_interval(secs => n) from generate_series(1, 21) n;"
        "insert into public.background_tasks (process_id, task_type, status, completed_at)"
        f" values ('{patient.done}', 't', 'failed', now()),"
        f" ('{patient.done}', 't', 'failed', now() - interval '2 hours');"
        "set session_replication_role = origin;"
        "update public.generated_articles_state set step_durations = '{\"editing\": 3.5}' where id = "
        f"'{patient.done}'"
    )
    begun = [
        (patient.asks, "step_started"),
        (patient.asks, "generation_error"),
        (patient.done, "step_started"),
        (patient.done, "step_completed"),
        (patient.works, "step_started"),
    ]
    for process, kind in begun:
        await patient.conn.execute(
            'select public.create_process_event($1, $2, \'{"step_name": "editing"}\')', process, kind
        )
    await patient.conn.execute(
        "update public.generated_articles_state set executing_step = 'editing' where id = $1", patient.works
    )
    _, application = await sample(patient.dsn)
    assert application.tasks == (TaskTimes("t", 21, 1, 11.0, 20.0),)
    assert application.durations == (StepTimes("editing", 1, 3.5, 3.5),)
    assert application.steps == (StepOutcome("editing", 3, 1, 1, 1),)
    assert isinstance(application.steps, tuple)
    assert (application.steps[0].completion_rate, application.steps[0].error_rate) == (0.5, 0.5)
    # What is older than the window is no figure of it.
    await patient.conn.execute("set session_replication_role = replica")
    await patient.conn.execute("update public.background_tasks set completed_at = now() - interval '2 hours'")
    _, application = await sample(patient.dsn)
    assert application.tasks == ()


async def test_a_legacy_database_has_some_of_it(legacy_db: str) -> None:
    database, application = await sample(legacy_db)
    assert database.active == {}
    assert isinstance(database.slots, tuple)
    assert isinstance(database.queue, Absent)
    assert "toolkit migrate" in database.queue.remedy
    assert isinstance(application.tasks, Absent)
