"""The database refuses for a reason of its own: requests are answered in words, and no step has failed."""

from __future__ import annotations

import pytest

from reference_server.workers import loop, record
from tests.integration.api.conftest import api_server, client_of, code_of
from tests.support.generation import bench
from tests.support.logs import check_log
from toolkit.contract.statuses import Status

# A sequence keeps its position when the transaction is rolled back: only so many attempts are refused.
REFUSING = """
create sequence public.refused;
create function public.refuse() returns trigger language plpgsql as $$
begin
  if nextval('public.refused') <= {times} then raise exception 'not now' using errcode = '{code}'; end if;
  return new;
end $$;
create trigger refuse before {event} on public.{table} for each row {condition} execute function public.refuse();
"""


@pytest.mark.parametrize("code", ["53300", "57014"])
async def test_trouble_of_the_database_uses_up_no_retry(
    migrated_db: str, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(record, "REPEAT_DELAYS_S", (0.01,))
    monkeypatch.setattr(loop, "TROUBLE_PAUSE_S", 0.01)
    async with bench(migrated_db) as b:
        # Written twice in vain, given back, done again; then written twice in vain once more.
        refusing = {"event": "update", "table": "background_tasks", "condition": "when (new.status = 'completed')"}
        await b.pool.execute(REFUSING.format(times=4, code=code, **refusing))
        b.worker()
        process_id = await b.start(auto_mode=True)
        assert (await b.completed(process_id)).status is Status.COMPLETED
        types = check_log(await b.events(process_id))
        assert "task_retry_scheduled" not in types
        assert "task_rescued" not in types
        assert await b.pool.fetchval("select max(retry_count + rescue_count) from background_tasks") == 0


async def test_a_full_disk_is_said_in_words(migrated_db: str) -> None:
    async with api_server(migrated_db) as server, client_of(server) as client:
        refusing = {"event": "insert", "table": "generated_articles_state", "condition": ""}
        await server.pool.execute(REFUSING.format(times=1, code="53100", **refusing))
        start = {"initial_keywords": ["test"]}
        answer = await client.post("/api/articles/generation/start", json=start)
        assert (answer.status_code, code_of(answer)) == (503, "database_disk_full")
        assert answer.headers["retry-after"] == "60"
        again = await client.post("/api/articles/generation/start", json=start)
        assert again.status_code == 201
        # An event larger than one may be, as a long answer to a prompt makes one.
        await server.pool.execute(
            "create function public.lengthen() returns trigger language plpgsql as"
            " $$ begin new.event_data := jsonb_build_object('a', repeat('a', 300000)); return new; end $$;"
            "create trigger a_lengthen before insert on public.process_events"
            " for each row execute function public.lengthen()"
        )
        answer = await client.post(f"/api/articles/generation/{again.json()['process_id']}/test-event")
        assert (answer.status_code, code_of(answer)) == (413, "event_too_large")
