"""Decisions beside a session that has not committed: each race is provoked, not left to luck."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import uuid4

import asyncpg

from toolkit.postgres.connection import Connection
from toolkit.probes.probe import QUERY_DEADLINE_S, make_process, sessions
from toolkit.sql import probes as sql


@dataclass(frozen=True)
class _Race:
    """`second` begins while the transaction of `first` is open. `waits`: it must wait for it and decide on what was
    committed; else it must pass over what is held. `expected`: its value, or the SQLSTATE of its error."""

    said: str
    before: tuple[tuple[str, tuple[object, ...]], ...]
    first: tuple[str, tuple[object, ...]]
    second: tuple[str, tuple[object, ...]]
    waits: bool
    expected: object
    after: tuple[str, tuple[object, ...], object] | None = None


async def decisions_beside_others(dsn: str, user: str) -> list[str]:
    """Each race is provoked: the second session is seen to wait before the first one commits."""
    found: list[str] = []
    async with sessions(dsn, 3) as (holder, other, watcher):
        for race in await _races(watcher, user):
            for statement, arguments in race.before:
                await watcher.execute(statement, *arguments, timeout=QUERY_DEADLINE_S)
            holding = holder.transaction()
            await holding.start()
            deciding: asyncio.Task[object] | None = None
            try:
                await holder.execute(race.first[0], *race.first[1], timeout=QUERY_DEADLINE_S)
                deciding = asyncio.create_task(_value(other, *race.second))
                waited = await _waits(watcher, other.get_server_pid(), holder.get_server_pid(), deciding)
            finally:
                await holding.commit()
                value = await deciding if deciding is not None else None
            if waited and not race.waits:
                found.append(f"{race.said}: it waited for the other session instead of passing over what that held")
            elif value != race.expected:
                found.append(f"{race.said}: {value}, expected {race.expected}")
            elif race.after is not None:
                statement, arguments, expected = race.after
                if (left := await _value(watcher, statement, arguments)) != expected:
                    found.append(f"{race.said}: afterwards {left}, expected {expected}")
    return found


async def _races(conn: Connection, user: str) -> list[_Race]:
    asked, answered, working, failing, parent_of = [await make_process(conn, user) for _ in range(5)]
    for process in (working, failing, parent_of):
        await conn.execute(sql.PAUSE, process, timeout=QUERY_DEADLINE_S)  # so that no live worker takes the tasks
    tasks = {
        process: await conn.fetchval(sql.ENQUEUE, process, user, timeout=QUERY_DEADLINE_S)
        for process in (working, failing, parent_of)
    }
    tokens = {process: uuid4() for process in tasks}
    await conn.execute(sql.OPEN_PROMPT, answered, timeout=QUERY_DEADLINE_S)
    resumed = (sql.RESUME, (working,))
    holds = {process: (sql.HOLD, (task, tokens[process])) for process, task in tasks.items()}
    old = (sql.OLD_HEARTBEAT, (tasks[failing],))
    return [
        _Race(
            "a prompt is opened while the process is being cancelled",
            (),
            (sql.CANCEL, (asked,)),
            (sql.OPEN_PROMPT, (asked,)),
            waits=True,
            expected="55000",
        ),
        _Race(
            "a prompt is answered while another answer is being recorded",
            (),
            (sql.ANSWER, (answered,)),
            (sql.ANSWER, (answered,)),
            waits=True,
            expected="55000",
        ),
        _Race(
            "a worker keeps a part of its step while the process is being cancelled",
            (resumed, holds[working]),
            (sql.CANCEL, (working,)),
            (sql.CHECKPOINT, (working, tasks[working], tokens[working])),
            waits=True,
            expected="the process is cancelled",
        ),
        _Race(
            "a worker reports a failure while its claim is being taken away",
            (holds[failing],),
            (sql.TAKE_AWAY, (tasks[failing],)),
            (sql.FAIL, (tasks[failing], tokens[failing])),
            waits=True,
            expected=None,
        ),
        _Race(
            "a task is enqueued while the one that it depends on is completing",
            (holds[parent_of],),
            (sql.COMPLETE, (tasks[parent_of], tokens[parent_of])),
            (sql.ENQUEUE_AFTER, (parent_of, user, tasks[parent_of])),
            waits=True,
            expected=parent_of,
            after=(sql.DEPENDENCIES_LEFT, (parent_of,), 0),
        ),
        _Race(
            "a heartbeat comes while the task is locked by whoever finishes it",
            (holds[failing],),
            (sql.LOCK_TASK, (tasks[failing],)),
            (sql.HEARTBEAT, (tokens[failing],)),
            waits=False,
            expected=1,
        ),
        _Race(
            "a rescue comes while the task is locked by whoever finishes it",
            (holds[failing], old),
            (sql.LOCK_TASK, (tasks[failing],)),
            (sql.RESCUE, (tasks[failing],)),
            waits=False,
            expected=0,
        ),
        _Race(
            "a rescue comes while the process is locked by whoever writes for it",
            (holds[failing], old),
            (sql.LOCK_PROCESS, (failing,)),
            (sql.RESCUE, (tasks[failing],)),
            waits=False,
            expected=0,
        ),
    ]


async def _value(conn: Connection, statement: str, arguments: tuple[object, ...]) -> object:
    """The statement's only value, or the SQLSTATE of its error."""
    try:
        return await conn.fetchval(statement, *arguments, timeout=QUERY_DEADLINE_S)
    except asyncpg.PostgresError as error:
        return error.sqlstate


async def _waits(watcher: Connection, waiting: int, holder: int, deciding: asyncio.Task[object]) -> bool:
    """True once the one session waits for the other; False when its statement has ended without."""
    while not deciding.done():
        if await watcher.fetchval(sql.WAITS, waiting, holder, timeout=QUERY_DEADLINE_S):
            return True
        await asyncio.sleep(0.005)
    return False
