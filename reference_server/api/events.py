"""Routes of a process's event log and of its Realtime channel."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Request, Response

from reference_server.api import schemas
from reference_server.api.access import Owned, Readable
from reference_server.api.documented import errors
from reference_server.api.http_errors import Invalid
from reference_server.api.processes import subscription_info
from reference_server.api.server_context import server_of

router = APIRouter(prefix="/api/articles/generation/{process_id}", tags=["events"])

LARGEST_SEQUENCE = 2_147_483_647
# create_process_event accepts any text of this length, so an unknown name is not an error.
_EVENT_TYPE = re.compile(r"[^\x00-\x1f,]{1,100}")
_FILTER = "Event types, separated by commas; all when left out. A type that no event has selects nothing."
_HEADERS = {
    "X-Last-Sequence": {
        "description": "The highest sequence ever allocated for the process.",
        "schema": {"type": "integer"},
    },
    "X-Oldest-Sequence": {
        "description": "The lowest sequence still stored, 0 when there is none.",
        "schema": {"type": "integer"},
    },
}


@router.get(
    "/events",
    summary="Events after a sequence, ascending",
    responses={**errors(404), 200: {"headers": _HEADERS, "description": "A page; empty at the end."}},
)
async def list_events(
    *,
    request: Request,
    response: Response,
    granted: Readable,
    since_sequence: Annotated[int, Query(ge=0, le=LARGEST_SEQUENCE)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    event_types: Annotated[str | None, Query(max_length=2000, description=_FILTER)] = None,
) -> list[schemas.Event]:
    server = server_of(request)
    server.require_migrated()
    page = await server.service.events(
        granted.process_id, since_sequence=since_sequence, limit=limit, event_types=_event_types(event_types)
    )
    response.headers["X-Last-Sequence"] = str(page.last_sequence)
    response.headers["X-Oldest-Sequence"] = str(page.oldest_sequence)
    return [schemas.Event.model_validate(event) for event in page.events]


@router.post("/events/{event_id}/acknowledge", summary="Mark an event as seen", responses=errors(403, 404))
async def acknowledge(
    request: Request, granted: Owned, event_id: Annotated[UUID, Path(description="The event's id.")]
) -> schemas.Acknowledged:
    server = server_of(request)
    server.require_migrated()
    await server.service.acknowledge(granted.process_id, event_id, granted.caller.user_id or granted.caller.role)
    return schemas.Acknowledged(event_id=event_id)


@router.post(
    "/test-event", status_code=201, summary="Append a test event, to see it arrive", responses=errors(403, 404)
)
async def append_test_event(
    request: Request, granted: Owned, body: Annotated[schemas.TestEventBody | None, Body()] = None
) -> schemas.TestEventCreated:
    server = server_of(request)
    server.require_migrated()
    event = await server.service.test_event(granted.process_id, (body or schemas.TestEventBody()).message)
    return schemas.TestEventCreated(event_id=event.id, event_sequence=event.event_sequence)


@router.get("/realtime-info", summary="How to subscribe to a process", responses=errors(404))
async def realtime_info(request: Request, granted: Readable) -> schemas.RealtimeInfo:
    server = server_of(request)
    server.require_migrated()
    view = await server.service.get(granted.process_id)
    return schemas.RealtimeInfo(
        process_id=granted.process_id,
        realtime_channel=view.realtime_channel,
        subscription_info=subscription_info(granted.process_id),
        current_status=view.status,
        last_event_sequence=view.last_event_sequence,
        last_updated=view.updated_at,
    )


def _event_types(text: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    for name in names:
        if not _EVENT_TYPE.fullmatch(name):
            message = "must be a comma list of event types, each of at most 100 characters and no control characters"
            raise Invalid(
                f"query.event_types: {message}",
                details=[{"field": "query.event_types", "message": message, "type": "event_type"}],
            )
    return names
