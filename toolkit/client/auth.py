"""A user's token, renewed before it expires."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from toolkit.client.errors import NotReached
from toolkit.redact import redact
from toolkit.tokens import lifetime

TokenProvider: TypeAlias = Callable[[], Awaitable[str]]

PROVIDER_DEADLINE_S = 15.0
# Seconds before `exp`, as in Supabase's own clients; a short-lived token is renewed after four fifths of its life.
MARGIN_S = 90.0
_SKEW_S = 5.0


class TokenSource:
    """One token for both HTTP and Realtime: fixed, or from a provider that is asked again before `exp`."""

    def __init__(self, token: str | TokenProvider) -> None:
        self._provider: TokenProvider | None = None if isinstance(token, str) else token
        self._token: str | None = token if isinstance(token, str) else None
        self._obtained = time.time()
        self._lock = asyncio.Lock()

    @property
    def renewable(self) -> bool:
        """Whether there is a provider to ask for another token."""
        return self._provider is not None

    @property
    def current(self) -> str | None:
        """The last token obtained; None before the first."""
        return self._token

    async def get(self, *, refused: str | None = None) -> str:
        """A token that is still valid for a while. `refused`: a token that the server rejected, so that another is
        needed.

        Raises NotReached when the provider fails or does not answer; a later call may succeed.
        """
        if self._provider is None:
            assert self._token is not None
            return self._token
        async with self._lock:
            due = self.renew_at()
            if self._token is None or self._token == refused or (due is not None and time.time() >= due):
                self._token = await self._ask(self._provider)
                self._obtained = time.time()
            return self._token

    async def _ask(self, provider: TokenProvider) -> str:
        try:
            async with asyncio.timeout(PROVIDER_DEADLINE_S):
                found = await provider()
        except TimeoutError:
            raise NotReached(
                f"No token: the provider took longer than {PROVIDER_DEADLINE_S:g} s.", definite=True
            ) from None
        except Exception as error:
            raise NotReached(
                f"No token: the provider failed ({type(error).__name__}: {redact(str(error))}).", definite=True
            ) from error
        if not isinstance(found, str) or not found:
            raise NotReached(f"No token: the provider returned {type(found).__name__}, not a text.", definite=True)
        return found

    def renew_at(self) -> float | None:
        """When (seconds since 1970, our clock) the token should be renewed; None when it cannot be or never expires.

        A token that is invalid by our clock at the moment it was obtained shows that our clock differs from the
        issuer's: its lifetime is then counted from that moment.
        """
        span = lifetime(self._token) if self._token and self.renewable else None
        if span is None:
            return None
        issued, expires = span
        if not (issued or 0.0) - _SKEW_S <= self._obtained < expires:
            if issued is None:
                return None  # unknown: the server will reject it when it has expired
            expires = self._obtained + (expires - issued)
        return expires - min(MARGIN_S, (expires - self._obtained) / 5)
