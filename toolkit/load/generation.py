"""One generation of one user on either transport, with everything it saw in the history.

The clients are the library's own; each generation is a new application session with connections of its own.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from toolkit.accounts import Account
from toolkit.client.connection import Frame
from toolkit.client.errors import ApiError, ClientError, NotReached, StreamFailed
from toolkit.client.events import ProcessEvent
from toolkit.client.generation import GenerationClient
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
# A server that closes idle connections after five seconds must not meet our next request half-way.
KEEPALIVE_S = 2.0
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
    """Takes one figure in; `error` when what was measured went wrong."""

    def __call__(self, figure: str, ms: float, error: str | None = None) -> None: ...


class GenerationFailed(Exception):
    """The generation did not come to its article; the message says why."""


@dataclass
class Session:
    """One user's generation number so-and-so. `process` is known once the server named it.

    `clock_offset_s`: what to add to our clock to get the database's.
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
    process: str | None = None
    events: int = 0
    reconnects: int = 0
    missed_live: int = 0
    start_cut_off: bool = False

    @property
    def name(self) -> str:
        """What reports call the process."""
        return f"{self.user}/{self.number}"

    @property
    def actor(self) -> str:
        """Who watches."""
        return f"watch:{self.name}"

    @property
    def body(self) -> dict[str, Any]:
        """The start model: the guide's keywords, numbered, and what every article needs."""
        return {"initial_keywords": [f"test {self.name}"], "target_age_group": "30代", "persona_type": "主婦"}

    def named(self, process: str, transport: str) -> None:
        """The server gave the process a name; from here on it is watched."""
        self.process = process
        value = {"name": self.name, "user": self.user, "transport": transport}
        self.history.add("note", "run", "process", process=process, value=value)
        self.history.add("note", self.actor, "watch", process=process, value={"user": self.user, "since": 0})

    def closed(self) -> None:
        """The application listens no more."""
        if self.process is not None:
            self.history.add("note", self.actor, "unwatch", process=self.process)


class Stopwatch:
    """Measures one generation."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._begun = time.perf_counter()
        self._answered: float | None = None
        self._heard = False

    def lap(self, figure: str) -> None:
        """Time since the generation's beginning."""
        self._measure(figure, (time.perf_counter() - self._begun) * 1000)

    def heard(self) -> None:
        """An event or frame is in the application's hands."""
        if not self._heard:
            self._heard = True
            self.lap(figures.FIRST_EVENT)
        if self._answered is not None:
            self._measure(figures.REACTION, (time.perf_counter() - self._answered) * 1000)
            self._answered = None

    def answers(self) -> float:
        """An answer is about to be sent; returns the moment."""
        self._answered = time.perf_counter()
        return self._answered


# -- Realtime ---------------------------------------------------------------------------------


async def realtime(session: Session) -> None:
    """Start by HTTP, listen to the lossless stream, answer, until the article. Raises GenerationFailed."""
    watch = Stopwatch(session.measure)
    tokens = session.account.tokens
    async with (
        _http(session) as http,
        GenerationClient(session.target.get("API_URL"), tokens, http=http, deadline_s=HTTP_DEADLINE_S) as client,
    ):
        with _told(session, "start"):
            started = await client.start_article_generation(**session.body)
        watch.lap(figures.START)
        session.named(started.process_id, "realtime")
        stream = session.make_stream(
            session.target.get("SUPABASE_URL"),
            session.target.get("SUPABASE_ANON_KEY"),
            started.process_id,
            token=tokens,
            fetch=client.events,
            end_on_error=True,
            tap=lambda frame: _tapped(session, frame),
        )
        try:
            await _listen(session, client, stream, watch)
        except (asyncio.CancelledError, GenerationFailed, ClientError):
            await _last_word(session, client, stream)
            raise
        finally:
            session.reconnects = stream.reconnects
            session.missed_live = getattr(stream, "missed_live", 0)
            session.closed()
            await stream.aclose()
    watch.lap(figures.GENERATION)


async def _listen(session: Session, client: GenerationClient, stream: ProcessEventStream, watch: Stopwatch) -> None:
    async for event in stream:
        _delivered(session, event)
        watch.heard()
        if event.type == EventType.USER_INPUT_REQUIRED:
            await _answer(session, client, event, watch)
        elif event.type == EventType.GENERATION_COMPLETED:
            return
        elif event.type in TERMINAL:
            raise GenerationFailed(f"{event.type}: {event.data.get('error_message', 'no reason given')}")
    raise GenerationFailed("the stream ended before the article came")


async def _answer(session: Session, client: GenerationClient, event: ProcessEvent, watch: Stopwatch) -> None:
    assert session.process is not None
    response, payload = _response(event.data.get("input_type"))
    begun = watch.answers()
    with _told(session, "answer"):
        await client.submit_user_input(session.process, response, payload)
    session.measure(figures.ANSWER, (time.perf_counter() - begun) * 1000)


def _delivered(session: Session, event: ProcessEvent) -> None:
    session.events += 1
    value = {"type": event.type, "data": dict(event.data), "category": event.category, "created_at": event.created_at}
    record = session.history.add(
        "deliver",
        session.actor,
        process=event.process_id or session.process,
        seq=event.sequence,
        event_id=event.id,
        via=event.via,
        value=value,
    )
    if event.via == "live" and (at := committed_at(record)) is not None:
        session.measure(figures.DELIVERY, (time.time() + session.clock_offset_s - at) * 1000)


