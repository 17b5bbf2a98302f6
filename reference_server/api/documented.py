"""The error answers a route documents; the shape is always the same."""

from __future__ import annotations

from typing import Any

from reference_server.api.schemas import ErrorAnswer

_TEXT = {
    401: "No token, or one that was refused.",
    403: "Known, but not allowed.",
    404: "Absent, or none of the caller's business.",
    409: "Not possible in the state the process is in.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "The request itself is wrong; details names the fields.",
    503: "Something the server needs is away.",
    504: "The request took too long.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for `statuses` and those every route of the API has."""
    everywhere = (401, 413, 415, 422, 503, 504)
    return {status: {"model": ErrorAnswer, "description": _TEXT[status]} for status in sorted({*everywhere, *statuses})}
