"""Uses the application's Supabase client: its auth session for HTTP and Realtime, and its Realtime connection.

Only methods of the official asynchronous client (`supabase.AsyncClient`) are called; supabase is not imported, so it
need not be installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import secrets
import time
from typing import TYPE_CHECKING, Any

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient

from toolkit.client.auth import TokenSource
from toolkit.client.connection import CLOSE_DEADLINE_S, drop_timers
from toolkit.client.errors import ApiError, NotReached
from toolkit.errors import UsageError
from toolkit.redact import redact
from toolkit.tokens import lifetime

if TYPE_CHECKING:
    from supabase import AsyncClient

# The client renews its session ten seconds before it ends; after that moment we ask, in case renewal is turned off.
_OURS_TO_ASK_S = 5.0
_SIGN_IN = "Sign the user in (await client.auth.sign_in_with_password(…)) and go on with a new stream."


class SessionTokens(TokenSource):
    """The access token of a Supabase client's session, as the client renews it.

    Every `get` asks the client, which renews a session that is about to end. An early renewal is requested only when a
    server refused the token, since the session belongs to the application.
    """

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(self._session_token)
        self._auth = client.auth

    async def get(self, *, refused: str | None = None) -> str:
        """The session's token. Raises NotReached (a later call may succeed), or ApiError 401 when no user is signed
        in."""
        async with self._lock:
            token = await self._ask(self._session_token)
            if token == refused:
                token = await self._ask(self._renewed_token)
            self.renewed(token)
            return token

    def renewed(self, token: str | None) -> None:
        """Called by the client when the session has a new token (None: it ended), to keep `current` up to date."""
        if token is not None and token != self._token:
            self._token, self._obtained = token, time.time()

    def renew_at(self) -> float | None:
        """When (seconds since 1970) to ask for the token again; None before the first and when it never expires."""
        span = lifetime(self._token) if self._token else None
        return None if span is None else span[1] - _OURS_TO_ASK_S

    async def _session_token(self) -> str:
        return self._token_of(await self._auth.get_session())

    async def _renewed_token(self) -> str:
        return self._token_of((await self._auth.refresh_session()).session)

    async def _ask(self, provider: Any) -> str:
        """As for any provider, but an ended session is final: a later call does not help."""
        try:
            return await super()._ask(provider)
        except NotReached as error:
            cause = error.__cause__
            if isinstance(cause, ApiError):
                raise cause from None
            status = getattr(cause, "status", None)
            if isinstance(status, int) and 400 <= status < 500 and status not in {408, 429}:
                raise ApiError(
                    status, "session_refused", f"The session is over: {redact(str(cause))}", _SIGN_IN
                ) from cause
            raise

    @staticmethod
    def _token_of(session: Any) -> str:
        if session is None:
            raise ApiError(401, "signed_out", "Nobody is signed in on the Supabase client.", _SIGN_IN)
        return str(session.access_token)


class SharedEndpoint:
    """Channels on the Supabase client's own Realtime connection, beside those of the application.

    The client passes each renewed token (TOKEN_REFRESHED) to its channels itself. A channel that ends is left and made
    anew; the client closes its connection when the last channel was left.
    """

    def __init__(self, client: AsyncClient, join_timeout_s: int = 10) -> None:
        self.join_timeout_s = join_timeout_s
        self._client = client

    def client(self) -> AsyncRealtimeClient:
        """The Supabase client's connection."""
        return self._client.realtime

    def topic(self, name: str) -> str:
        """A unique topic, since a client returns the existing channel for a topic it knows."""
        return f"{name}:{secrets.token_hex(4)}"

    async def release(self, client: AsyncRealtimeClient, channel: AsyncRealtimeChannel | None) -> None:
        """Leave the channel; the connection stays open."""
        if channel is None:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                await client.remove_channel(channel)
        drop_timers(channel)


def checked(client: AsyncClient) -> AsyncClient:
    """The client itself. Raises UsageError for the synchronous one, whose Realtime is only a stub."""
    if not inspect.iscoroutinefunction(client.auth.get_session):
        raise UsageError(
            "This Supabase client is the synchronous one, which cannot listen to Realtime.",
            "Make it with `await supabase.acreate_client(url, key)`.",
        )
    return client
