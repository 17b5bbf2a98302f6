"""A verified token, and the reasons for which one is refused. Pure.

Each failure is a class of its own, because the HTTP API and Realtime word them differently.

TokenError
├── MalformedToken      not a JWT at all
├── UnsupportedAlgorithm  `alg` is none, unknown, or no key of that family is configured
├── BadSignature        the signature does not fit the key
├── MissingClaims       `role` or `exp` absent or of the wrong type
├── ExpiredToken        `exp` is past; knows by how many seconds
├── NotYetValidToken    `nbf` is in the future
└── KeysUnavailable     the JWKS could not be fetched, so nothing can be said about the token
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class TokenError(Exception):
    """A token was refused. `code` is stable, `message` says what, `remedy` what to do next."""

    code = "token_invalid"
    message = "The token was refused"
    remedy = "Sign in again to obtain a new token."

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.message
        super().__init__(self.message)


class MalformedToken(TokenError):
    code = "token_malformed"
    message = "The token provided is not a valid JWT"
    remedy = "Send the access token itself: three base64url parts separated by dots."


class UnsupportedAlgorithm(TokenError):
    code = "token_algorithm"
    message = "The token is signed with an algorithm this project does not use"
    remedy = "Use a token of this project: HS256 with its secret, or an algorithm of its JWKS."


class BadSignature(TokenError):
    code = "token_signature"
    message = "Failed to validate JWT signature"
    remedy = "Use a token of this project; check SUPABASE_JWT_SECRET or the JWKS URL."


class MissingClaims(TokenError):
    code = "token_claims"
    message = "Fields `role` and `exp` are required in JWT"
    remedy = "Mint the token with `role` (text) and `exp` (seconds since 1970)."


class ExpiredToken(TokenError):
    """`seconds_ago` is whole seconds since `exp`, never negative."""

    code = "token_expired"
    remedy = "Refresh the session and send the new access token."

    def __init__(self, seconds_ago: int) -> None:
        super().__init__(f"Token has expired {seconds_ago} seconds ago")
        self.seconds_ago = seconds_ago


class NotYetValidToken(TokenError):
    code = "token_not_yet_valid"
    message = "The token is not valid yet"
    remedy = "Check the clock of the machine that issued the token (`nbf`)."


class KeysUnavailable(TokenError):
    code = "token_keys_unavailable"
    message = "The keys that verify this token could not be fetched"
    remedy = "Check that the JWKS URL answers, then try again."


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """Claims whose signature, role and expiry were checked. `expires_at` in seconds since 1970."""

    claims: Mapping[str, Any]
    role: str
    subject: str | None
    expires_at: float

    def expired(self, now: float) -> ExpiredToken | None:
        """The error to report when this token is past its time at `now`, else None."""
        return ExpiredToken(int(now - self.expires_at)) if now >= self.expires_at else None
