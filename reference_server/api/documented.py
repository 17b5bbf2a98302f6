"""The error answers a route documents; the shape is always the same."""

from __future__ import annotations

from typing import Any

from reference_server.api.schemas import ErrorAnswer

_TEXT = {
    401: "The token is missing or was refused.",
    403: "The caller is known and not allowed to do this.",
    404: "It does not exist, or the caller may not see it.",
    409: "Not possible in the process's present state.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "The request is invalid; details names the fields.",
    503: "Something the server needs, such as the database, does not answer.",
    504: "The request took too long.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for `statuses` and those every route of the API has."""
    everywhere = (401, 413, 415, 422, 503, 504)
    return {status: {"model": ErrorAnswer, "description": _TEXT[status]} for status in sorted({*everywhere, *statuses})}
