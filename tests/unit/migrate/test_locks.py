"""Trying again after lock conflicts: which errors, how long, and with how much jitter."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncpg
import pytest

from toolkit.migrate.run.locks import LockPolicy, is_lock_conflict, with_lock_retries

QUICK = LockPolicy(first_pause_s=0.0001, longest_pause_s=0.0004, deadline_s=30)


@dataclass
class Attempts:
    """Fails with the errors given, one an attempt, then succeeds."""

    errors: list[BaseException]
    numbers: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    async def __call__(self, number: int) -> None:
        self.numbers.append(number)
        if self.errors:
            raise self.errors.pop(0)

    async def on_retry(self, _: int, delay: float) -> None:
        self.delays.append(delay)


def busy() -> BaseException:
    return asyncpg.LockNotAvailableError("canceling statement due to lock timeout")


def deadlock() -> BaseException:
    return asyncpg.DeadlockDetectedError("deadlock detected")


async def test_a_lock_timeout_and_a_deadlock_are_tried_again() -> None:
    attempts = Attempts([busy(), deadlock(), busy()])
    assert await with_lock_retries(attempts, QUICK, attempts.on_retry) == 4
    assert attempts.numbers == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
        asyncpg.UniqueViolationError("duplicate key"),
        asyncpg.SerializationError("could not serialize access"),
        ConnectionResetError("reset"),
    ],
)
async def test_anything_else_is_not(error: BaseException) -> None:
    attempts = Attempts([error])
    assert not is_lock_conflict(error)
    with pytest.raises(type(error)):
        await with_lock_retries(attempts, QUICK, attempts.on_retry)
    assert (attempts.numbers, attempts.delays) == ([1], [])


async def test_pauses_double_to_their_limit_each_with_jitter_of_its_own() -> None:
    attempts = Attempts([busy() for _ in range(40)])
    await with_lock_retries(attempts, QUICK, attempts.on_retry)
    for number, delay in enumerate(attempts.delays):
        pause = min(QUICK.first_pause_s * 2**number, QUICK.longest_pause_s)
        assert pause / 2 <= delay <= pause
    assert len(set(attempts.delays[3:])) > 10  # no two waiters meet at every turn


async def test_the_deadline_ends_it_with_the_conflict_itself() -> None:
    attempts = Attempts([deadlock(), deadlock()])
    with pytest.raises(asyncpg.DeadlockDetectedError):
        await with_lock_retries(attempts, LockPolicy(deadline_s=0.0), attempts.on_retry)
    assert attempts.numbers == [1]
