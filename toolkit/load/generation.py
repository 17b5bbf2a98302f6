"""One generation of one user on either transport; everything it sees is recorded in the history.

It uses the clients of `toolkit.client`, as an application does; each generation opens connections of its own.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from toolkit.accounts import Account
from toolkit.client.connection import Frame
from toolkit.client.errors import ApiError, ClientError, NotReached, StreamFailed
from toolkit.client.events import ProcessEvent
from toolkit.client.generation import GenerationClient
from toolkit.client.http import KEEPALIVE_S
from toolkit.client.legacy import LegacyFrame, LegacyWebSocketClient
from toolkit.client.stream import ProcessEventStream
from toolkit.contract.events import TERMINAL, EventType
from toolkit.contract.prompts import InputType, ResponseType
from toolkit.load import figures
from toolkit.scenarios.recorded.facts import committed_at
from toolkit.scenarios.recorded.history import History, Kind
from toolkit.scenarios.sessions import record_frame
from toolkit.scenarios.tracker import socket_kind
from toolkit.targets.target import Target

HTTP_DEADLINE_S = 30.0
LAST_WORD_S = 15.0
NO_LAST_WORD = "no-last-word"
MakeStream = Callable[..., ProcessEventStream]

# The first proposal is taken, and everything approved.
ANSWERS: dict[InputType, tuple[ResponseType, dict[str, Any]]] = {
    InputType.SELECT_PERSONA: (ResponseType.SELECT_PERSONA, {"selected_id": 0}),
    InputType.SELECT_THEME: (ResponseType.SELECT_THEME, {"selected_index": 0}),
    InputType.APPROVE_PLAN: (ResponseType.APPROVE_PLAN, {"approved": True}),
    InputType.APPROVE_OUTLINE: (ResponseType.APPROVE_OUTLINE, {"approved": True}),
}


class Measure(Protocol):
    """Receives one measured figure; `error` says what failed, None when nothing did."""

    def __call__(self, figure: str, ms: float, error: str | None = None) -> None: ...


# Everybody who comes back has left at this prompt: the process waits, so nothing happens to it meanwhile.
LEAVES_AT = InputType.SELECT_THEME


def answers_at_once() -> float:
    """A user who thinks for no time."""
    return 0.0


class GenerationFailed(Exception):
    """The generation ended without an article; the message says why."""


@dataclass
class Generation:
    """One generation of one user; `number` counts that user's generations from 1. `process` is None until the server
    named it.

    `clock_offset_s`: seconds to add to our clock to get the database's. `think_s`: how long this user thinks before the
    next answer. `comes_back`: at one prompt the user closes everything and opens it again.
    """

    target: Target
    history: History
    measure: Measure
    user: str
    account: Account
    number: int
    verify: ssl.SSLContext
    make_stream: MakeStream
    clock_offset_s: float = 0.0
    think_s: Callable[[], float] = answers_at_once
    comes_back: bool = False
    process: str | None = None
    events: int = 0
    reconnects: int = 0
    missed_live: int = 0
    start_cut_off: bool = False

    @property
    def name(self) -> str:
        """The name of the process in reports."""
        return f"{self.user}/{self.number}"

    @property
    def actor(self) -> str:
        """The actor under which this user's subscription stands in the history."""
        return f"watch:{self.name}"

    @property
    def body(self) -> dict[str, Any]:
        """The start model: the guide's keywords, numbered, and what every article needs."""
        return {"initial_keywords": [f"test {self.name}"], "target_age_group": "30代", "persona_type": "主婦"}

    def named(self, process: str, transport: str) -> None:
        """Record the id that the server gave the process; from here on the process is watched."""
        self.process = process
        value = {"name": self.name, "user": self.user, "transport": transport}
        self.history.add("note", "run", "process", process=process, value=value)
        self.history.add("note", self.actor, "watch", process=process, value={"user": self.user, "since": 0})

    def closed(self) -> None:
        """Record that the application has stopped listening."""
        if self.process is not None:
            self.history.add("note", self.actor, "unwatch", process=self.process)


