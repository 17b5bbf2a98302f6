"""The use cases of the Realtime transport: what users may do with a process.

Every command is one transaction that locks the process first, asks the contract's tables what is
allowed, and writes state, events and tasks together. Reads are single statements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import orjson

from reference_server.generation import answers, belongings, control, moves, reading
from reference_server.generation.content import GenerationRequest
from reference_server.generation.context import ArticleContext
from reference_server.generation.errors import (
    IdempotencyKeyReused,
    NotFound,
    NotWaiting,
    OrganizationNotFound,
    ProcessUnreadable,
    StyleTemplateNotFound,
)
from reference_server.generation.moves import ServiceSettings
from reference_server.generation.views import (
    AnswerResult,
    ArticlePage,
    ArticleView,
    ControlResult,
    EventPage,
    ProcessPage,
    ProcessView,
    QueueStatus,
    StartedProcess,
    StoredEvent,
)
from reference_server.store import events, processes, tasks
from reference_server.store.pool import Connection, read, transact
from toolkit.contract.events import EventType, Source
from toolkit.contract.prompts import BY_INPUT_TYPE, InputType
from toolkit.contract.statuses import Action, Status, advance
from toolkit.contract.steps import Step, progress_after
from toolkit.contract.tasks import TaskType

__all__ = ["GenerationService", "ServiceSettings"]

T = TypeVar("T")


class GenerationService:
    """Needs the migrated schema and a pool of `store.pool.open_pool`.

    Every method raises NotFound for an unknown id, and OSError, an asyncpg error or CommitUnknown when
    the database does not answer. Nothing here checks who is calling: the API has.
    """

    def __init__(self, pool: asyncpg.Pool, settings: ServiceSettings | None = None) -> None:
        self._pool = pool
        self._settings = settings or ServiceSettings()

    async def start(
        self,
        user_id: str,
        request: GenerationRequest,
        *,
        organization_id: UUID | None = None,
        idempotency_key: str | None = None,
        request_digest: str | None = None,
        trusted: bool = False,
    ) -> StartedProcess:
        """A new process with its first task; or the one that this key started before.

        `request_digest` tells requests apart that carry the same key. Of a `trusted` caller nobody asks whether the
        organization and the template are the user's, only whether they exist.

        Raises OrganizationNotFound, StyleTemplateNotFound, IdempotencyKeyReused.
        """
        digest = request_digest or _digest(request)
        template = _template_id(request.style_template_id)

        async def work(db: Connection) -> StartedProcess:
            if idempotency_key is not None:
                known = await processes.started_with_key(db, user_id, idempotency_key)
                if known is not None:
                    process_id, first_digest = known
                    if first_digest != digest:
                        raise IdempotencyKeyReused
                    return StartedProcess(process_id, replayed=True)
            if organization_id is not None and not trusted:
                await belongings.check_organization(db, user_id, organization_id)
            if template is not None and not trusted:
                await belongings.check_template(db, user_id, template)
            context = ArticleContext(request)
            process_id = await processes.insert(
                db,
                user_id=user_id,
                organization_id=organization_id,
                status=moves.running_status(context),
                context=moves.document(context),
                image_mode=request.image_mode,
                image_settings=request.image_settings,
                style_template_id=template,
                idempotency_key=idempotency_key,
                request_digest=digest if idempotency_key is not None else None,
            )
            context, task = moves.next_task(
                process_id,
                context,
                Step.KEYWORD_ANALYZING,
                TaskType.START,
                settings=self._settings,
                created_by=user_id,
            )
            await tasks.enqueue(db, process_id, task)
            await processes.enter_step(
                db, process_id, step=Step.START, progress=0, context=moves.document(context), task=task.id
            )
            return StartedProcess(process_id, replayed=False)

        try:
            return await self._transact(work)
        except asyncpg.ForeignKeyViolationError as error:
            if template is not None and "style_template" in (error.constraint_name or ""):
                raise StyleTemplateNotFound(template) from None
            raise OrganizationNotFound(organization_id) from None

    async def answer(
        self,
        process_id: UUID,
        response_type: str,
        payload: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> AnswerResult:
        """Answers the open prompt.

        Raises NotWaiting, UnexpectedResponse, AnswerRefused, IdempotencyKeyReused, ProcessUnreadable. A
        known key with the same answer is answered as it was the first time.
        """

        async def work(db: Connection) -> AnswerResult:
            state = await processes.lock(db, process_id)
            if state is None:
                raise NotFound("process", process_id)
            if idempotency_key is not None:
                known = await processes.answered_with_key(db, process_id, idempotency_key)
                if known is not None:
                    if known.digest != _digest([response_type, payload]):
                        raise IdempotencyKeyReused
                    return AnswerResult(process_id, known.input_type, known.next_step, known.regenerates, replayed=True)
            status = Status(state.status)
            if status is not Status.USER_INPUT_REQUIRED or not state.is_waiting_for_input or state.input_type is None:
                raise NotWaiting(status)
            if state.input_type not in set(InputType):
                raise ProcessUnreadable(f"The process waits for {state.input_type}, which this version does not know.")
            gate = BY_INPUT_TYPE[InputType(state.input_type)].step
            answered = answers.apply(gate, response_type, payload, moves.context_of(state))
            advance(status, Action.ANSWER)
            response = {"response_type": response_type, "payload": dict(payload)}
            try:
                await processes.resolve_input(db, process_id, response, moves.running_status(answered.context))
            except asyncpg.ObjectNotInPrerequisiteStateError:
                raise NotWaiting(status, expired=True) from None  # everything else was looked at above
            context, task = moves.next_task(
                process_id,
                moves.with_next_revision(answered.context),
                answered.step,
                TaskType.CONTINUE,
                settings=self._settings,
                created_by=state.user_id,
            )
            await tasks.enqueue(db, process_id, task)
            await processes.enter_step(
                db,
                process_id,
                step=answered.step,
                progress=progress_after(state.progress_percentage, answered.step),
                context=moves.document(context),
                task=task.id,
            )
            if idempotency_key is not None:
                answer = processes.KnownAnswer(
                    answered.input_type, _digest([response_type, payload]), answered.step, answered.regenerates
                )
                await processes.note_answer_key(db, process_id, idempotency_key, answer)
            return AnswerResult(process_id, answered.input_type, answered.step, answered.regenerates, replayed=False)

        return await self._transact(work)

    async def pause(self, process_id: UUID) -> ControlResult:
        """Stops the process where it is; a step under way is done again later. Raises ActionNotAllowed."""
        return await self._transact(lambda db: control.pause(db, process_id))

    async def resume(self, process_id: UUID) -> ControlResult:
        """Goes on after a pause or an error; `status` is resuming, or user_input_required when the process
        stands at a gate, whose prompt is put again. Raises ActionNotAllowed."""
        return await self._transact(lambda db: control.resume(db, process_id, self._settings))

    async def cancel(self, process_id: UUID) -> ControlResult:
        """Ends the process; its last event is the cancellation. Raises ActionNotAllowed."""
        return await self._transact(lambda db: control.cancel(db, process_id))

    async def test_event(self, process_id: UUID, message: str) -> StoredEvent:
        """Appends a `test_event`, for trying out a subscription."""

        async def work(db: Connection) -> StoredEvent:
            event = (EventType.TEST_EVENT, {"message": message})
            return reading.event(process_id, await events.append_one(db, process_id, Source.API, event))

        try:
            return await self._transact(work)
        except asyncpg.ForeignKeyViolationError:
            raise NotFound("process", process_id) from None

    async def acknowledge(self, process_id: UUID, event_id: UUID, user_id: str) -> None:
        """Notes that the user has seen the event; repeating it changes nothing."""
        if not await read(lambda: events.acknowledge(self._pool, process_id, event_id, user_id)):
            raise NotFound("event", event_id)

    async def get(self, process_id: UUID) -> ProcessView:
        return await read(lambda: reading.process(self._pool, process_id))

    async def list_processes(
        self, user_id: str, *, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> ProcessPage:
        """The user's own processes. Raises InvalidCursor."""
        return await read(lambda: reading.list_processes(self._pool, user_id, status, limit, cursor))

    async def events(
        self, process_id: UUID, *, since_sequence: int = 0, limit: int = 50, event_types: Sequence[str] = ()
    ) -> EventPage:
        return await read(lambda: reading.events_page(self._pool, process_id, since_sequence, event_types, limit))

    async def get_article(self, article_id: UUID, viewer_id: str | None = None) -> ArticleView:
        return await read(lambda: reading.article(self._pool, article_id, viewer_id))

    async def list_articles(self, user_id: str, *, limit: int = 50, cursor: str | None = None) -> ArticlePage:
        """The user's own articles. Raises InvalidCursor."""
        return await read(lambda: reading.list_articles(self._pool, user_id, limit, cursor))

    async def queue_status(self, user_id: str | None = None) -> QueueStatus:
        """The whole queue and its workers; with `user_id` the tasks of that user's processes alone."""
        return await read(lambda: reading.queue_status(self._pool, self._settings.lease_seconds, user_id))

    async def _transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        return await transact(self._pool, work)


def _template_id(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise StyleTemplateNotFound(text or "") from None


def _digest(value: object) -> str:
    """A digest of a JSON value that does not depend on the order of its keys."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
