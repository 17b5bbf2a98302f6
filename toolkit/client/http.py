"""Requests to the generation API: deadlines, renewal of the token, and repetition where it is safe."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from toolkit.client.auth import TokenProvider, TokenSource
from toolkit.client.errors import ApiError, NotReached
from toolkit.redact import redact

T = TypeVar("T")

REQUEST_DEADLINE_S = 30.0
CONNECT_DEADLINE_S = 5.0
# Shorter than the five seconds after which many servers close an idle connection: a request that meets that close
# is lost without an answer.
KEEPALIVE_S = 2.0
# Statuses that may pass: the server is overloaded or starting, or a proxy cannot reach it.
_PASSING = frozenset({429, 502, 503, 504})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class RetryPolicy:
    """`attempts` in all; waits are drawn from [0, min(cap, base · 2^n)] seconds."""

    attempts: int = 4
    base_s: float = 0.2
    cap_s: float = 3.0

    def wait(self, attempt: int, told: float | None) -> float:
        """Seconds before the next attempt; the server's Retry-After (`told`) takes precedence, within the cap."""
        if told is not None:
            return min(told, 10 * self.cap_s)
        return random.uniform(0, min(self.cap_s, self.base_s * 2**attempt))  # noqa: S311 - spreading, not secrecy


class Http:
    """Requests to one base URL as one user. `http` may be shared; then whoever made it closes it."""

    def __init__(
        self,
        base_url: str,
        token: str | TokenProvider | TokenSource,
        *,
        http: httpx.AsyncClient | None = None,
        retry: RetryPolicy | None = None,
        deadline_s: float = REQUEST_DEADLINE_S,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.tokens = token if isinstance(token, TokenSource) else TokenSource(token)
        self._http = http or httpx.AsyncClient(
            timeout=httpx.Timeout(deadline_s, connect=CONNECT_DEADLINE_S),
            limits=httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=KEEPALIVE_S),
        )
        self._owned = http is None
        self._retry = retry or RetryPolicy()
        self._deadline_s = deadline_s

    async def aclose(self) -> None:
        """Close the connections, unless `http` was passed in."""
        if self._owned:
            await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        read: Callable[[httpx.Response], T],
        *,
        repeatable: bool,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send a request and return what `read` makes of its answer.

        `repeatable`: sending it twice does no harm, so an unanswered one is sent again; others are repeated
        only when they certainly were not sent. Raises ApiError and NotReached.
        """
        request = self._http.build_request(
            method,
            self.base_url + path,
            params={name: value for name, value in (params or {}).items() if value is not None},
            json=body,
            headers=dict(headers or {}),
        )
        refused: str | None = None
        attempt = 0
        while True:
            told: float | None = None
            try:
                token = await self.tokens.get(refused=refused)
                request.headers["Authorization"] = f"Bearer {token}"
                response = await self._send(request)
            except NotReached as error:
                if attempt + 1 >= self._retry.attempts or not (repeatable or error.definite):
                    raise
            else:
                if response.status_code == 401 and refused is None and self.tokens.renewable:
                    refused = token
                    continue
                passing = response.status_code in _PASSING and (repeatable or response.status_code == 429)
                if not passing or attempt + 1 >= self._retry.attempts:
                    return _result(response, read)
                told = _retry_after(response)
            await asyncio.sleep(self._retry.wait(attempt, told))
            attempt += 1

    async def _send(self, request: httpx.Request) -> httpx.Response:
        what = f"{request.method} {request.url.copy_with(query=None)}"
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._http.send(request)
        except (*_NEVER_SENT, httpx.UnsupportedProtocol) as error:
            raise NotReached(f"{what}: no connection ({_words(error)}).", definite=True) from error
        except httpx.HTTPError as error:
            raise NotReached(f"{what}: no answer ({_words(error)}).", definite=False) from error
        except TimeoutError:
            raise NotReached(f"{what}: no answer within {self._deadline_s:g} s.", definite=False) from None


def _result(response: httpx.Response, read: Callable[[httpx.Response], T]) -> T:
    if not response.is_success:
        raise _refusal(response)
    try:
        return read(response)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ApiError(
            response.status_code,
            "bad_response",
            f"{response.request.method} {response.request.url.path} answered something else than agreed: "
            f"{type(error).__name__} {error}; it began with {redact(response.text[:200])!r}",
            "Check that the address is that of the generation API, and its version.",
            request_id=response.headers.get("x-request-id"),
        ) from error


def _refusal(response: httpx.Response) -> ApiError:
    request_id = response.headers.get("x-request-id")
    try:
        told = response.json()["error"]
        return ApiError(
            response.status_code,
            str(told["code"]),
            str(told["message"]),
            str(told.get("remedy") or "See the message."),
            request_id=told.get("request_id") or request_id,
            details=told.get("details"),
        )
    except (ValueError, KeyError, TypeError):
        # A proxy, or another server.
        return ApiError(
            response.status_code,
            "http_error",
            f"{response.request.method} {response.request.url.path} was refused with {response.status_code} "
            f"{response.reason_phrase}: {redact(response.text[:200])!r}",
            "Check the address, and what stands between here and the server.",
            request_id=request_id,
        )


def _retry_after(response: httpx.Response) -> float | None:
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
