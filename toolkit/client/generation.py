"""A client of the article generation API, with the verbs of the migration guide."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from toolkit.client.auth import TokenProvider, TokenSource
from toolkit.client.events import EventPage, ProcessEvent, event_from_row
from toolkit.client.http import Http, RetryPolicy
from toolkit.client.results import (
    ActionResult,
    Article,
    Json,
    ProcessList,
    ProcessState,
    RealtimeInfo,
    StartResult,
    TestEvent,
)
from toolkit.client.supabase_session import SessionTokens, checked
from toolkit.contract.prompts import ResponseType

if TYPE_CHECKING:
    from supabase import AsyncClient

T = TypeVar("T")

_GENERATION = "/api/articles/generation"
MAX_PAGE = 500


class GenerationClient:
    """One user's access to the API; `async with GenerationClient(url, token) as client`.

    Reads are repeated when the server does not answer; starts and answers too, under an idempotency key, so that they
    never take effect twice. Every method raises ApiError (the server refused) or NotReached (no answer came).
    """

    def __init__(
        self,
        api_url: str,
        token: str | TokenProvider | TokenSource,
        *,
        http: httpx.AsyncClient | None = None,
        retry: RetryPolicy | None = None,
        deadline_s: float = 30.0,
    ) -> None:
        self._http = Http(api_url, token, http=http, retry=retry, deadline_s=deadline_s)

    @classmethod
    def from_supabase(cls, client: AsyncClient, api_url: str, **options: Any) -> GenerationClient:
        """As the user who is signed in on a Supabase client (`supabase.AsyncClient`), whose session is followed.

        `options` are those of the constructor. Raises UsageError for a synchronous client.
        """
        return cls(api_url, SessionTokens(checked(client)), **options)

    @property
    def api_url(self) -> str:
        """The base URL."""
        return self._http.base_url

    @property
    def tokens(self) -> TokenSource:
        """The user's token, to share with a stream."""
        return self._http.tokens

    async def __aenter__(self) -> GenerationClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # -- start and steer ----------------------------------------------------------------------

    async def start_article_generation(
        self, *, idempotency_key: str | None = None, organization_id: str | None = None, **body: Any
    ) -> StartResult:
        """Start a process. `body` holds the start model's fields, `initial_keywords` at least."""
        return await self._http.call(
            "POST",
            f"{_GENERATION}/start",
            lambda r: StartResult.read(r.json()),
            repeatable=True,
            params={"organization_id": organization_id},
            body=body,
            headers={"Idempotency-Key": idempotency_key or str(uuid.uuid4())},
        )

    async def submit_user_input(
        self,
        process_id: str,
        response_type: str,
        payload: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> ActionResult:
        """Answer the open prompt."""
        return await self._http.call(
            "POST",
            f"{_GENERATION}/{process_id}/user-input",
            lambda r: ActionResult.read(r.json()),
            repeatable=True,
            body={"response_type": str(response_type), "payload": dict(payload or {})},
            headers={"Idempotency-Key": idempotency_key or str(uuid.uuid4())},
        )

    async def select_persona(self, process_id: str, persona_id: int) -> ActionResult:
        """Choose a persona by its position, from 0."""
        return await self.submit_user_input(process_id, ResponseType.SELECT_PERSONA, {"selected_id": persona_id})

    async def select_theme(self, process_id: str, index: int) -> ActionResult:
        """Choose a theme by its position, from 0."""
        return await self.submit_user_input(process_id, ResponseType.SELECT_THEME, {"selected_index": index})

    async def approve_plan(self, process_id: str, approved: bool = True) -> ActionResult:
        """Approve the research plan, or have another made."""
        return await self.submit_user_input(process_id, ResponseType.APPROVE_PLAN, {"approved": approved})

    async def approve_outline(self, process_id: str, approved: bool = True) -> ActionResult:
        """Approve the outline, or have another made."""
        return await self.submit_user_input(process_id, ResponseType.APPROVE_OUTLINE, {"approved": approved})

    async def regenerate(self, process_id: str) -> ActionResult:
        """Have the proposals of the open prompt made anew."""
        return await self.submit_user_input(process_id, ResponseType.REGENERATE)

    async def edit_and_proceed(self, process_id: str, content: Mapping[str, Any]) -> ActionResult:
        """Answer the open prompt with content of one's own."""
        payload = {"edited_content": dict(content)}
        return await self.submit_user_input(process_id, ResponseType.EDIT_AND_PROCEED, payload)

    async def pause(self, process_id: str) -> ActionResult:
        """Pause the process; does nothing when it is paused."""
        return await self._act("POST", f"{process_id}/pause", repeatable=True)

    async def resume(self, process_id: str) -> ActionResult:
        """Resume a paused or failed process."""
        return await self._act("POST", f"{process_id}/resume", repeatable=False)

    async def cancel(self, process_id: str) -> ActionResult:
        """Cancel the process; does nothing when it is cancelled."""
        return await self._act("DELETE", process_id, repeatable=True)

    # -- read ---------------------------------------------------------------------------------

    async def get_state(self, process_id: str) -> ProcessState:
        """The process as its row stands now."""
        return await self._get(f"{_GENERATION}/{process_id}", ProcessState.read)

    async def list_processes(
        self, *, status: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> ProcessList:
        """One page of the user's processes, newest first."""
        return await self._get(_GENERATION, ProcessList.read, status=status, limit=limit, cursor=cursor)

    async def realtime_info(self, process_id: str) -> RealtimeInfo:
        """How to subscribe to a running process."""
        return await self._get(f"{_GENERATION}/{process_id}/realtime-info", RealtimeInfo.read)

    async def get_article(self, article_id: str) -> Article:
        """A saved article."""
        return await self._get(f"/api/articles/{article_id}", Article.read)

    async def background_tasks_status(self) -> Json:
        """The state of queue, workers and leases, as the server reports it."""
        return await self._get("/api/internal/background-tasks/status", dict)

    # -- events -------------------------------------------------------------------------------

    async def events(
        self,
        process_id: str,
        since_sequence: int = 0,
        limit: int = 200,
        event_types: Sequence[str] | None = None,
    ) -> EventPage:
        """One page of events after `since_sequence`, ascending."""
        return await self._http.call(
            "GET",
            f"{_GENERATION}/{process_id}/events",
            _page,
            repeatable=True,
            params={
                "since_sequence": since_sequence,
                "limit": limit,
                "event_types": ",".join(event_types) if event_types else None,
            },
        )

    async def events_since(self, process_id: str, sequence: int = 0) -> tuple[ProcessEvent, ...]:
        """Every stored event after `sequence`, page by page until there is none."""
        found: list[ProcessEvent] = []
        while page := (await self.events(process_id, sequence, MAX_PAGE)).events:
            found.extend(page)
            sequence = page[-1].sequence
        return tuple(found)

    async def acknowledge(self, process_id: str, event_id: str) -> None:
        """Record that this user has seen the event."""
        await self._http.call(
            "POST",
            f"{_GENERATION}/{process_id}/events/{event_id}/acknowledge",
            lambda r: bool(r.json()["acknowledged"]),
            repeatable=True,
        )

    async def test_event(self, process_id: str, message: str | None = None) -> TestEvent:
        """Have a test event written to the process' log."""
        return await self._http.call(
            "POST",
            f"{_GENERATION}/{process_id}/test-event",
            lambda r: TestEvent.read(r.json()),
            repeatable=False,
            body=None if message is None else {"message": message},
        )

    # -- plumbing -----------------------------------------------------------------------------

    async def _get(self, path: str, read: Callable[[Json], T], **params: Any) -> T:
        return await self._http.call("GET", path, lambda r: read(r.json()), repeatable=True, params=params)

    async def _act(self, method: str, path: str, *, repeatable: bool) -> ActionResult:
        return await self._http.call(
            method, f"{_GENERATION}/{path}", lambda r: ActionResult.read(r.json()), repeatable=repeatable
        )


def _page(response: httpx.Response) -> EventPage:
    at = time.monotonic()
    rows = response.json()
    if not isinstance(rows, list):
        raise TypeError(f"a list of events was expected, not {type(rows).__name__}")
    return EventPage(
        tuple(event_from_row(row, via="backfill", received_at=at) for row in rows),
        _sequence(response, "x-last-sequence"),
        _sequence(response, "x-oldest-sequence"),
    )


def _sequence(response: httpx.Response, header: str) -> int | None:
    value = response.headers.get(header)
    return None if value is None else int(value)
