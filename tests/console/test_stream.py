"""A whole generation through the package in Node, on the official client, with its socket cut on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from tests.console.conftest import node
from tests.support.server_process import running_server, token


async def test_every_event_once_and_in_order_and_what_the_guides_snippet_misses(package: Path, emptied_db: str) -> None:
    variables = {"WRITER_STEP_LATENCY_MS": "20"}
    async with running_server(emptied_db, env=variables) as server:
        told = await asyncio.to_thread(
            node, "tests/generate.ts", server.url, token(None, "anon"), token("user_a"), cwd=package
        )
    conn = await asyncpg.connect(emptied_db, timeout=10)
    try:
        stored = await conn.fetch(
            "select id::text, event_sequence from process_events where process_id = $1 order by event_sequence",
            told["process"],
        )
    finally:
        await conn.close(timeout=5)
    assert told["ids"] == [row["id"] for row in stored]
    assert told["sequences"] == [row["event_sequence"] for row in stored]
    assert told["status"] == "completed"
    assert told["articleId"]
    assert told["sections"] >= 1
    assert told["cuts"] == 2
    assert told["reconnects"] >= 1
    assert told["delivered"]["live"] >= 1
    # The guide's snippet subscribes after the start, and what was written until it is live never reaches it.
    missed = set(told["sequences"]) - set(told["snippet"])
    assert 1 in missed
