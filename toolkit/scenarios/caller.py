"""Requests to the API, each with its invocation and its outcome in the history.

An outcome is ok (2xx), fail (it certainly had no effect) or info (it may have had one): a request that was cut off
counts neither as lost nor as done.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from toolkit.client.http import KEEPALIVE_S
from toolkit.scenarios.expect import Answer
from toolkit.scenarios.recorded.history import History, Kind

DEADLINE_S = 20.0
RETRIES = 40
RETRY_WAIT_S = 0.25
# After these errors nothing of the request can have reached the server.
_DEFINITE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class NoAnswer(Exception):
    """No answer came. `definite`: the request certainly had no effect."""

    def __init__(self, what: str, *, definite: bool) -> None:
        super().__init__(what)
        self.definite = definite


class Caller:
    """The API of one target. `token` gives a user's bearer token."""

    def __init__(self, api_url: str, token: Callable[[str], str], history: History) -> None:
        self._http = httpx.AsyncClient(
            base_url=api_url,
            timeout=DEADLINE_S,
            limits=httpx.Limits(keepalive_expiry=KEEPALIVE_S),
            trust_env=False,
        )
        self._token = token
        self._history = history

    async def close(self) -> None:
        await self._http.aclose()

    async def call(
        self,
        op: str,
        method: str,
        path: str,
        user: str | None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        process: str | None = None,
        attempts: list[int] | None = None,
    ) -> Answer:
        """Send one request and record it; `attempts` are the calls that sent it before. Raises NoAnswer."""
        actor = f"user:{user}" if user else "nobody"
        call = self._history.next_call()
        sent: dict[str, Any] = {"request": f"{method} {path}", "body": body}
        if attempts is not None:
            if attempts:
                sent["attempt_of"] = attempts[0]
            attempts.append(call)
        self._history.add("invoke", actor, op, process=process, call=call, value=sent)
        try:
            answer = await self.quietly(method, path, user, body=body, headers=headers)
        except NoAnswer as error:
            kind: Kind = "fail" if error.definite else "info"
            self._history.add(kind, actor, op, process=process, call=call, error=str(error))
            raise
        outcome: Kind = "ok" if answer.status < 300 else "info" if answer.status >= 500 else "fail"
        told = answer.body.get("error") if isinstance(answer.body, dict) else None
        value = {"status": answer.status, "request_id": answer.headers.get("x-request-id")}
        if isinstance(told, dict):
            value |= {"code": told.get("code"), "message": told.get("message")}
        if path.partition("?")[0].endswith("/generation/start") and outcome == "ok" and isinstance(answer.body, dict):
            process = str(answer.body.get("process_id"))
        self._history.add(outcome, actor, op, process=process, call=call, value=value)
        return answer

    async def command(
        self, op: str, method: str, path: str, user: str, *, body: Any = None, process: str | None = None
    ) -> Answer:
        """Send with an idempotency key, and again with the same key while no answer comes. Raises NoAnswer when none
        ever comes."""
        key = {"Idempotency-Key": str(uuid.uuid4())}
        attempts: list[int] = []
        for attempt in range(RETRIES):
            try:
                answer = await self.call(
                    op, method, path, user, body=body, headers=key, process=process, attempts=attempts
                )
            except NoAnswer:
                if attempt == RETRIES - 1:
                    raise
            else:
                if answer.status not in (502, 503, 504) or attempt == RETRIES - 1:
                    return answer
            await asyncio.sleep(RETRY_WAIT_S)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def quietly(
        self, method: str, path: str, user: str | None, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request without recording it. Raises NoAnswer."""
        sent = dict(headers or {})
        if user is not None:
            sent["Authorization"] = f"Bearer {self._token(user)}"
        try:
            async with asyncio.timeout(DEADLINE_S):
                response = await self._http.request(method, path, json=body, headers=sent)
        except _DEFINITE as error:
            raise NoAnswer(f"{type(error).__name__}: {error}", definite=True) from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}", definite=False) from error
        return Answer(response.status_code, _body(response), {k.lower(): v for k, v in response.headers.items()})


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text