def _tapped(session: Session, frame: Frame) -> None:
    record_frame(session.history, session.actor, frame.kind, frame.payload, int(frame.at * 1e9))


async def _last_word(session: Session, client: GenerationClient, stream: ProcessEventStream) -> None:
    """Cancel a process that nobody will answer any more, and hear it, so that its history is whole."""
    assert session.process is not None
    try:
        async with asyncio.timeout(LAST_WORD_S):
            try:
                with _told(session, "cancel"):
                    await client.cancel(session.process)
            except ApiError as error:
                if error.status != 409:  # it may just have come to its end by itself
                    raise
            async for event in stream:
                _delivered(session, event)
                if event.type in TERMINAL:
                    return
    except (TimeoutError, ClientError) as error:
        why = str(error) or f"nothing within {LAST_WORD_S:g} s"
        session.history.add("note", session.actor, NO_LAST_WORD, process=session.process, error=why)


class _told:
    """Records a command that nobody answered, or whose answer we did not wait for; other answers are recorded where
    they arrive."""

    def __init__(self, session: Session, op: str) -> None:
        self._session = session
        self._op = op

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        actor, process = f"user:{self._session.user}", self._session.process
        if isinstance(error, NotReached):
            outcome: Kind = "fail" if error.definite else "info"
            self._session.history.add(outcome, actor, self._op, process=process, error=error.what)
        elif isinstance(error, asyncio.CancelledError):
            # Nobody knows whether it took effect, and it is not the server's fault.
            self._session.history.add("info", actor, self._op, process=process, value={"cut off": "by us"})
            self._session.start_cut_off = self._op == "start"


@asynccontextmanager
async def _http(session: Session) -> Any:
    """Connections of this user's own; every request and every answer is recorded, repetitions too."""
    actor = f"user:{session.user}"

    async def asked(request: httpx.Request) -> None:
        session.history.add(
            "invoke",
            actor,
            _op(request),
            process=session.process,
            value={"request": f"{request.method} {request.url.path}"},
        )

    async def answered(response: httpx.Response) -> None:
        op, process = _op(response.request), session.process
        value: dict[str, Any] = {
            "status": response.status_code,
            "request_id": response.headers.get("x-request-id"),
        }
        if op == "start" and response.is_success:
            await response.aread()
            process = str(response.json().get("process_id"))
        kind: Kind = "ok" if response.is_success else "info" if response.status_code >= 500 else "fail"
        session.history.add(kind, actor, op, process=process, value=value)

    async with httpx.AsyncClient(
        timeout=HTTP_DEADLINE_S,
        limits=httpx.Limits(max_connections=10, keepalive_expiry=KEEPALIVE_S),
        verify=session.verify,
        event_hooks={"request": [asked], "response": [answered]},
    ) as http:
        yield http


def _op(request: httpx.Request) -> str:
    """The command's name, as the judges know it."""
    if request.method == "DELETE":
        return "cancel"
    last = request.url.path.rsplit("/", 1)[-1]
    return {"start": "start", "user-input": "answer", "events": "events"}.get(last, last)


# -- WebSocket --------------------------------------------------------------------------------


async def websocket(session: Session) -> None:
    """The same over the legacy socket, as the old browser client did it. Raises GenerationFailed."""
    watch = Stopwatch(session.measure)
    session.history.add("invoke", f"user:{session.user}", "start", value={"body": session.body})
    try:
        async with LegacyWebSocketClient(session.target.get("API_URL"), session.account.tokens) as client:
            await client.start(**session.body)
            async for frame in client:
                if await _framed(session, client, frame, watch):
                    watch.lap(figures.GENERATION)
                    return
        raise GenerationFailed("the socket was closed before the article came")
    finally:
        session.closed()


async def _framed(session: Session, client: LegacyWebSocketClient, frame: LegacyFrame, watch: Stopwatch) -> bool:
    """Take one frame in; True after the article."""
    if frame.kind == "heartbeat":
        return False
    if session.process is None and client.process_id is not None:
        watch.lap(figures.START)
        session.named(client.process_id, "websocket")
    session.events += 1
    payload = dict(frame.payload)
    process = str(payload.get("process_id") or session.process or "") or None
    session.history.add(
        "deliver", session.actor, process=process, via="socket", value={"type": socket_kind(payload), "data": payload}
    )
    watch.heard()
    if frame.kind == "prompt":
        response, answer = _response(frame.input_type)
        watch.answers()
        await client.answer(response, answer)
        # Acknowledged by nothing: what it did shows in the frames that follow.
        session.history.add("ok", f"user:{session.user}", "answer", process=session.process)
    if frame.kind == "error":
        raise GenerationFailed(str(frame.payload.get("error_message", "no reason given")))
    return frame.kind == "final"


def _response(input_type: object) -> tuple[ResponseType, dict[str, Any]]:
    try:
        return ANSWERS[InputType(str(input_type))]
    except (ValueError, KeyError):
        raise StreamFailed(
            f"The process asks for {input_type!r}, which nobody knows.", "Update this package."
        ) from None