class Stopwatch:
    """Times the figures of one generation."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._begun = time.perf_counter()
        self._answered: float | None = None
        self._event_seen = False

    def lap(self, figure: str) -> None:
        """Report the time since the generation began as `figure`."""
        self._measure(figure, (time.perf_counter() - self._begun) * 1000)

    def event_arrived(self) -> None:
        """Note that the application was given an event or frame."""
        if not self._event_seen:
            self._event_seen = True
            self.lap(figures.FIRST_EVENT)
        if self._answered is not None:
            self._measure(figures.REACTION, (time.perf_counter() - self._answered) * 1000)
            self._answered = None

    def answer_begins(self) -> float:
        """Note that an answer is about to be sent; returns the moment (`time.perf_counter`)."""
        self._answered = time.perf_counter()
        return self._answered


# -- Realtime ---------------------------------------------------------------------------------


async def realtime(generation: Generation) -> None:
    """Start over HTTP, follow the lossless stream and answer every prompt until the article is there. Raises
    GenerationFailed."""
    watch = Stopwatch(generation.measure)
    tokens = generation.account.tokens
    async with (
        _http(generation) as http,
        GenerationClient(generation.target.get("API_URL"), tokens, http=http, deadline_s=HTTP_DEADLINE_S) as client,
    ):
        with _recorded_command(generation, "start"):
            started = await client.start_article_generation(**generation.body)
        watch.lap(figures.START)
        generation.named(started.process_id, "realtime")
        screen = _Screen(generation, client, started.process_id)
        try:
            await _listen(generation, client, screen, watch)
        except (asyncio.CancelledError, GenerationFailed, ClientError):
            await _last_word(generation, client, screen)
            raise
        finally:
            generation.closed()
            await screen.close()
    watch.lap(figures.GENERATION)


class _Screen:
    """What the user looks at: the stream of the process, which `come_back` closes and opens again."""

    def __init__(self, generation: Generation, client: GenerationClient, process: str) -> None:
        self._generation = generation
        self._client = client
        self._process = process
        self._stream = self._opened(0)
        self.events: AsyncIterator[ProcessEvent] = aiter(self._stream)

    def _opened(self, since: int) -> ProcessEventStream:
        generation = self._generation
        beginning = {"since": since} if since else {}
        return generation.make_stream(
            generation.target.get("SUPABASE_URL"),
            generation.target.get("SUPABASE_ANON_KEY"),
            self._process,
            token=generation.account.tokens,
            fetch=self._client.events,
            end_on_error=True,
            tap=lambda frame: _record_frame(generation, frame),
            **beginning,
        )

    async def come_back(self, prompt: ProcessEvent) -> None:
        """Close everything at this prompt, and open it again until the prompt is on the screen once more."""
        await self.close()
        begun = time.perf_counter()
        self._stream = self._opened(prompt.sequence - 1)
        self.events = aiter(self._stream)
        async for event in self.events:
            if event.sequence >= prompt.sequence:
                break
        self._generation.measure(figures.CAUGHT_UP, (time.perf_counter() - begun) * 1000)

    async def close(self) -> None:
        self._generation.reconnects += self._stream.reconnects
        self._generation.missed_live += getattr(self._stream, "missed_live", 0)
        await self._stream.aclose()


async def _listen(generation: Generation, client: GenerationClient, screen: _Screen, watch: Stopwatch) -> None:
    while (event := await anext(screen.events, None)) is not None:
        _record_delivery(generation, event)
        watch.event_arrived()
        if event.type == EventType.USER_INPUT_REQUIRED:
            if generation.comes_back and event.data.get("input_type") == LEAVES_AT:
                await screen.come_back(event)
            await asyncio.sleep(generation.think_s())
            await _answer(generation, client, event, watch)
        elif event.type == EventType.GENERATION_COMPLETED:
            return
        elif event.type in TERMINAL:
            raise GenerationFailed(f"{event.type}: {event.data.get('error_message', 'no reason given')}")
    raise GenerationFailed("the stream ended before the article came")


async def _answer(generation: Generation, client: GenerationClient, event: ProcessEvent, watch: Stopwatch) -> None:
    assert generation.process is not None
    response, payload = _response(event.data.get("input_type"))
    begun = watch.answer_begins()
    with _recorded_command(generation, "answer"):
        await client.submit_user_input(generation.process, response, payload)
    generation.measure(figures.ANSWER, (time.perf_counter() - begun) * 1000)


def _record_delivery(generation: Generation, event: ProcessEvent) -> None:
    generation.events += 1
    value = {"type": event.type, "data": dict(event.data), "category": event.category, "created_at": event.created_at}
    record = generation.history.add(
        "deliver",
        generation.actor,
        process=event.process_id or generation.process,
        seq=event.sequence,
        event_id=event.id,
        via=event.via,
        value=value,
    )
    if event.via == "live" and (at := committed_at(record)) is not None:
        generation.measure(figures.DELIVERY, (time.time() + generation.clock_offset_s - at) * 1000)


def _record_frame(generation: Generation, frame: Frame) -> None:
    record_frame(generation.history, generation.actor, frame.kind, frame.payload, int(frame.at * 1e9))


async def _last_word(generation: Generation, client: GenerationClient, screen: _Screen) -> None:
    """Cancel a process that nobody will answer any more, and wait for its last event, so that its history is
    complete."""
    assert generation.process is not None
    try:
        async with asyncio.timeout(LAST_WORD_S):
            try:
                with _recorded_command(generation, "cancel"):
                    await client.cancel(generation.process)
            except ApiError as error:
                if error.status != 409:  # it may have ended by itself just now
                    raise
            async for event in screen.events:
                _record_delivery(generation, event)
                if event.type in TERMINAL:
                    return
    except (TimeoutError, ClientError) as error:
        why = str(error) or f"nothing within {LAST_WORD_S:g} s"
        generation.history.add("note", generation.actor, NO_LAST_WORD, process=generation.process, error=why)


class _recorded_command:
    """Records a command that got no answer, or was cut off before its answer; `_http` records all other answers."""

    def __init__(self, generation: Generation, op: str) -> None:
        self._generation = generation
        self._op = op

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        actor, process = f"user:{self._generation.user}", self._generation.process
        if isinstance(error, NotReached):
            outcome: Kind = "fail" if error.definite else "info"
            self._generation.history.add(outcome, actor, self._op, process=process, error=error.what)
        elif isinstance(error, asyncio.CancelledError):
            # Whether it took effect is unknown, and that is not the server's fault.
            self._generation.history.add("info", actor, self._op, process=process, value={"cut off": "by us"})
            self._generation.start_cut_off = self._op == "start"


@asynccontextmanager
async def _http(generation: Generation) -> Any:
    """An HTTP client for this user alone; every request and every answer is recorded, retries included."""
    actor = f"user:{generation.user}"

    async def asked(request: httpx.Request) -> None:
        generation.history.add(
            "invoke",
            actor,
            _op(request),
            process=generation.process,
            value={"request": f"{request.method} {request.url.path}"},
        )

    async def answered(response: httpx.Response) -> None:
        op, process = _op(response.request), generation.process
        value: dict[str, Any] = {
            "status": response.status_code,
            "request_id": response.headers.get("x-request-id"),
        }
        if op == "start" and response.is_success:
            await response.aread()
            process = str(response.json().get("process_id"))
        kind: Kind = "ok" if response.is_success else "info" if response.status_code >= 500 else "fail"
        generation.history.add(kind, actor, op, process=process, value=value)

    async with httpx.AsyncClient(
        timeout=HTTP_DEADLINE_S,
        limits=httpx.Limits(max_connections=10, keepalive_expiry=KEEPALIVE_S),
        verify=generation.verify,
        event_hooks={"request": [asked], "response": [answered]},
    ) as http:
        yield http


def _op(request: httpx.Request) -> str:
    """The command's name in the history, by which the judges know it."""
    if request.method == "DELETE":
        return "cancel"
    last = request.url.path.rsplit("/", 1)[-1]
    return {"start": "start", "user-input": "answer", "events": "events"}.get(last, last)


