"""The errors of the HTTP API: status, code, message and remedy as the client reads them.

ServerError
├── Unauthorized        401  the token is missing or was refused
├── Forbidden           403  the caller is known and not allowed to do this
├── NotFound            404  it does not exist, or the caller may not see it
├── MethodNotAllowed    405
├── Conflict            409  not possible in the process's present state
├── PayloadTooLarge     413
├── UnsupportedMediaType 415 a body that is not declared as JSON
├── Invalid             422  the request itself is wrong
├── Unavailable         503  something the server needs does not answer
└── DeadlineExceeded    504  the request took too long
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ServerError(Exception):
    """`code` is stable snake_case, `message` says what happened, `remedy` what to do next, `details` holds facts."""

    status = 500
    code = "internal_error"
    remedy = "Try again; if it persists, report the request id."

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        remedy: str | None = None,
        details: Mapping[str, Any] | list[Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.remedy = remedy or self.remedy
        self.details: Mapping[str, Any] | list[Any] = {} if details is None else details
        self.headers: Mapping[str, str] = headers or {}


class Unauthorized(ServerError):
    status = 401
    code = "unauthorized"
    remedy = "Send `Authorization: Bearer <access token>`."

    def __init__(self, message: str, **options: Any) -> None:
        super().__init__(message, **({"headers": {"WWW-Authenticate": "Bearer"}} | options))


class Forbidden(ServerError):
    status = 403
    code = "forbidden"
    remedy = "Ask the owner of the process."


class NotFound(ServerError):
    status = 404
    code = "not_found"
    remedy = "Check the id, and that the token is the owner's."


class MethodNotAllowed(ServerError):
    status = 405
    code = "method_not_allowed"
    remedy = "See /docs for the methods of this path."


class Conflict(ServerError):
    status = 409
    code = "conflict"
    remedy = "Read the process's state and act on that."


class PayloadTooLarge(ServerError):
    status = 413
    code = "payload_too_large"


class UnsupportedMediaType(ServerError):
    status = 415
    code = "unsupported_media_type"
    remedy = "Send Content-Type: application/json."


class Invalid(ServerError):
    status = 422
    code = "validation_failed"
    remedy = "Correct the fields named in details; /docs shows the shape of every request."


class Unavailable(ServerError):
    status = 503
    code = "unavailable"
    remedy = "Try again in a few seconds."

    def __init__(self, message: str, **options: Any) -> None:
        super().__init__(message, **({"headers": {"Retry-After": "2"}} | options))


class DeadlineExceeded(ServerError):
    status = 504
    code = "deadline_exceeded"
    remedy = "Read the process's state before repeating the request; send an Idempotency-Key when you repeat it."
