"""One legacy generation: runs inside the API's process, keeps its state in the state row, sends frames to a socket.

It does not end with its socket: some steps go on without a client, and a newer socket may be attached. Its writes are
guarded by its mark in the row: it ends when another server or a worker has taken the row over.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import structlog

from reference_server.api import legacy_frames as frames
from reference_server.api.legacy_frames import ClientResponse, Frame
from reference_server.generation import answers, next_step
from reference_server.generation.context import ArticleContext, from_json, to_json
from reference_server.generation.errors import GenerationError
from reference_server.generation.prompts import prompt_data
from reference_server.generation.steps import Checkpoint, StepImpossible, StepRun, run_step
from reference_server.generation.writer import ContentWriter, WriterError
from reference_server.store import legacy
from reference_server.store.legacy import Finished, Saved, Superseded, Write
from toolkit.contract.prompts import BY_STEP
from toolkit.contract.statuses import RUNNING, Action, Status, advance
from toolkit.contract.steps import STEPS, Kind, Step, progress_after

log = structlog.get_logger(__name__)

# Steps that go on without a client; in all others the generation pauses.
RESILIENT = frozenset(
    {Step.RESEARCH_PLANNING, Step.RESEARCHING, Step.RESEARCH_SYNTHESIZING, Step.WRITING_SECTIONS, Step.EDITING}
)
WRITER_ATTEMPTS = 3
FIRST_RETRY_S = 1.0


class Socket(Protocol):
    """A client, as the generation uses it."""

    async def send(self, frame: Frame) -> None:
        """Raises ConnectionError when the client does not take it."""
        ...

    async def close(self, code: int, reason: str) -> None: ...


@dataclass(frozen=True)
class LegacyTools:
    pool: asyncpg.Pool
    writer: ContentWriter
    heartbeat_s: float = 30.0


class LegacyGeneration:
    """`mark` is the id under which this object holds the row. Call `drive` once, the other methods at any time."""

    def __init__(self, tools: LegacyTools, process_id: UUID, mark: str, saved: Saved) -> None:
        """Raises ContextUnreadable or ValueError for a row that this version cannot continue."""
        self.process_id = process_id
        self.mark = mark
        self.ended = False
        self._tools = tools
        self._context = from_json(saved.article_context)
        self._status = Status(saved.status)
        self._progress = saved.progress_percentage
        self._step = next_step.stands_at(Step(_where(saved)), self._context)
        self._socket: Socket | None = None
        self._answers: asyncio.Queue[ClientResponse] = asyncio.Queue(maxsize=100)
        self._gone = asyncio.Event()
        self._gone.set()
        self._open_prompt = False

    # -- the client -------------------------------------------------------------------------------

    @property
    def step(self) -> Step:
        return self._step

    @property
    def connected(self) -> bool:
        return self._socket is not None

    @property
    def outcome(self) -> str:
        """How `drive` ended, as a metric and as a close reason."""
        return str(self._status)

    async def close(self, code: int, reason: str) -> None:
        """Close the client's socket, if there is one."""
        if (socket := self._socket) is not None:
            await socket.close(code, reason)
            self.detach(socket)

    async def attach(self, socket: Socket) -> None:
        """Send frames to this client from now on, beginning with the present status and the open prompt, if any."""
        older, self._socket = self._socket, socket
        self._gone.clear()
        if older is not None:
            await older.close(1008, "superseded")
        await self._tell_status()
        if self._open_prompt:
            await self._tell_prompt()

    def detach(self, socket: Socket) -> None:
        """Forget that client; does nothing when a newer one has replaced it."""
        if self._socket is socket:
            self._socket = None
            self._gone.set()

    async def answer(self, response: ClientResponse) -> None:
        """Take a client's answer; without an open prompt the client is told that it was not used."""
        if not self._open_prompt or self._answers.full():
            await self._tell(frames.failure(self._step, "no prompt is open; the answer was not used"))
            return
        self._answers.put_nowait(response)

    # -- the work ---------------------------------------------------------------------------------

    async def drive(self) -> None:
        """Work until the process has ended, or waits for a client that has gone.

        Raises Superseded, and the errors of a database that does not come back.
        """
        try:
            await self._enter_from_rest()
            while not self.ended:
                kind = STEPS[self._step].kind
                if kind is Kind.GATE:
                    await self._ask()
                elif kind is Kind.WORK:
                    await self._work()
                else:
                    await self._finish()
        except (WriterError, StepImpossible) as error:
            await self._fail(str(error))
        finally:
            self.ended = True

    async def settle(self, *, cancelled: bool = False) -> None:
        """After `drive` was cancelled: save the row so that the generation can be continued from it."""
        self.ended = True
        status = self._status
        if cancelled:
            status = advance(status, Action.CANCEL)
        elif status in RUNNING:
            status = advance(status, Action.PAUSE)
        with contextlib.suppress(Superseded):
            await self._save(status, self._step, release=True, prompt=status is Status.USER_INPUT_REQUIRED)

    async def beat(self) -> None:
        """Every `heartbeat_s` send a frame to the client and renew the mark in the row. Raises Superseded."""
        while not self.ended:
            await asyncio.sleep(self._tools.heartbeat_s)
            await self._tell(frames.HEARTBEAT)
            await legacy.alive(self._tools.pool, self.process_id, self.mark)

    async def _enter_from_rest(self) -> None:
        """Leave the status in which the row was saved: a paused or failed generation is resumed."""
        gate = STEPS[self._step].kind is Kind.GATE
        if self._status is Status.PAUSED:
            self._status = advance(self._status, Action.REOPEN if gate else Action.RESUME)
        elif self._status is Status.ERROR:
            self._status = advance(self._status, Action.RESUME)
        elif self._status is Status.USER_INPUT_REQUIRED and not gate:
            self._status = advance(self._status, Action.ANSWER)
        if not gate:
            await self._start_step(self._step)

    async def _start_step(self, step: Step, *, finished: Step | None = None) -> None:
        """Save that `step` is being worked on, then tell the client."""
        if self._status in RUNNING:
            self._status = advance(self._status, Action.ADVANCE)
        self._step = step
        self._progress = progress_after(self._progress, step)
        await self._save(self._status, step, finished=finished)
        await self._tell_status()

    async def _work(self) -> None:
        step = self._step
        if self._gone.is_set() and step not in RESILIENT:
            await self._rest(advance(self._status, Action.PAUSE))
            return
        result = await self._unless_gone(self._run_writer(step), patient=step in RESILIENT)
        if result is None:
            if self._gone.is_set():  # otherwise a newer client came at the same moment, and the step is done again
                await self._rest(advance(self._status, Action.PAUSE))
            return
        await self._go_on(step, next_step.after(step, result))

    async def _run_writer(self, step: Step) -> ArticleContext:
        pause = FIRST_RETRY_S
        for attempt in range(WRITER_ATTEMPTS):
            try:
                run = StepRun(step, self._context, self._progress, attempt)
                result = await run_step(run, self._tools.writer, self._checkpoint)
            except WriterError as error:
                if not error.retryable or attempt + 1 == WRITER_ATTEMPTS:
                    raise
                log.warning("a step is tried again", step=step, attempt=attempt, cause=str(error))
                await asyncio.sleep(pause)
                pause *= 2
            else:
                return result.context
        raise AssertionError("unreachable")

    async def _checkpoint(self, checkpoint: Checkpoint) -> None:
        self._context = checkpoint.context
        self._progress = max(self._progress, checkpoint.progress)
        await self._save(self._status, self._step)
        for event in checkpoint.events:
            for frame in frames.of_step(event, image_mode=self._context.request.image_mode):
                await self._tell(frame)

    async def _go_on(self, finished: Step, following: next_step.Advance) -> None:
        self._context = following.context
        if following.kind is Kind.WORK:
            await self._start_step(following.step, finished=finished)
        else:
            # The row is written later: at a gate with the prompt, at the end with the article.
            self._step = following.step
            self._progress = progress_after(self._progress, following.step)

    async def _ask(self) -> None:
        gate = self._step
        if self._status is not Status.USER_INPUT_REQUIRED:
            self._status = advance(self._status, Action.ASK)
        await self._save(self._status, gate, prompt=True)
        self._open_prompt = True
        await self._tell_status()
        await self._tell_prompt()
        while True:
            response = await self._unless_gone(self._answers.get(), patient=False)
            if response is None and not self._gone.is_set():
                continue  # a newer client came at the same moment
            if response is None:
                self._open_prompt = False
                await self._rest(self._status, prompt=True)
                return
            try:
                answered = answers.apply(gate, response.response_type, response.payload, self._context)
                break
            except GenerationError as error:
                await self._tell(frames.failure(gate, f"{error} {error.remedy}"))
        self._open_prompt = False
        while not self._answers.empty():
            self._answers.get_nowait()  # repetitions of the answer just taken
        self._status = advance(self._status, Action.ANSWER)
        if answered.context.request.auto_mode:
            self._status = Status.AUTO_PROGRESSING
        self._context = answered.context
        await self._start_step(answered.step, finished=None if answered.regenerates else gate)

    async def _finish(self) -> None:
        context = self._context
        article = context.article or next_step.assemble(context)
        advance(self._status, Action.COMPLETE)
        finished = Finished(
            article.title,
            article.html,
            context.request.initial_keywords,
            context.selected_persona.description if context.selected_persona else None,
            [
                (image.placeholder_id, image.description_jp, image.prompt_en, image.alt_text)
                for image in context.image_placeholders
            ],
        )
        article_id = await legacy.complete(
            self._tools.pool, self.process_id, self.mark, self._document(replace(context, article=article)), finished
        )
        self._status, self._progress, self.ended = Status.COMPLETED, 100, True
        await self._tell_status()
        await self._tell(frames.final(article.title, article.html, article_id))

    async def _fail(self, message: str) -> None:
        step, self._status = self._step, advance(self._status, Action.FAIL)
        with contextlib.suppress(Superseded):
            await self._save(self._status, Step.ERROR, error=message, resume_from=step, release=True)
        log.error("legacy generation failed", step=step, cause=message)
        await self._tell(frames.failure(step, message))

    async def _rest(self, status: Status, *, prompt: bool = False) -> None:
        """Save and release the row: the client has gone, and the next step needs one."""
        self._status, self.ended = status, True
        with contextlib.suppress(Superseded):
            await self._save(status, self._step, prompt=prompt, release=True)

    async def _unless_gone(self, work: Any, *, patient: bool) -> Any:
        """The result of `work`; None when `patient` is false and the client left before `work` was done."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait({task} if patient else {task, gone}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            gone.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    # -- row and frames -----------------------------------------------------------------------------

    async def _save(
        self,
        status: Status,
        step: Step,
        *,
        prompt: bool = False,
        finished: Step | None = None,
        error: str | None = None,
        resume_from: str | None = None,
        release: bool = False,
    ) -> None:
        if status is Status.PAUSED:
            resume_from = step
        write = Write(
            status,
            step,
            self._progress,
            self._document(self._context),
            BY_STEP[step].input_type if prompt else None,
            error,
            resume_from,
            finished,
            release,
        )
        await legacy.save(self._tools.pool, self.process_id, self.mark, write)

    def _document(self, context: ArticleContext) -> dict[str, Any]:
        self._context = replace(context, revision=context.revision + 1)
        return to_json(self._context)

    async def _tell_status(self) -> None:
        image_mode = self._context.request.image_mode
        await self._tell(frames.status(self.process_id, self._step, self._progress, image_mode=image_mode))

    async def _tell_prompt(self) -> None:
        await self._tell(frames.prompt(BY_STEP[self._step].input_type, prompt_data(self._step, self._context)))

    async def _tell(self, frame: Frame) -> None:
        socket = self._socket
        if socket is None:
            return
        try:
            await socket.send(frame)
        except ConnectionError:
            self.detach(socket)


def _where(saved: Saved) -> str:
    """The step that a row was saved on; a failed or paused row has it in `resume_from_step`."""
    if saved.status in (Status.PAUSED, Status.ERROR) and saved.resume_from_step:
        return saved.resume_from_step
    return saved.current_step_name or Step.START