# -- WebSocket --------------------------------------------------------------------------------


async def websocket(generation: Generation) -> None:
    """The whole generation over the legacy socket, as the old browser client did it. Raises GenerationFailed."""
    watch = Stopwatch(generation.measure)
    generation.history.add("invoke", f"user:{generation.user}", "start", value={"body": generation.body})
    try:
        async with LegacyWebSocketClient(generation.target.get("API_URL"), generation.account.tokens) as client:
            await client.start(**generation.body)
            async for frame in client:
                if await _take_frame(generation, client, frame, watch):
                    watch.lap(figures.GENERATION)
                    return
        raise GenerationFailed("the socket was closed before the article came")
    finally:
        generation.closed()


async def _take_frame(
    generation: Generation, client: LegacyWebSocketClient, frame: LegacyFrame, watch: Stopwatch
) -> bool:
    """Handle one frame; True once the article is there."""
    if frame.kind == "heartbeat":
        return False
    if generation.process is None and client.process_id is not None:
        watch.lap(figures.START)
        generation.named(client.process_id, "websocket")
    generation.events += 1
    payload = dict(frame.payload)
    process = str(payload.get("process_id") or generation.process or "") or None
    generation.history.add(
        "deliver",
        generation.actor,
        process=process,
        via="socket",
        value={"type": socket_kind(payload), "data": payload},
    )
    watch.event_arrived()
    if frame.kind == "prompt":
        response, answer = _response(frame.input_type)
        if generation.comes_back and frame.input_type == LEAVES_AT:
            await _come_back(generation, client)
        await asyncio.sleep(generation.think_s())
        watch.answer_begins()
        await client.answer(response, answer)
        # The legacy socket acknowledges nothing: the effect shows in the frames that follow.
        generation.history.add("ok", f"user:{generation.user}", "answer", process=generation.process)
    if frame.kind == "error":
        raise GenerationFailed(str(frame.payload.get("error_message", "no reason given")))
    return frame.kind == "final"


async def _come_back(generation: Generation, client: LegacyWebSocketClient) -> None:
    """Close the socket at a prompt and resume the process until the server has put the prompt again."""
    assert generation.process is not None
    await client.aclose()
    begun = time.perf_counter()
    await client.resume(generation.process)
    while (frame := await client.receive()) is not None and frame.kind != "prompt":
        if frame.kind == "error":
            raise GenerationFailed(str(frame.payload.get("error_message", "no reason given")))
    generation.measure(figures.CAUGHT_UP, (time.perf_counter() - begun) * 1000)


def _response(input_type: object) -> tuple[ResponseType, dict[str, Any]]:
    try:
        return ANSWERS[InputType(str(input_type))]
    except (ValueError, KeyError):
        raise StreamFailed(
            f"The process asks for {input_type!r}, which nobody knows.", "Update this package."
        ) from None
