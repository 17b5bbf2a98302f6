"""One generation as its user saw it, over either transport."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from toolkit.client.errors import ClientError
from toolkit.client.events import ProcessEvent
from toolkit.client.generation import GenerationClient
from toolkit.client.legacy import LegacyFrame, LegacyWebSocketClient
from toolkit.client.stream import ProcessEventStream
from toolkit.contract.events import TERMINAL, EventType
from toolkit.contract.prompts import InputType, ResponseType
from toolkit.targets.target import Target

RUN_DEADLINE_S = 90.0
CLOSE_DEADLINE_S = 5.0
# Takes the first proposal and approves everything.
ANSWERS: dict[InputType, tuple[ResponseType, dict[str, Any]]] = {
    InputType.SELECT_PERSONA: (ResponseType.SELECT_PERSONA, {"selected_id": 0}),
    InputType.SELECT_THEME: (ResponseType.SELECT_THEME, {"selected_index": 0}),
    InputType.APPROVE_PLAN: (ResponseType.APPROVE_PLAN, {"approved": True}),
    InputType.APPROVE_OUTLINE: (ResponseType.APPROVE_OUTLINE, {"approved": True}),
}
BODY: dict[str, Any] = {
    "initial_keywords": ["rehearsal", "migration"],
    "target_age_group": "30代",
    "persona_type": "主婦",
}


@dataclass
class UserGeneration:
    """What one user saw of one generation. Times are monotonic; `error` is '' while nothing went wrong.

    `sequences` are those of the events delivered over Realtime, in order of delivery.
    """

    user: str
    transport: str
    began: float = field(default_factory=time.monotonic)
    process_id: str | None = None
    first_feedback: float | None = None
    prompts_put: int = 0
    prompts_answered: int = 0
    ended: float | None = None
    article_id: str | None = None
    error: str = ""
    sequences: list[int] = field(default_factory=list)
    live: int = 0
    backfilled: int = 0

    @property
    def feedback_ms(self) -> float | None:
        """Milliseconds from the start to the first sign of work."""
        return None if self.first_feedback is None else (self.first_feedback - self.began) * 1000

    @property
    def good(self) -> bool:
        """Whether it ended with an article and every prompt was answered."""
        return bool(not self.error and self.article_id and self.prompts_put == self.prompts_answered)

    def feedback(self) -> None:
        """Note that something of the process was seen; only the first call counts."""
        if self.first_feedback is None:
            self.first_feedback = time.monotonic()

    def __str__(self) -> str:
        ending = self.error or ("ended" if self.ended else "still running")
        return f"{self.transport} process {self.process_id or '(never started)'} of {self.user}: {ending}"


@dataclass
class Gate:
    """Holds a generation before it answers its first prompt: `reached` is set there, and setting `open` lets it go on.

    `leaves`: meanwhile its user closes the WebSocket and comes back.
    """

    leaves: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)


async def guarded(
    generation: UserGeneration, work: Callable[[], Awaitable[None]], deadline_s: float = RUN_DEADLINE_S
) -> None:
    """Run `work`; errors of server, network or deadline are recorded in `generation` and not raised."""
    try:
        async with asyncio.timeout(deadline_s):
            await work()
    except TimeoutError:
        generation.error = generation.error or f"not finished within {deadline_s:g} s"
    except ClientError as error:
        generation.error = " ".join(part for part in (generation.error, error.what) if part)
    except OSError as error:
        generation.error = f"{type(error).__name__}: {error}"
    generation.ended = time.monotonic()


async def legacy_generation(
    target: Target, generation: UserGeneration, gate: Gate | None = None, *, deadline_s: float = RUN_DEADLINE_S
) -> UserGeneration:
    """Run a generation over the legacy WebSocket, as the old browser client did; with a `process_id` it resumes that
    process. `generation` is filled in as it goes; `gate` holds it at its first prompt."""

    async def work() -> None:
        async with LegacyWebSocketClient(target.get("API_URL"), target.user_token(generation.user)) as client:
            if generation.process_id is None:
                await client.start(**BODY)
            else:
                await client.resume(generation.process_id)
            async for frame in client:
                await _on_frame(generation, client, frame, gate)
                if frame.kind == "final":
                    return
                if frame.kind == "error":
                    # The close frame that follows gives the reason.
                    async with asyncio.timeout(CLOSE_DEADLINE_S):
                        await client.receive()
        generation.error = generation.error or "the socket was closed before the article came"

    await guarded(generation, work, deadline_s)
    if gate is not None:
        gate.reached.set()  # a generation that failed earlier must not keep its waiters
    return generation


async def _on_frame(
    generation: UserGeneration, client: LegacyWebSocketClient, frame: LegacyFrame, gate: Gate | None
) -> None:
    generation.process_id = client.process_id
    match frame.kind:
        case "heartbeat":
            return
        case "prompt":
            if gate is not None and not gate.reached.is_set():
                gate.reached.set()
                if gate.leaves:
                    await _leave_and_return(generation, client, gate)
                    return
                await gate.open.wait()
            generation.prompts_put += 1
            response, payload = ANSWERS[InputType(str(frame.input_type))]
            await client.answer(response, payload)
            generation.prompts_answered += 1
        case "final":
            generation.article_id = str(frame.payload["article_id"])
        case "error":
            generation.error = str(frame.payload["error_message"])
        case _:
            pass
    generation.feedback()


async def _leave_and_return(generation: UserGeneration, client: LegacyWebSocketClient, gate: Gate) -> None:
    assert generation.process_id is not None
    await client.aclose()
    await gate.open.wait()
    await client.resume(generation.process_id)  # which puts the prompt again


async def realtime_generation(
    target: Target,
    user: str,
    gate: Gate | None = None,
    *,
    resume: str | None = None,
    deadline_s: float = RUN_DEADLINE_S,
) -> UserGeneration:
    """Run a generation over HTTP and Realtime, watched through the lossless stream: a new one or, with `resume`, the
    rest of a paused process. `gate` holds it at its first prompt."""
    generation = UserGeneration(user, "realtime", process_id=resume)

    async def work() -> None:
        async with GenerationClient(target.get("API_URL"), target.user_token(user)) as client:
            if resume is None:
                generation.process_id = (await client.start_article_generation(**BODY)).process_id
            else:
                await client.resume(resume)
            assert generation.process_id is not None
            async with ProcessEventStream(
                target.get("SUPABASE_URL"),
                target.get("SUPABASE_ANON_KEY"),
                generation.process_id,
                token=client.tokens,
                fetch=client.events,
                end_on_error=True,
            ) as stream:
                async for event in stream:
                    await _on_event(generation, client, event, gate)

    await guarded(generation, work, deadline_s)
    if gate is not None:
        gate.reached.set()  # a generation that failed earlier must not keep its waiters
    return generation


async def _on_event(
    generation: UserGeneration, client: GenerationClient, event: ProcessEvent, gate: Gate | None
) -> None:
    assert generation.process_id is not None
    generation.feedback()
    generation.sequences.append(event.sequence)
    generation.live += event.via == "live"
    generation.backfilled += event.via == "backfill"
    if event.type == EventType.USER_INPUT_REQUIRED:
        generation.prompts_put += 1
        if gate is not None:
            gate.reached.set()
            await gate.open.wait()
        response, payload = ANSWERS[InputType(event.data["input_type"])]
        await client.submit_user_input(generation.process_id, response, payload)
        generation.prompts_answered += 1
    elif event.type == EventType.GENERATION_COMPLETED:
        generation.article_id = str(event.data["article_id"])
    elif event.type in TERMINAL:
        generation.error = f"{event.type}: {event.data.get('error_message', '')}"
