"""Verification of the project's JWTs, shared by the HTTP API and Realtime: with its secret, or the keys of its JWKS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, TypeGuard

import httpx
import jwt

from reference_server.tokens.token import (
    BadSignature,
    KeysUnavailable,
    MalformedToken,
    MissingClaims,
    NotYetValidToken,
    UnsupportedAlgorithm,
    VerifiedToken,
)

SHORTEST_SECRET: Final = 32  # bytes, of HS256: RFC 7518 asks for as many as the hash has
SECRET_ALGORITHMS: Final = frozenset({"HS256", "HS384", "HS512"})
# The key type an asymmetric algorithm needs. A key of another type is never tried: that is what
# makes algorithm confusion (an RSA public key used as an HMAC secret) impossible.
KEY_TYPES: Final[Mapping[str, str]] = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "ES256": "EC",
    "ES384": "EC",
    "ES512": "EC",
    "EdDSA": "OKP",
}

# As PostgREST has it: the clocks of the issuer and of this machine need not agree to the second.
CLOCK_LEEWAY_S: Final = 30.0


class TokenVerifier:
    """Verifies tokens against the project's secret and, when given, its JWKS.

    `jwks` is a static key set (`{"keys": [...]}`), `jwks_url` one to fetch and keep for `jwks_ttl_s`;
    an unknown `kid` refreshes it early, at most every `refresh_cooldown_s`.
    """

    def __init__(
        self,
        secret: str | None = None,
        *,
        jwks: Mapping[str, Any] | None = None,
        jwks_url: str | None = None,
        clock: Callable[[], float] = time.time,
        http: httpx.AsyncClient | None = None,
        timeout_s: float = 5.0,
        jwks_ttl_s: float = 600.0,
        refresh_cooldown_s: float = 10.0,
    ) -> None:
        if not secret and jwks is None and jwks_url is None:
            raise ValueError("TokenVerifier needs a secret, a key set or a JWKS URL: set SUPABASE_JWT_SECRET")
        self._secret = secret
        self._static = _index(jwks) if jwks is not None else {}
        self._url = jwks_url
        self._clock = clock
        self._http = http
        self._owns_http = http is None
        self._timeout_s = timeout_s
        self._ttl_s = jwks_ttl_s
        self._cooldown_s = refresh_cooldown_s
        self._fetched: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._attempted_at: float | None = None
        self._failed = False  # the latest attempt
        self._lock = asyncio.Lock()

    async def verify(self, token: str) -> VerifiedToken:
        """The token's claims; raises a TokenError."""
        algorithm, kid = _header(token)
        if algorithm in SECRET_ALGORITHMS:
            claims = self._verify_secret(token, algorithm, kid)
        elif algorithm in KEY_TYPES:
            claims = _decode(token, algorithm, await self._public_key(algorithm, kid))
        else:
            raise UnsupportedAlgorithm()
        return self._check_claims(claims)

    async def aclose(self) -> None:
        if self._owns_http and self._http is not None:
            await self._http.aclose()
            self._http = None

    async def __aenter__(self) -> TokenVerifier:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _verify_secret(self, token: str, algorithm: str, kid: str | None) -> Mapping[str, Any]:
        # An unknown kid means the project's secret; it must not cause a fetch, the secret is never published.
        key = self._known(kid)
        if key is not None and key.key_type == "oct":
            return _decode(token, algorithm, key.key)
        if self._secret is None:
            raise UnsupportedAlgorithm()
        return _decode(token, algorithm, self._secret)

    async def _public_key(self, algorithm: str, kid: str | None) -> Any:
        key = self._known(kid)
        if self._url is not None and (key is None or self._stale()):
            await self._refresh(required=key is None)
            key = self._known(kid)
        if key is None:
            raise BadSignature() if (self._static or self._url) else UnsupportedAlgorithm()
        if key.key_type != KEY_TYPES[algorithm] or key.algorithm_name != algorithm:
            raise BadSignature()
        return key.key

    def _known(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None:
            return None
        return self._static.get(kid) or self._fetched.get(kid)

    def _stale(self) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at >= self._ttl_s

    async def _refresh(self, *, required: bool) -> None:
        """Fetch the key set; a failure matters only when the wanted key is not held already."""
        assert self._url is not None
        if not required and self._lock.locked():
            return  # somebody fetches already, and the key that is wanted is held
        async with self._lock:
            if self._attempted_at is not None and self._clock() - self._attempted_at < self._cooldown_s:
                if required and self._failed:
                    raise KeysUnavailable()
                return
            self._attempted_at, self._failed = self._clock(), True
            self._http = self._http or httpx.AsyncClient()
            try:
                async with asyncio.timeout(self._timeout_s):
                    response = await self._http.get(self._url, timeout=self._timeout_s)
                response.raise_for_status()
                self._fetched = _index(response.json())
                self._fetched_at, self._failed = self._clock(), False
            except (httpx.HTTPError, TimeoutError, ValueError) as error:
                if required:
                    raise KeysUnavailable(f"{KeysUnavailable.message}: {error or type(error).__name__}") from error

    def _check_claims(self, claims: Mapping[str, Any]) -> VerifiedToken:
        role, expires_at, not_before = claims.get("role"), claims.get("exp"), claims.get("nbf")
        if not isinstance(role, str) or not role or not _is_number(expires_at):
            raise MissingClaims()
        if "iat" in claims and not _is_number(claims["iat"]):
            raise MissingClaims("Field `iat` must be a number in JWT")
        now = self._clock()
        subject = claims.get("sub")
        token = VerifiedToken(claims, role, subject if isinstance(subject, str) else None, float(expires_at))
        if (expired := token.expired(now)) is not None:
            raise expired
        if _is_number(not_before) and float(not_before) > now + CLOCK_LEEWAY_S:
            raise NotYetValidToken()
        return token


def _header(token: str) -> tuple[str, str | None]:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, UnicodeError, ValueError) as error:
        raise MalformedToken() from error
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise MalformedToken()
    return algorithm, kid if isinstance(kid, str) else None


def _decode(token: str, algorithm: str, key: Any) -> Mapping[str, Any]:
    options: Any = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
    try:
        claims: Mapping[str, Any] = jwt.decode(token, key, algorithms=[algorithm], options=options)
    except (jwt.InvalidSignatureError, jwt.InvalidKeyError) as error:
        raise BadSignature() from error
    except (jwt.InvalidTokenError, UnicodeError, ValueError, OverflowError) as error:
        raise MalformedToken() from error
    return claims


def _index(jwks: Any) -> dict[str, jwt.PyJWK]:
    """Keys by `kid`; keys of a kind PyJWT does not know are left out. Raises ValueError if it is no key set."""
    keys = jwks.get("keys") if isinstance(jwks, Mapping) else None
    if not isinstance(keys, list):
        raise ValueError('a JWKS is an object with a list "keys"')
    found = {}
    for raw in keys:
        if not isinstance(raw, Mapping) or not isinstance(raw.get("kid"), str):
            continue
        try:
            found[raw["kid"]] = jwt.PyJWK(dict(raw))
        except (jwt.PyJWKError, jwt.InvalidKeyError):
            continue
    return found


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
