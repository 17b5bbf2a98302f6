"""A process in a real database, its Realtime endpoint behind a breakable network, and a reader of its log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import pytest

from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.standalone import create_app, create_service
from tests.support.golden import SECRET, serving
from toolkit.client.events import EventPage, event_from_row
from toolkit.client.recovery import RecoveryLimits
from toolkit.client.stream import ProcessEventStream
from toolkit.scenarios.faults.proxy import TcpProxy
from toolkit.tokens import mint, mint_api_key

OWNER = "user_stream"
# Everything ten times as quick as for people, so that tests need not wait.
QUICK = RecoveryLimits(
    silence_s=0.6,
    live_grace_s=0.2,
    connect_deadline_s=2,
    stable_s=1,
    connect_base_s=0.05,
    connect_cap_s=0.3,
    fetch_base_s=0.02,
    fetch_cap_s=0.2,
    stalled_s=3,
)


@dataclass
class Process:
    """One process of OWNER: write its events, read them as the HTTP API would."""

    id: str
    dsn: str
    writer: asyncpg.Connection

    async def write(self, kind: str = "step_started", **data: Any) -> int:
        """Append one event; its sequence."""
        event_id = await self.writer.fetchval(
            "select create_process_event($1, $2, $3)", self.id, kind, json.dumps(data), timeout=10
        )
        return await self.writer.fetchval(
            "select event_sequence from process_events where id = $1", event_id, timeout=10
        )

    async def last(self) -> int:
        return await self.writer.fetchval(
            "select coalesce(max(event_sequence), 0) from process_events where process_id = $1", self.id, timeout=10
        )

    async def page(self, process_id: str, since_sequence: int) -> EventPage:
        """What GET …/events answers, with a page size that makes paging happen."""
        conn = await asyncpg.connect(self.dsn, timeout=10)
        try:
            rows = await conn.fetch(
                "select id, process_id, event_type, event_data, event_sequence, event_category, event_source, "
                "created_at from process_events where process_id = $1 and event_sequence > $2 "
                "order by event_sequence limit 5",
                process_id,
                since_sequence,
                timeout=10,
            )
            last, oldest = await conn.fetchrow(
                "select coalesce(max(event_sequence), 0), coalesce(min(event_sequence), 0) from process_events "
                "where process_id = $1",
                process_id,
                timeout=10,
            )
        finally:
            await conn.close(timeout=5)
        found = [{**row, "event_data": json.loads(row["event_data"])} for row in rows]
        at = asyncio.get_running_loop().time()
        return EventPage(tuple(event_from_row(row, via="backfill", received_at=at) for row in found), last, oldest)


@pytest.fixture
async def process(migrated_db: str) -> AsyncIterator[Process]:
    writer = await asyncpg.connect(migrated_db, timeout=10)
    process_id = await writer.fetchval(
        "insert into generated_articles_state (user_id, article_context) values ($1, '{}') returning id", OWNER
    )
    yield Process(str(process_id), migrated_db, writer)
    await writer.close(timeout=5)


@pytest.fixture
async def realtime(migrated_db: str) -> AsyncIterator[str]:
    """Base URL of a Realtime endpoint on the test's database."""
    limits = replace(Limits(), refusal_delay_s=0, upgrade_refusal_delay_s=0)
    async with serving(create_app(create_service(migrated_db, SECRET, limits=limits))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def proxy(realtime: str) -> AsyncIterator[TcpProxy]:
    async with TcpProxy.before(realtime) as breakable:
        yield breakable


def stream_of(process: Process, url: str, **options: Any) -> ProcessEventStream:
    options = {"token": mint(SECRET, sub=OWNER), "fetch": process.page, "limits": QUICK, "join_timeout_s": 2} | options
    return ProcessEventStream(url, mint_api_key(SECRET, "anon"), process.id, **options)
