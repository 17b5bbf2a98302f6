"""Realtime follows the schema: what it says before the migration, and that following survives any trouble."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reference_server.app import wire
from reference_server.lifecycle import schema_follower
from reference_server.realtime.protocol.refusals import NOT_MIGRATED
from reference_server.settings import Role, Settings
from reference_server.store.pool import open_pool
from reference_server.store.schema import Schema, read_schema
from tests.support.server_process import SECRET, apply_migrations
from tests.support.waiting import until


async def test_realtime_says_that_the_schema_is_not_migrated_until_it_is(
    legacy_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        database_url=legacy_db, supabase_jwt_secret=SECRET, generation_transport="websocket", schema_poll_seconds=0.02
    )
    pool = await open_pool(legacy_db, max_size=4, deadline_s=10)
    server = wire(settings, frozenset({Role.REALTIME}), pool, await read_schema(pool))
    realtime = server.schema_follower.realtime
    assert realtime is not None
    assert realtime.no_changes == NOT_MIGRATED
    troubled = asyncio.Event()

    async def trouble(*_: Any, **__: Any) -> Schema:
        troubled.set()
        raise RuntimeError("nobody foresaw this")

    try:
        await server.schema_follower.start()
        assert realtime.no_changes == NOT_MIGRATED
        with monkeypatch.context() as patch:
            patch.setattr(schema_follower, "read_schema", trouble)
            await asyncio.wait_for(troubled.wait(), 5)
        await apply_migrations(legacy_db)
        await until(lambda: realtime.no_changes is None, "the migration to be noticed")
        await until(lambda: realtime.facts().ready, "the stream to be live")
    finally:
        await server.schema_follower.stop_worker()
        await server.schema_follower.stop_realtime(5)
        await server.verifier.aclose()
        await pool.close()
