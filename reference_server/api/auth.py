"""Who is calling: the verified bearer token of a request as a Caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from reference_server.api.http_errors import Forbidden, Unauthorized, Unavailable
from reference_server.tokens.token import KeysUnavailable, TokenError
from reference_server.tokens.verifier import TokenVerifier

SERVICE_ROLE = "service_role"
USER_ROLE = "authenticated"

# Declares the scheme in the OpenAPI document; the header is read below, where refusals are worded.
bearer_scheme = HTTPBearer(auto_error=False, bearerFormat="JWT", description="The Supabase access token.")


@dataclass(frozen=True, slots=True)
class Caller:
    """`user_id` is the token's `sub`, text of any shape; only the service role may have none.

    `expires_at` is in seconds since 1970.
    """

    user_id: str | None
    role: str
    claims: Mapping[str, Any]
    expires_at: float

    @property
    def is_service(self) -> bool:
        return self.role == SERVICE_ROLE


async def identify(verifier: TokenVerifier, authorization: str | None) -> Caller:
    """The caller of an Authorization header. Raises Unauthorized, Forbidden, Unavailable."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("the request carries no bearer token", code="token_missing")
    return await identify_token(verifier, token.strip())


async def identify_token(verifier: TokenVerifier, token: str) -> Caller:
    """The caller a token names; the same refusals as `identify`."""
    try:
        verified = await verifier.verify(token)
    except KeysUnavailable as error:
        raise Unavailable(error.message, code=error.code, remedy=error.remedy) from error
    except TokenError as error:
        raise Unauthorized(error.message, code=error.code, remedy=error.remedy) from error
    if verified.role not in (USER_ROLE, SERVICE_ROLE):
        raise Forbidden(
            f"the role {verified.role!r} may not use this API",
            code="role_not_allowed",
            remedy="Sign in: a token of role authenticated is needed, the anon key does not do.",
        )
    subject = verified.subject or None
    if subject is None and verified.role == USER_ROLE:
        raise Unauthorized("the token names no user", code="token_claims", remedy="Mint the token with `sub`.")
    if subject is not None and ("\x00" in subject or not subject.isprintable()):
        raise Unauthorized("the token's `sub` holds characters no user id has", code="token_claims")
    return Caller(subject, verified.role, verified.claims, verified.expires_at)


async def current_caller(request: Request, _scheme: Annotated[Any, Depends(bearer_scheme)]) -> Caller:
    """Dependency of every route of the API."""
    caller = await identify(request.app.state.server.verifier, request.headers.get("authorization"))
    structlog.contextvars.bind_contextvars(user_id=caller.user_id)
    return caller


async def service_caller(caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    """Dependency of the routes for the service role alone."""
    if not caller.is_service:
        raise Forbidden(
            "only the service role may do this", code="service_role_required", remedy="Use the service role key."
        )
    return caller


CallerDep = Annotated[Caller, Depends(current_caller)]
ServiceDep = Annotated[Caller, Depends(service_caller)]
