"""What writers and workers do beside each other: events numbered, tasks claimed."""

from __future__ import annotations

import asyncio
import json
import random
from uuid import UUID

import asyncpg

from toolkit.postgres.connection import Connection
from toolkit.probes.probe import QUERY_DEADLINE_S, Undecided, make_process, sessions
from toolkit.sql import probes as sql

WRITERS, WRITES_EACH = 8, 12
WORKERS, TASKS = 8, 24
_MOST_CLAIMS = 200  # a worker that finds nothing so often while tasks wait will never find any


async def concurrent_sequences(dsn: str, user: str) -> list[str]:
    """Half of the writers call the function, half update the state row; some take their work back."""
    async with sessions(dsn, WRITERS + 1) as (reader, *writers):
        process = await make_process(reader, user)
        committed: list[int] = []
        errors: list[str] = []
        finished = asyncio.Event()

        async def write(number: int, conn: Connection) -> None:
            for turn in range(WRITES_EACH):
                keep = (number + turn) % 4 != 0
                transaction = conn.transaction()
                await transaction.start()
                try:
                    if number % 2:
                        payload = json.dumps({"writer": number, "turn": turn})
                        await conn.execute(sql.APPEND, process, "toolkit_probe", payload, timeout=QUERY_DEADLINE_S)
                    else:
                        await conn.execute(sql.UPDATE_PROGRESS, process, timeout=QUERY_DEADLINE_S)
                    await conn.execute(sql.LINGER, random.uniform(0, 0.003), timeout=QUERY_DEADLINE_S)  # noqa: S311
                except asyncpg.PostgresError as error:
                    await transaction.rollback()
                    errors.append(f"writer {number}, turn {turn}: {error} [{error.sqlstate}]")
                    continue
                if not keep:
                    await transaction.rollback()
                    continue
                await transaction.commit()
                committed.append(number)

        async def read() -> list[str]:
            """Sequence order is commit order exactly if whatever is visible is always 1..n without a hole."""
            holes: list[str] = []
            while not finished.is_set() and not holes:
                row = await reader.fetchrow(sql.VISIBLE_SEQUENCES, process, timeout=QUERY_DEADLINE_S)
                assert row is not None
                if row["highest"] != row["events"]:
                    holes.append(
                        f"a reader saw sequence {row['highest']} while only {row['events']} events were visible: "
                        "a client that read up to it would miss the rest"
                    )
            return holes

        watching = asyncio.create_task(read())
        try:
            await asyncio.gather(*(write(number, conn) for number, conn in enumerate(writers)))
        finally:
            finished.set()
            holes = await watching
        numbers = [
            row["event_sequence"] for row in await reader.fetch(sql.SEQUENCES, process, timeout=QUERY_DEADLINE_S)
        ]
    found = errors[:5] + holes
    expected = list(range(1, len(committed) + 2))  # the creation of the process is event 1
    if not found and numbers != expected:
        found.append(f"{len(committed)} writes and the creation committed, the sequences are {_ranges(numbers)}")
    return found


def _ranges(numbers: list[int]) -> str:
    return f"{numbers}" if len(numbers) <= 30 else f"{numbers[:30]}… ({len(numbers)})"


async def _claim_beside_another(dsn: str, user: str) -> list[str]:
    """One claims while another's claim has not committed: provoked, not left to luck. Both are taken back."""
    async with sessions(dsn, 2) as (first, second):
        for _ in range(2):
            await first.fetchval(sql.ENQUEUE, await make_process(first, user), user, timeout=QUERY_DEADLINE_S)
        mine, yours = first.transaction(), second.transaction()
        await mine.start()
        await yours.start()
        try:
            held = await first.fetchrow(sql.CLAIM, f"{user}-1", user, timeout=QUERY_DEADLINE_S)
            if held is None or held["id"] is None or held["worker_id"] != f"{user}-1":
                taker = "nobody" if held is None else held["worker_id"]
                raise Undecided(f"the claim of a probe task went to {taker}: stop the live system's workers and repeat")
            await second.execute(sql.SHORT_LOCK_TIMEOUT, timeout=QUERY_DEADLINE_S)
            got = await second.fetchrow(sql.CLAIM, f"{user}-2", user, timeout=QUERY_DEADLINE_S)
        except asyncpg.LockNotAvailableError:
            return ["a claim waited for another worker's claim instead of passing over what it holds"]
        finally:
            await yours.rollback()
            await mine.rollback()
            await first.execute(sql.FORGET_TASKS, user, timeout=QUERY_DEADLINE_S)
    if got is None or got["id"] is None:
        raise Undecided("a second task could not be claimed: stop the workers of the live system and repeat")
    return [f"two workers claimed task {got['id']} at the same time"] if got["id"] == held["id"] else []


async def concurrent_claims(dsn: str, user: str) -> list[str]:
    if found := await _claim_beside_another(dsn, user):
        return found
    async with sessions(dsn, WORKERS) as workers:
        # Two tasks a process: a claim may hold its process, so that of two siblings one waits for the other's commit.
        async with workers[0].transaction():
            for _ in range(TASKS // 2):
                process = await make_process(workers[0], user)
                for _ in range(2):
                    await workers[0].fetchval(sql.ENQUEUE, process, user, timeout=QUERY_DEADLINE_S)
        claimed: dict[UUID, list[str]] = {}
        refused: list[str] = []

        async def work(number: int, conn: Connection) -> None:
            for _ in range(_MOST_CLAIMS):
                async with conn.transaction():
                    task = await conn.fetchrow(sql.CLAIM, f"{user}-{number}", user, timeout=QUERY_DEADLINE_S)
                    await conn.execute(sql.LINGER, random.uniform(0, 0.003), timeout=QUERY_DEADLINE_S)  # noqa: S311
                if task is None or task["id"] is None:
                    if not await conn.fetchval(sql.PENDING, user, timeout=QUERY_DEADLINE_S):
                        return
                    continue
                claimed.setdefault(task["id"], []).append(f"worker {number}")
                if (
                    not await conn.fetchval(sql.COMPLETE, task["id"], task["claim_token"], timeout=QUERY_DEADLINE_S)
                    and len(claimed[task["id"]]) == 1
                ):
                    refused.append(f"worker {number} could not complete task {task['id']} with its own claim token")

        await asyncio.gather(*(work(number, conn) for number, conn in enumerate(workers)))
        rows = await workers[0].fetch(sql.TASKS, user, timeout=QUERY_DEADLINE_S)
    strangers = sorted({row["worker_id"] for row in rows if row["worker_id"] and not row["worker_id"].startswith(user)})
    if strangers:
        raise Undecided(f"workers of the live system took probe tasks: {', '.join(strangers)}; stop them and repeat")
    twice = [f"task {task} was given to {' and '.join(who)}" for task, who in claimed.items() if len(who) > 1]
    open_ = [f"task {row['id']} is {row['status']}" for row in rows if row["status"] != "completed"]
    never = [f"only {len(claimed)} of {TASKS} tasks were ever claimed"] if len(claimed) < TASKS else []
    return (twice or refused)[:5] + never + ([] if never else open_[:5])
