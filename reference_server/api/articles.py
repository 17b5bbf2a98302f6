"""Routes of the finished articles."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request

from reference_server.api import schemas
from reference_server.api.access import Cursor, Limit, check_article
from reference_server.api.auth import CallerDep
from reference_server.api.documented import errors
from reference_server.api.server_context import server_of

router = APIRouter(prefix="/api/articles", tags=["articles"])


@router.get("", summary="The caller's articles, newest first", responses=errors())
async def list_articles(
    request: Request, caller: CallerDep, limit: Limit = 50, cursor: Cursor = None
) -> schemas.ArticlePage:
    page = await server_of(request).service.list_articles(caller.user_id or "", limit=limit, cursor=cursor)
    return schemas.ArticlePage.model_validate(page)


@router.get("/{article_id}", summary="A finished article", responses=errors(404))
async def get_article(
    request: Request, caller: CallerDep, article_id: Annotated[UUID, Path(description="The article's id.")]
) -> schemas.Article:
    article = await server_of(request).service.get_article(article_id, caller.user_id)
    check_article(caller, article)
    return schemas.Article.model_validate(article)
