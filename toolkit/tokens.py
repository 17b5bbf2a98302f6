"""Tokens as Supabase mints them: JWTs signed with the project's HS256 secret."""

from __future__ import annotations

import re
import time
from typing import Any

import jwt

from toolkit.errors import UsageError

ALGORITHM = "HS256"
# Supabase's own anon and service_role keys are valid for ten years.
API_KEY_TTL_S = 10 * 365 * 24 * 3600
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def mint(secret: str, *, sub: str, role: str = "authenticated", ttl_s: int = 3600, **claims: Any) -> str:
    """A signed token for user `sub` that expires in `ttl_s` seconds (negative: already expired).

    Further claims are added as they are and win over the defaults.
    """
    now = int(time.time())
    body = {"aud": role, "sub": sub, "role": role, "iat": now, "exp": now + ttl_s, **claims}
    return jwt.encode(body, secret, algorithm=ALGORITHM)


def mint_api_key(secret: str, role: str) -> str:
    """A long-lived key for `anon` or `service_role`; it names no user."""
    now = int(time.time())
    body = {"iss": "supabase", "role": role, "iat": now, "exp": now + API_KEY_TTL_S}
    return jwt.encode(body, secret, algorithm=ALGORITHM)


def lifetime(token: str) -> tuple[float | None, float] | None:
    """The token's `iat` (None: it has none) and `exp` in seconds since 1970, unverified; None when it never expires."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(expires, int | float):
        return None
    return float(issued) if isinstance(issued, int | float) and issued < expires else None, float(expires)


def parse_duration(text: str) -> int:
    """`90`, `90s`, `15m`, `1h` or `7d` → seconds. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,12})([smhd]?)", text.strip())
    if not match or int(match.group(1)) == 0:
        raise UsageError(
            f"{text!r} is not a duration.",
            "Write a whole number of at least 1 with a unit: 90s, 15m, 1h or 7d.",
        )
    return int(match.group(1)) * _UNITS[match.group(2) or "s"]
