"""The legacy transport's writes: one short statement each, repeated while a migration is in its way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import structlog

from reference_server.store import articles
from reference_server.store.pool import CONNECTION_LOST, DATABASE_REFUSES, CommitUnknown, Connection, transact
from reference_server.store.queries import queries

log = structlog.get_logger(__name__)
T = TypeVar("T")

_SQL = queries("legacy")
# A migration's lock is held for moments; a write that met it, or a database in trouble, is done again. Every write sets
# absolute values and is guarded by the runner's mark, so that repeating it does no harm.
_IN_THE_WAY = (
    *CONNECTION_LOST,
    *DATABASE_REFUSES,
    CommitUnknown,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
PATIENCE_S = 60.0
_PAUSES_S = (0.05, 2.0)


class Superseded(Exception):
    """The row no longer carries this runner's mark: another server or a worker has taken it over."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A row as it was saved."""

    status: str
    current_step_name: str | None
    resume_from_step: str | None
    progress_percentage: int
    article_context: Any


@dataclass(frozen=True, slots=True)
class Write:
    """The new state of a row. `input_type` is set while a prompt is open; `finished` is the step just finished;
    `release` removes the runner's mark."""

    status: str
    step: str
    progress: int
    context: Mapping[str, Any] | None = None
    input_type: str | None = None
    error: str | None = None
    resume_from: str | None = None
    finished: str | None = None
    release: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    title: str
    html: str
    keywords: Sequence[str]
    target_audience: str | None
    placeholders: Sequence[articles.Placeholder]


async def insert(
    pool: asyncpg.Pool,
    *,
    user_id: str,
    organization_id: UUID | None,
    status: str,
    context: Mapping[str, Any],
    image_mode: bool,
    image_settings: Mapping[str, Any],
    style_template_id: UUID | None,
    runner: str,
) -> UUID:
    """Insert a row. Not repeated after a lost connection, since the row could then exist twice."""
    process_id = await pool.fetchval(
        _SQL["insert"], user_id, organization_id, status, context, image_mode, image_settings, style_template_id, runner
    )
    assert isinstance(process_id, UUID)
    return process_id


async def take_over(pool: asyncpg.Pool, process_id: UUID, runner: str) -> Saved | None:
    """Mark the row as this runner's and return it; None when it has ended or uses the other transport."""
    row = await _persist(lambda: pool.fetchrow(_SQL["take_over"], process_id, runner))
    return None if row is None else Saved(**dict(row))


async def alive(pool: asyncpg.Pool, process_id: UUID, runner: str) -> None:
    """Renew the runner's sign of life. Raises Superseded."""
    _held(await _persist(lambda: pool.fetchval(_SQL["alive"], process_id, runner)))


async def save(pool: asyncpg.Pool, process_id: UUID, runner: str, write: Write) -> None:
    """Raises Superseded."""
    values = (
        write.status,
        write.step,
        write.progress,
        write.input_type,
        write.context,
        write.error,
        write.resume_from,
        write.finished,
        write.release,
    )
    _held(await _persist(lambda: pool.fetchval(_SQL["save"], process_id, runner, *values)))


async def complete(
    pool: asyncpg.Pool, process_id: UUID, runner: str, context: Mapping[str, Any], finished: Finished
) -> UUID:
    """Save the article and end the process in one transaction; returns the article's id. Raises Superseded."""

    async def work(db: Connection) -> UUID:
        if await db.fetchval(_SQL["held"], process_id, runner) is None:
            # Either the row was taken over, or this is a repetition of a COMMIT whose reply was lost.
            done = await db.fetchval(_SQL["article_of"], process_id)
            _held(done)
            assert isinstance(done, UUID)
            return done
        article_id = await articles.save(
            db,
            process_id,
            title=finished.title,
            content=finished.html,
            keywords=finished.keywords,
            target_audience=finished.target_audience,
            placeholders=finished.placeholders,
        )
        content = {"title": finished.title, "final_html_content": finished.html, "article_id": str(article_id)}
        await db.execute(_SQL["complete"], process_id, runner, context, article_id, content)
        return article_id

    return await _persist(lambda: transact(pool, work))


async def adopt(pool: asyncpg.Pool, process_id: UUID, *, silent_s: float) -> bool:
    """Move a legacy process to the Realtime transport, paused; False while its server gives signs of life."""
    silence = timedelta(seconds=silent_s)
    return await pool.fetchval(_SQL["adopt"], process_id, silence) is not None


async def _persist(work: Callable[[], Awaitable[T]]) -> T:
    """`work`, repeated for PATIENCE_S while locks or lost connections are in its way."""
    pause, longest = _PAUSES_S
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await work()
                except _IN_THE_WAY as error:
                    log.info("a write is repeated", cause=type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)
    except TimeoutError:
        raise ConnectionError(f"the database did not take a write for {PATIENCE_S:g} s") from None


def _held(returned: object) -> None:
    if returned is None:
        raise Superseded
