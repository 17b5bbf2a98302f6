"""Takes secrets out of JSON-like values before anything stores or shows them."""

from __future__ import annotations

from typing import Any

from toolkit.redact import MASK, redact

_SECRET_KEYS = frozenset(
    {
        "token",
        "access_token",
        "refresh_token",
        "apikey",
        "api_key",
        "authorization",
        "password",
        "secret",
        "jwt_secret",
        "service_role_key",
        "anon_key",
    }
)


def redact_value(value: Any) -> Any:
    """`value` with every text redacted; the value of a key that names a secret is hidden entirely."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {
            key: MASK if str(key).lower() in _SECRET_KEYS and item else redact_value(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_value(item) for item in value]
    return value


__all__ = ["redact", "redact_value"]
