"""Workers that wait are told of work."""

from __future__ import annotations

import asyncio

from toolkit.probes.probe import QUERY_DEADLINE_S, make_process, sessions
from toolkit.sql import probes as sql

_WAKE_DEADLINE_S = 5


async def waiting_workers_are_told(dsn: str, user: str) -> list[str]:
    """A worker that listens hears of a task that became ready, from the very session that made it so."""
    async with sessions(dsn, 2) as (listener, writer):
        heard: asyncio.Queue[int] = asyncio.Queue()
        told_by = writer.get_server_pid()
        await listener.add_listener(sql.CHANNEL, lambda _conn, pid, _channel, _payload: heard.put_nowait(pid))

        async def is_told() -> bool:
            try:
                async with asyncio.timeout(_WAKE_DEADLINE_S):
                    while await heard.get() != told_by:
                        pass
            except TimeoutError:
                return False
            return True

        process = await make_process(writer, user)
        await writer.execute(sql.PAUSE, process, timeout=QUERY_DEADLINE_S)  # so that no live worker takes the task
        task = await writer.fetchval(sql.ENQUEUE, process, user, timeout=QUERY_DEADLINE_S)
        if not await is_told():
            return [f"a new task woke nobody who listens on {sql.CHANNEL} within {_WAKE_DEADLINE_S} s"]
        await writer.execute(sql.RUN, task, timeout=QUERY_DEADLINE_S)
        await writer.execute(sql.PEND, task, timeout=QUERY_DEADLINE_S)
        if not await is_told():
            return [f"a task given back woke nobody who listens on {sql.CHANNEL} within {_WAKE_DEADLINE_S} s"]
    return []
