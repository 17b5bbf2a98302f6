"""Changes of a process inside a transaction that has locked its row, shared by users' commands and workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID, uuid5

from reference_server.generation.context import ArticleContext, ContextUnreadable, from_json, to_json
from reference_server.generation.errors import ProcessUnreadable
from reference_server.generation.prompts import prompt_data
from reference_server.store import articles, events, processes, tasks
from reference_server.store.pool import Connection
from toolkit.contract.events import EventType, Source
from toolkit.contract.prompts import BY_STEP, PROMPT_TIMEOUT_MINUTES
from toolkit.contract.statuses import Action, Status, advance
from toolkit.contract.steps import Step
from toolkit.contract.tasks import TaskType


@dataclass(frozen=True)
class ServiceSettings:
    """`lease_seconds` after its last heartbeat a task is taken from its worker; retries wait
    `retry_base_seconds`, doubling."""

    prompt_timeout_minutes: int = PROMPT_TIMEOUT_MINUTES
    max_retries: int = 3
    retry_base_seconds: int = 60
    lease_seconds: float = 30
    max_rescues: int = 5


def running_status(context: ArticleContext) -> Status:
    """The status of a running process: auto mode has one of its own."""
    return Status.AUTO_PROGRESSING if context.request.auto_mode else Status.IN_PROGRESS


def with_next_revision(context: ArticleContext) -> ArticleContext:
    """The context with the revision under which it is about to be stored."""
    return replace(context, revision=context.revision + 1)


def next_task(
    process_id: UUID,
    context: ArticleContext,
    step: Step,
    task_type: TaskType,
    *,
    settings: ServiceSettings,
    created_by: str,
) -> tuple[ArticleContext, tasks.NewTask]:
    """The task that will work on `step`, and the context that knows of it.

    The id is derived from the process and the turn, so that one turn cannot become two tasks.
    """
    context = replace(context, turn=context.turn + 1)
    return context, tasks.NewTask(
        id=uuid5(process_id, f"turn {context.turn}"),
        task_type=task_type,
        data={"step": step, "round": context.round_of(step), "turn": context.turn},
        max_retries=settings.max_retries,
        retry_delay_s=settings.retry_base_seconds,
        created_by=created_by,
    )


async def ask(
    db: Connection,
    process_id: UUID,
    gate: Step,
    context: ArticleContext,
    settings: ServiceSettings,
    *,
    reopen: bool = False,
) -> None:
    """Opens the prompt of `gate`, of a paused process only to `reopen` it; the database appends
    `user_input_required`."""
    await processes.wait_for_input(
        db,
        process_id,
        BY_STEP[gate].input_type,
        settings.prompt_timeout_minutes,
        prompt_data(gate, context),
        reopen=reopen,
    )


async def fail(db: Connection, process_id: UUID, status: Status, step: str, message: str) -> None:
    """Ends the process in error; `generation_error` is its last event. Raises IllegalTransition."""
    await processes.fail(db, process_id, status=advance(status, Action.FAIL), message=message, resume_from=step)
    data = {
        "error_message": message[:1000],
        "step_name": step,
        "message": f"The generation stopped at {step}; it can be resumed.",
        "error_time": now(),
    }
    await events.append(db, process_id, Source.WORKER, (EventType.GENERATION_ERROR, data))


async def complete(db: Connection, process_id: UUID, status: Status, context: ArticleContext) -> UUID:
    """Saves the article and ends the process; `generation_completed` is its last event.

    Raises IllegalTransition, and ValueError when the context holds no article.
    """
    article = context.article
    if article is None:
        raise ValueError("the context holds no article")
    request, persona = context.request, context.selected_persona
    article_id = await articles.save(
        db,
        process_id,
        title=article.title,
        content=article.html,
        keywords=request.initial_keywords,
        target_audience=persona.description if persona else request.target_age_group,
        # By id: a writer may have described the same picture in two sections.
        placeholders=list(
            {
                p.placeholder_id: (p.placeholder_id, p.description_jp, p.prompt_en, p.alt_text)
                for p in context.image_placeholders
            }.values()
        ),
    )
    await processes.complete(
        db,
        process_id,
        status=advance(status, Action.COMPLETE),
        article_id=article_id,
        content={"title": article.title, "content": article.html},
    )
    data = {
        "title": article.title,
        "article_id": str(article_id),
        "message": "The article is finished.",
        "completion_time": now(),
    }
    await events.append(db, process_id, Source.WORKER, (EventType.GENERATION_COMPLETED, data))
    return article_id


def context_of(state: processes.Locked) -> ArticleContext:
    """Raises ProcessUnreadable."""
    try:
        return from_json(state.article_context)
    except ContextUnreadable as error:
        raise ProcessUnreadable(str(error)) from error


def document(context: ArticleContext) -> processes.Document:
    return to_json(context)


def now() -> str:
    """The present time as ISO 8601 text, for people to read; no decision uses it."""
    return datetime.now(UTC).isoformat()
