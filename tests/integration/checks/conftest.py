"""A database with one process of each healthy kind, and the doctor's database checks over it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from toolkit.checks import ALL
from toolkit.checks.facts import Facts
from toolkit.monitor.database_facts import database_facts
from toolkit.report.record import Check, Verdict
from toolkit.targets.target import Target

_HEALTHY = """
with asks as (
  insert into public.generated_articles_state (user_id, current_step_name, article_context)
  values ('user_1', 'persona_generating', '{"initial_keywords": ["a"]}') returning id
), works as (
  insert into public.generated_articles_state (user_id, current_step_name, article_context)
  values ('user_1', 'researching', '{"initial_keywords": ["a"]}') returning id
), done as (
  insert into public.generated_articles_state (user_id, status, current_step_name, article_context)
  values ('user_1', 'completed', 'completed', '{"initial_keywords": ["a"]}') returning id
)
select (select id from asks) as asks, (select id from works) as works, (select id from done) as done
"""


class Patient:
    """A connection to break things with, and the ids of three healthy processes."""

    def __init__(self, dsn: str, conn: asyncpg.Connection, ids: asyncpg.Record) -> None:
        self.dsn = dsn
        self.conn = conn
        self.asks, self.works, self.done = ids["asks"], ids["works"], ids["done"]

    async def examine(self) -> dict[str, Check]:
        """Every check's result by id; what is not of the database is unknown."""
        return {check.id: check for check in await results(self.dsn)}

    async def failing(self) -> set[str]:
        """The checks that fail, each with a remedy. Nobody works here, so WRK-1 is left out."""
        found = [check for check in (await self.examine()).values() if check.verdict is Verdict.FAIL]
        assert all(check.remedy and check.detail for check in found)
        return {check.id for check in found} - {"WRK-1"}


async def results(dsn: str) -> list[Check]:
    found = await database_facts(Target(kind="embedded", database_url=dsn))
    facts = Facts(now=0, **{name: getattr(found, name) for name in found.__dataclass_fields__})
    return [check.run(facts) for check in ALL]


@pytest.fixture
async def patient(migrated_db: str) -> AsyncIterator[Patient]:
    conn = await asyncpg.connect(migrated_db, timeout=10)
    try:
        ids = await conn.fetchrow(_HEALTHY)
        assert ids is not None
        await conn.execute("select public.mark_process_waiting_for_input($1, 'select_persona')", ids["asks"])
        await conn.execute(
            "update public.generated_articles_state set current_step_name = 'persona_generated' where id = $1",
            ids["asks"],
        )
        await conn.execute("select public.enqueue_background_task($1, 'generation_continue')", ids["works"])
        await conn.execute(
            "insert into public.articles (user_id, title, generation_process_id) values ('user_1', 't', $1)",
            ids["done"],
        )
        yield Patient(migrated_db, conn, ids)
    finally:
        await conn.close(timeout=5)
