"""`ArticleGeneration`: one process as an application sees it; the guide's hook, for Python.

async with ArticleGeneration(api_url, supabase_url, anon_key, token) as article:
    await article.start_article_generation(initial_keywords=["a"])
    await article.wait_until(lambda s: s.input_type == "select_persona", 30)
    await article.select_persona(0)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from toolkit.client.auth import TokenProvider, TokenSource
from toolkit.client.connection import Frame, RealtimeEndpoint
from toolkit.client.effects import HistoryExpired, HistoryRestarted
from toolkit.client.errors import ApiError, ClientError, StreamFailed
from toolkit.client.events import ProcessEvent
from toolkit.client.generation import GenerationClient
from toolkit.client.http import RetryPolicy
from toolkit.client.recovery import RecoveryLimits
from toolkit.client.results import ActionResult, StartResult
from toolkit.client.state import GenerationState
from toolkit.client.stream import ProcessEventStream
from toolkit.client.supabase_session import SessionTokens, SharedEndpoint, checked
from toolkit.contract.prompts import InputType

if TYPE_CHECKING:
    from supabase import AsyncClient

Answer = Callable[["ArticleGeneration", GenerationState], Awaitable[object]]


class Addresses(Protocol):
    """Settings by their names; a `toolkit.targets.target.Target` is one."""

    def require(self, *names: str) -> object: ...

    def get(self, name: str, /) -> str: ...


class ArticleGeneration:
    """HTTP client, lossless stream and observable state of one process.

    Events are read in the background from the start (or `attach`) until the process ends or `aclose`. `on_event` is
    called for each, after the state was updated. When the log begins anew (counted in `restarts`), so do `events` and
    `state`.
    """

    def __init__(
        self,
        api_url: str,
        supabase_url: str,
        key: str,
        token: str | TokenProvider | TokenSource,
        *,
        http: httpx.AsyncClient | None = None,
        retry: RetryPolicy | None = None,
        limits: RecoveryLimits | None = None,
        on_event: Callable[[ProcessEvent, GenerationState], None] | None = None,
        tap: Callable[[Frame], None] | None = None,
        end_on_error: bool = False,
        endpoint: RealtimeEndpoint | None = None,
    ) -> None:
        self.client = GenerationClient(api_url, token, http=http, retry=retry)
        self._endpoint = endpoint
        self.stream: ProcessEventStream | None = None
        self.state = GenerationState()
        self.events: list[ProcessEvent] = []
        self.expired: list[HistoryExpired] = []
        self.restarts: list[HistoryRestarted] = []
        self._supabase_url = supabase_url
        self._key = key
        self._limits = limits
        self._on_event = on_event
        self._tap = tap
        self._end_on_error = end_on_error
        self._reader: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @classmethod
    def on(cls, target: Addresses, token: str | TokenProvider | TokenSource, **options: Any) -> ArticleGeneration:
        """For a process on `target`. Raises UsageError naming the settings that the target lacks."""
        target.require("API_URL", "SUPABASE_URL", "SUPABASE_ANON_KEY")
        return cls(target.get("API_URL"), target.get("SUPABASE_URL"), target.get("SUPABASE_ANON_KEY"), token, **options)

    @classmethod
    def from_supabase(cls, client: AsyncClient, api_url: str, **options: Any) -> ArticleGeneration:
        """As the user who is signed in on a Supabase client (`supabase.AsyncClient`), over its Realtime connection.

        Raises UsageError for a synchronous client.
        """
        tokens = SessionTokens(checked(client))
        url, key = str(client.supabase_url), client.supabase_key
        return cls(api_url, url, key, tokens, endpoint=SharedEndpoint(client), **options)

    async def __aenter__(self) -> ArticleGeneration:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening and close every connection; the process goes on."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, ClientError):
                await self._reader
        if self.stream is not None:
            await self.stream.aclose()
        await self.client.aclose()

    # -- observable state ---------------------------------------------------------------------

    @property
    def process_id(self) -> str:
        """The process id, once started or attached."""
        assert self.stream is not None, "start or attach first"
        return self.stream.process_id

    @property
    def is_connected(self) -> bool:
        """Whether events are received live."""
        return self.stream is not None and self.stream.connected

    @property
    def current_step(self) -> str | None:
        """The step the process is at."""
        return self.state.current_step

    @property
    def is_waiting_for_input(self) -> bool:
        """Whether a prompt is open."""
        return self.state.is_waiting_for_input

    @property
    def input_type(self) -> str | None:
        """What the open prompt asks for."""
        return self.state.input_type

    # -- verbs --------------------------------------------------------------------------------

    async def start_article_generation(self, **body: Any) -> StartResult:
        """Start a process and follow its events."""
        started = await self.client.start_article_generation(**body)
        self.attach(started.process_id)
        return started

    def attach(self, process_id: str, *, since: int = 0) -> None:
        """Follow an existing process, from its first event or from the one after sequence `since`."""
        assert self.stream is None, "one process an object: make another"
        self.stream = ProcessEventStream(
            self._supabase_url,
            self._key,
            process_id,
            token=self.client.tokens,
            fetch=self.client.events,
            since=since,
            end_on_error=self._end_on_error,
            limits=self._limits,
            tap=self._tap,
            on_history_expired=self.expired.append,
            on_history_restarted=self._begin_anew,
            endpoint=self._endpoint,
        )
        self._reader = asyncio.create_task(self._read(self.stream), name=f"state of {process_id}")

    async def select_persona(self, persona_id: int) -> ActionResult:
        """Choose a persona by its position, from 0."""
        return await self.client.select_persona(self.process_id, persona_id)

    async def select_theme(self, index: int) -> ActionResult:
        """Choose a theme by its position, from 0."""
        return await self.client.select_theme(self.process_id, index)

    async def approve_plan(self, approved: bool = True) -> ActionResult:
        """Approve the research plan, or have another made."""
        return await self.client.approve_plan(self.process_id, approved)

    async def approve_outline(self, approved: bool = True) -> ActionResult:
        """Approve the outline, or have another made."""
        return await self.client.approve_outline(self.process_id, approved)

    async def regenerate(self) -> ActionResult:
        """Have the proposals of the open prompt made anew."""
        return await self.client.regenerate(self.process_id)

    async def edit_and_proceed(self, content: Mapping[str, Any]) -> ActionResult:
        """Answer the open prompt with content of one's own."""
        return await self.client.edit_and_proceed(self.process_id, content)

    async def submit_user_input(self, response_type: str, payload: Mapping[str, Any] | None = None) -> ActionResult:
        """Answer the open prompt in any way the API takes."""
        return await self.client.submit_user_input(self.process_id, response_type, payload)

    async def pause(self) -> ActionResult:
        """Pause the process."""
        return await self.client.pause(self.process_id)

    async def resume(self) -> ActionResult:
        """Resume the process."""
        return await self.client.resume(self.process_id)

    async def cancel(self) -> ActionResult:
        """Cancel the process."""
        return await self.client.cancel(self.process_id)

    # -- waiting ------------------------------------------------------------------------------

    async def wait_until(
        self, predicate: Callable[[GenerationState], bool], timeout_s: float | None = 30.0
    ) -> GenerationState:
        """Wait for the first state, beginning with the current one, for which `predicate` holds.

        Raises TimeoutError saying where the process stood, StreamFailed when no event can come any more.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not predicate(self.state):
                    if self._reader is not None and self._reader.done():
                        self._raise_end()
                    self._changed.clear()
                    await self._changed.wait()
                return self.state
        except TimeoutError:
            raise TimeoutError(f"not within {timeout_s:g} s; {self.describe()}") from None

    async def run_to_end(self, timeout_s: float = 120.0, *, answer: Answer | None = None) -> GenerationState:
        """Answer every prompt (the first proposal, or as `answer` does) until the process is over."""
        try:
            async with asyncio.timeout(timeout_s):
                state = await self._next_question(after=(0, 0))
                while not state.is_finished:
                    asked = (len(self.restarts), state.prompt_sequence)
                    await self._answer(state, answer or answer_with_first)
                    state = await self._next_question(after=asked)
                return state
        except TimeoutError:
            raise TimeoutError(f"not over within {timeout_s:g} s; {self.describe()}") from None

    async def _next_question(self, after: tuple[int, int]) -> GenerationState:
        """`after`: (number of restarts of the log, sequence of the prompt) of the last prompt answered."""

        def asks(state: GenerationState) -> bool:
            asked = (len(self.restarts), state.prompt_sequence)
            return state.is_finished or (state.is_waiting_for_input and asked > after)

        return await self.wait_until(asks, timeout_s=None)

    def describe(self) -> str:
        """Where the process stands, for error messages."""
        state, stream = self.state, self.stream
        return (
            f"status {state.status}, step {state.current_step}, {state.progress_percentage} %, "
            f"waiting for {state.input_type if state.is_waiting_for_input else 'nothing'}, "
            f"event {state.last_sequence}, stream {stream.state if stream else 'not started'}"
            + (f", last error: {stream.last_error}" if stream and stream.last_error else "")
        )

    async def _answer(self, state: GenerationState, answer: Answer) -> None:
        try:
            await answer(self, state)
        except ApiError as error:
            # Another tab, or an earlier request of ours without an answer, may have answered it.
            if error.code not in {"not_waiting_for_input", "unexpected_response_type"}:
                raise

    # -- plumbing -----------------------------------------------------------------------------

    async def _read(self, stream: ProcessEventStream) -> None:
        try:
            async for event in stream:
                self.events.append(event)
                self.state = self.state.apply(event)
                if self._on_event is not None:
                    self._on_event(event, self.state)
                self._changed.set()
        finally:
            # Waiters must learn that no more events come, but only once this task is done.
            asyncio.get_running_loop().call_soon(self._changed.set)

    def _begin_anew(self, restarted: HistoryRestarted) -> None:
        self.restarts.append(restarted)
        self.events.clear()
        self.state = GenerationState()

    def _raise_end(self) -> None:
        assert self._reader is not None
        error = None if self._reader.cancelled() else self._reader.exception()
        if isinstance(error, ClientError):
            raise error
        raise StreamFailed(
            f"No event of {self.process_id} can come any more; {self.describe()}", "The process is over; start another."
        ) from error


async def answer_with_first(article: ArticleGeneration, state: GenerationState) -> None:
    """Take the first proposal; approve what asks for approval."""
    match state.input_type:
        case InputType.SELECT_PERSONA:
            await article.select_persona(0)
        case InputType.SELECT_THEME:
            await article.select_theme(0)
        case InputType.APPROVE_PLAN:
            await article.approve_plan()
        case InputType.APPROVE_OUTLINE:
            await article.approve_outline()
        case other:
            raise StreamFailed(f"The process asks for {other!r}, which nobody knows.", "Update this package.")
