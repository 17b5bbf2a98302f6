"""Takes secrets out of text and values before anything stores or shows them."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"

_JWT = re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?")
_URL_PASSWORD = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<user>[^/\s:@]*):(?P<password>[^/\s@]+)@", re.IGNORECASE
)
_QUERY = re.compile(
    r"(?P<key>[?&](?:token|apikey|access_token|api_key|key|password|sslpassword)=)[^&\s\"']+", re.IGNORECASE
)
_BEARER = re.compile(r"\b(?P<word>Bearer\s+)[^\s\"',}]+", re.IGNORECASE)
_SUPABASE_KEY = re.compile(r"\bsb_(?:secret|publishable)_[\w-]+")
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


def redact(text: str) -> str:
    """`text` with passwords in URLs, tokens in queries, bearer tokens, JWTs and Supabase keys hidden."""
    text = _URL_PASSWORD.sub(rf"\g<scheme>\g<user>:{HIDDEN}@", text)
    text = _QUERY.sub(rf"\g<key>{HIDDEN}", text)
    text = _BEARER.sub(rf"\g<word>{HIDDEN}", text)
    text = _SUPABASE_KEY.sub(HIDDEN, text)
    return _JWT.sub(HIDDEN, text)


def redact_value(value: Any) -> Any:
    """The same for JSON-like values; the value of a key that names a secret is hidden whole."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {
            key: HIDDEN if str(key).lower() in _SECRET_KEYS and item else redact_value(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_value(item) for item in value]
    return value
