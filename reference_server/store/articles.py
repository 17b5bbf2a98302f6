"""Finished articles and the pictures they wait for; also on the legacy schema."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from reference_server.store.pool import Connection
from reference_server.store.queries import queries

_SQL = queries("articles")
Placeholder = tuple[str, str, str, str | None]  # id, Japanese description, English prompt, alt text


class ForeignArticle(Exception):
    """Another user's article claims to be the one of this process."""

    def __init__(self, process_id: UUID) -> None:
        super().__init__(
            f"process {process_id} cannot be completed: an article of another user says that it was made by it. "
            "An operator has to take it out of public.articles, or its generation_process_id."
        )


async def save(
    db: Connection,
    process_id: UUID,
    *,
    title: str,
    content: str,
    keywords: Sequence[str],
    target_audience: str | None,
    placeholders: Sequence[Placeholder],
) -> UUID:
    """Saves the article of a process and its image placeholders; an article already there is returned as it is.

    Raises ForeignArticle when that one belongs to another user than the process.
    """
    row = await db.fetchrow(_SQL["save"], process_id, title, content, list(keywords), target_audience)
    if row is None:
        raise LookupError(f"process {process_id} does not exist")
    if not row["own"]:
        raise ForeignArticle(process_id)
    article_id: UUID = row["id"]
    if placeholders:
        ids, descriptions, prompts, alts = (list(column) for column in zip(*placeholders, strict=True))
        await db.execute(_SQL["save_placeholders"], article_id, process_id, ids, descriptions, prompts, alts)
    return article_id


async def view(db: Connection | asyncpg.Pool, article_id: UUID, viewer_id: str | None) -> asyncpg.Record | None:
    return await db.fetchrow(_SQL["view"], article_id, viewer_id)


async def placeholders_of(db: Connection | asyncpg.Pool, article_id: UUID) -> list[asyncpg.Record]:
    return await db.fetch(_SQL["placeholders"], article_id)


async def list_of_user(
    db: Connection | asyncpg.Pool, user_id: str, before: tuple[datetime, UUID] | None, limit: int
) -> list[asyncpg.Record]:
    created_at, last_id = before or (None, None)
    return await db.fetch(_SQL["list"], user_id, created_at, last_id, limit)
