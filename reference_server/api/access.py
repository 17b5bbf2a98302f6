"""Who may do what with a process: decided here for every route.

The service role may do everything. The owner of a process may do everything with it. Members of its organization
may read it. Everybody else gets the same answer as for a process that does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, Path, Query, Request

from reference_server.api.auth import Caller, CallerDep
from reference_server.api.http_errors import Conflict, Forbidden
from reference_server.api.server_context import server_of
from reference_server.generation.errors import NotFound
from reference_server.generation.views import ArticleView
from reference_server.store import reads
from reference_server.store.reads import ProcessAccess

ProcessId = Annotated[UUID, Path(description="The process id that start returned.")]


@dataclass(frozen=True, slots=True)
class Granted:
    """A process the caller may at least read."""

    process_id: UUID
    access: ProcessAccess
    caller: Caller


async def readable_process(process_id: ProcessId, request: Request, caller: CallerDep) -> Granted:
    """Dependency of the routes that read a process. Raises NotFound."""
    structlog.contextvars.bind_contextvars(process_id=str(process_id))
    access = await reads.process_access(server_of(request).pool, process_id, caller.user_id)
    if access is None or not _may_read(caller, access.user_id, member=access.member):
        raise NotFound("process", process_id)
    return Granted(process_id, access, caller)


async def owned_process(granted: Annotated[Granted, Depends(readable_process)]) -> Granted:
    """Dependency of the routes that change a process. Raises NotFound, Forbidden."""
    if not (granted.caller.is_service or granted.caller.user_id == granted.access.user_id):
        raise Forbidden("only its owner may change this process", code="owner_required")
    return granted


async def steerable_process(request: Request, granted: Annotated[Granted, Depends(owned_process)]) -> Granted:
    """Dependency of the commands that only processes of the Realtime transport accept. Raises Conflict as well."""
    server_of(request).require_migrated()
    if granted.access.transport != "realtime":
        raise other_transport(granted.process_id)
    return granted


def other_transport(process_id: UUID) -> Conflict:
    return Conflict(
        f"process {process_id} is driven by its legacy WebSocket",
        code="other_transport",
        remedy="Send the command over that socket, or let it end and POST …/resume, which moves the process over.",
        details={"transport": "websocket"},
    )


def check_article(caller: Caller, article: ArticleView) -> None:
    """Raises NotFound unless the caller may read the article."""
    if not _may_read(caller, article.user_id, member=article.is_member):
        raise NotFound("article", article.id)


def _may_read(caller: Caller, owner: str, *, member: bool) -> bool:
    return caller.is_service or caller.user_id == owner or member


Limit = Annotated[int, Query(ge=1, le=100, description="Rows of one page.")]
Cursor = Annotated[str | None, Query(max_length=200, description="next_cursor of the page before.")]
Readable = Annotated[Granted, Depends(readable_process)]
Owned = Annotated[Granted, Depends(owned_process)]
Steerable = Annotated[Granted, Depends(steerable_process)]
