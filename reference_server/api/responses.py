"""The body of every error, and what each exception becomes for the client."""

from __future__ import annotations

import math
from typing import Any

import asyncpg
import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reference_server.api.http_errors import (
    Conflict,
    DeadlineExceeded,
    Invalid,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    ServerError,
    Unavailable,
    UnsupportedMediaType,
)
from reference_server.generation import errors as generation
from reference_server.generation.errors import GenerationError
from reference_server.store.pool import CommitUnknown
from toolkit.contract.statuses import IllegalTransition

log = structlog.get_logger(__name__)

_DATABASE_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
_DATABASE_BUSY = (
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    TimeoutError,
)
_SCHEMA_DIFFERS = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)


class Json(JSONResponse):
    """JSON by orjson: dates as ISO 8601, uuids as text."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)


def error_body(error: ServerError, request_id: str) -> dict[str, Any]:
    """`{"error": {code, message, remedy, details, request_id}}`."""
    return {
        "error": {
            "code": error.code,
            "message": printable(error.message),
            "remedy": printable(error.remedy),
            "details": _plain(error.details),
            "request_id": request_id,
        }
    }


def error_response(error: ServerError, request_id: str) -> Response:
    return Json(error_body(error, request_id), status_code=error.status, headers=dict(error.headers))


def worded(error: BaseException) -> ServerError:
    """The error that the client receives for `error`; its internal details stay in the log."""
    match error:
        case ServerError():
            return error
        case GenerationError():
            return _generation(error)
        case CommitUnknown():
            return Unavailable(
                "the database was lost while it committed; the request may or may not have been carried out",
                code="outcome_unknown",
                remedy="Read the process's state, or repeat the request with the same Idempotency-Key.",
            )
        case IllegalTransition():
            return illegal_transition(error)
        case RequestValidationError():
            return _validation(error)
        case HTTPException():
            return _http(error)
        case _ if isinstance(error, _SCHEMA_DIFFERS):
            return Unavailable(
                "the database does not have the schema this route needs",
                code="schema_not_migrated",
                remedy="Apply the migrations: `toolkit migrate up`.",
            )
        case asyncpg.CheckViolationError(constraint_name="process_events_small"):
            return PayloadTooLarge(
                "what was sent makes an event larger than 262,144 bytes, which is as much as one holds",
                code="event_too_large",
                remedy="Send less; large contents belong into the process, not into an answer to its prompt.",
            )
        case asyncpg.DiskFullError():
            return Unavailable(
                "the database's disk is full: nothing can be written until there is room",
                code="database_disk_full",
                remedy="Make room on the database's disk (on Supabase: Settings, Compute and Disk), then try again.",
                headers={"Retry-After": "60"},
            )
        case asyncpg.ReadOnlySQLTransactionError():
            return Unavailable(
                "the database accepts no writes: its operator made it read only (Supabase does when the disk is nearly "
                "full), or it is a standby",
                code="database_read_only",
                remedy="Have the operator make it writable, or point DATABASE_URL to the primary; then try again.",
                headers={"Retry-After": "60"},
            )
        case _ if isinstance(error, _DATABASE_BUSY):
            return Unavailable("the database did not answer in time", code="database_busy")
        case _ if isinstance(error, _DATABASE_AWAY):
            return Unavailable("the database cannot be reached", code="database_unavailable")
        case _:
            return ServerError("the server failed to handle the request")


_GENERATION: dict[type[GenerationError], type[ServerError]] = {
    generation.NotFound: NotFound,
    generation.OrganizationNotFound: NotFound,
    generation.StyleTemplateNotFound: NotFound,
    generation.ActionNotAllowed: Conflict,
    generation.NotWaiting: Conflict,
    generation.UnexpectedResponse: Conflict,
    generation.IdempotencyKeyReused: Conflict,
    generation.ProcessUnreadable: Conflict,
}


def _generation(error: GenerationError) -> ServerError:
    """The answer to a refusal of a use case; a refusal without a status of its own is an invalid request (422)."""
    kind = _GENERATION.get(type(error), Invalid)
    facts = {name: _plain(value) for name, value in vars(error).items() if name not in ("code", "remedy")}
    return kind(str(error), code=error.code, remedy=error.remedy, details=facts)


def illegal_transition(error: IllegalTransition) -> Conflict:
    allowed = sorted(error.allowed)
    return Conflict(
        f"cannot {error.action} a process that is {error.status}; allowed in: {', '.join(allowed)}",
        code="illegal_transition",
        details={"status": str(error.status), "action": str(error.action), "allowed": [str(s) for s in allowed]},
    )


def install_error_handlers(app: FastAPI) -> None:
    """Answer every exception of the routes with the one error body."""

    async def handle(request: Request, error: Exception) -> Response:
        problem = worded(error)
        if problem.status >= 500:
            log.warning("request refused", code=problem.code, cause=repr(error))
        return error_response(problem, request.scope["state"]["request_id"])

    # A TimeoutError in here is the database's: the request's own deadline shows as one in the middleware only.
    kinds: list[type[Exception]] = [
        ServerError,
        GenerationError,
        CommitUnknown,
        IllegalTransition,
        RequestValidationError,
        HTTPException,
    ]
    kinds += [*_SCHEMA_DIFFERS, *_DATABASE_AWAY, *_DATABASE_BUSY, asyncpg.ReadOnlySQLTransactionError]
    for kind in kinds:
        app.add_exception_handler(kind, handle)


def _validation(error: RequestValidationError) -> ServerError:
    if isinstance(error.body, bytes) and error.body:  # FastAPI does not parse a body that is not declared as JSON
        return UnsupportedMediaType("the body is not declared as JSON")
    details = [
        {
            "field": ".".join(str(part) for part in problem["loc"]),
            "message": printable(problem["msg"].removeprefix("Value error, ")),
            "type": problem["type"],
        }
        for problem in error.errors()
    ]
    if any(detail["type"] == "json_invalid" for detail in details):
        return Invalid("the request body is not valid JSON", code="invalid_json", details=details)
    first = details[0] if details else {"field": "request", "message": "is invalid"}
    return Invalid(f"{first['field']}: {first['message']}", details=details)


def _http(error: HTTPException) -> ServerError:
    headers = dict(error.headers or {})
    match error.status_code:
        case 400:
            return Invalid("the request body could not be read as JSON", code="invalid_json", headers=headers)
        case 404:
            return NotFound(
                "there is nothing at this path",
                code="route_not_found",
                remedy="See /docs for the paths.",
                headers=headers,
            )
        case 405:
            return MethodNotAllowed("the path does not accept this method", headers=headers)
        case 504:
            return DeadlineExceeded(str(error.detail), headers=headers)
    problem = ServerError(str(error.detail), code="http_error", headers=headers)
    problem.status = error.status_code
    return problem


def printable(text: str) -> str:
    """`text` with what cannot be encoded as UTF-8 replaced by `?`."""
    return text.encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {printable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | bool | None) else printable(str(value))
