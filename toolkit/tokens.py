"""Tokens as Supabase mints them: JWTs signed with the project's HS256 secret."""

from __future__ import annotations

import time
from typing import Any

import jwt

ALGORITHM = "HS256"
SHORTEST_SECRET = 32  # bytes: RFC 7518 asks for as many as the hash has
# Supabase's own anon and service_role keys are valid for ten years.
API_KEY_TTL_S = 10 * 365 * 24 * 3600


def too_short(secret: str) -> str:
    """What is wrong with a secret of fewer bytes than its signatures have, in a sentence without it; "" if nothing."""
    length = len(secret.encode())
    if length >= SHORTEST_SECRET:
        return ""
    return (
        f"SUPABASE_JWT_SECRET has {length} bytes: {ALGORITHM} needs {SHORTEST_SECRET} or more, "
        "or tokens can be forged by trying secrets."
    )


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
