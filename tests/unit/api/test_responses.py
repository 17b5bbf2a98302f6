"""Every exception becomes words of the one shape; what a client need not know stays out."""

from __future__ import annotations

import uuid

import asyncpg
import pytest
from starlette.exceptions import HTTPException

from reference_server.api.http_errors import Conflict, Unauthorized
from reference_server.api.responses import error_body, worded
from reference_server.generation import errors as generation
from reference_server.store.pool import CommitUnknown
from toolkit.contract.prompts import InputType
from toolkit.contract.statuses import Action, IllegalTransition, Status

TOO_LARGE = asyncpg.CheckViolationError("x")
TOO_LARGE.constraint_name = "process_events_small"
CASES = [
    (TOO_LARGE, 413, "event_too_large"),
    (asyncpg.CheckViolationError("x"), 500, "internal_error"),
    (Conflict("m", code="c"), 409, "c"),
    (IllegalTransition(Status.COMPLETED, Action.PAUSE), 409, "illegal_transition"),
    (generation.NotFound("process", uuid.uuid4()), 404, "not_found"),
    (generation.OrganizationNotFound(uuid.uuid4()), 404, "organization_not_found"),
    (generation.StyleTemplateNotFound("x"), 404, "style_template_not_found"),
    (
        generation.ActionNotAllowed(Status.COMPLETED, Action.PAUSE, frozenset({Status.IN_PROGRESS})),
        409,
        "illegal_transition",
    ),
    (generation.NotWaiting(Status.PAUSED), 409, "not_waiting_for_input"),
    (
        generation.UnexpectedResponse(InputType.SELECT_THEME, "x", frozenset({"select_theme"})),
        409,
        "unexpected_response_type",
    ),
    (generation.AnswerRefused("out_of_range", "m"), 422, "out_of_range"),
    (generation.IdempotencyKeyReused(), 409, "idempotency_key_reused"),
    (generation.ProcessUnreadable("x"), 409, "process_unreadable"),
    (generation.InvalidCursor(), 422, "invalid_cursor"),
    (CommitUnknown("x"), 503, "outcome_unknown"),
    (asyncpg.ConnectionDoesNotExistError("x"), 503, "database_unavailable"),
    (asyncpg.InternalClientError("cannot switch to state 12"), 503, "database_unavailable"),
    (ConnectionRefusedError("x"), 503, "database_unavailable"),
    (TimeoutError("x"), 503, "database_busy"),
    (asyncpg.DeadlockDetectedError("x"), 503, "database_busy"),
    (asyncpg.DiskFullError("x"), 503, "database_disk_full"),
    (asyncpg.ReadOnlySQLTransactionError("x"), 503, "database_read_only"),
    (asyncpg.OutOfMemoryError("x"), 503, "database_unavailable"),
    (asyncpg.PostgresIOError("x"), 503, "database_unavailable"),
    (asyncpg.IdleSessionTimeoutError("x"), 503, "database_unavailable"),
    (asyncpg.IdleInTransactionSessionTimeoutError("x"), 503, "database_busy"),
    (asyncpg.UndefinedTableError("x"), 503, "schema_not_migrated"),
    (HTTPException(404), 404, "route_not_found"),
    (HTTPException(405), 405, "method_not_allowed"),
    (HTTPException(400), 422, "invalid_json"),
    (RuntimeError("password is hunter2"), 500, "internal_error"),
    (asyncpg.CheckViolationError("row (1, 'private')"), 500, "internal_error"),
]


@pytest.mark.parametrize(("error", "status", "code"), CASES, ids=lambda value: type(value).__name__)
def test_words(error: Exception, status: int, code: str) -> None:
    problem = worded(error)
    assert (problem.status, problem.code) == (status, code)
    body = error_body(problem, "r")["error"]
    assert set(body) == {"code", "message", "remedy", "details", "request_id"}
    assert body["message"]
    assert body["remedy"]
    assert "hunter2" not in str(body)
    assert "private" not in str(body)


def test_details_survive_what_json_does_not() -> None:
    error = Conflict("half \ud800", details={"a": ["\ud800", float("nan"), uuid.UUID(int=0)], "s": Status.PAUSED})
    details = error_body(error, "r")["error"]["details"]
    assert details == {"a": ["?", "nan", "00000000-0000-0000-0000-000000000000"], "s": "paused"}


def test_unauthorized_asks_for_a_bearer_token() -> None:
    assert Unauthorized("no").headers == {"WWW-Authenticate": "Bearer"}


def test_every_refusal_of_a_use_case_has_a_status() -> None:
    kinds = {kind for kind in vars(generation).values() if isinstance(kind, type)}
    refusals = {kind for kind in kinds if issubclass(kind, generation.GenerationError)} - {generation.GenerationError}
    covered = {type(error) for error, _, _ in CASES}
    assert refusals <= covered
