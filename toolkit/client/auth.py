"""A user's token, renewed before it expires."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from toolkit.targets.tokens import expires_at

TokenProvider: TypeAlias = Callable[[], Awaitable[str]]

PROVIDER_DEADLINE_S = 15.0
# Supabase's own clients renew ninety seconds ahead; a short-lived token at four fifths of its life.
MARGIN_S = 90.0


class TokenSource:
    """One token for HTTP and Realtime alike: fixed, or from a provider that is asked again before `exp`."""

    def __init__(self, token: str | TokenProvider) -> None:
        self._provider: TokenProvider | None = None if isinstance(token, str) else token
        self._token: str | None = token if isinstance(token, str) else None
        self._obtained = time.time()
        self._lock = asyncio.Lock()

    @property
    def renewable(self) -> bool:
        """Whether asking again can bring another token."""
        return self._provider is not None

    async def get(self, *, refused: str | None = None) -> str:
        """A token that is valid for a while. `refused`: the server did not accept this one, so bring another.

        Raises whatever the provider raises, and TimeoutError when it does not answer.
        """
        if self._provider is None:
            assert self._token is not None
            return self._token
        async with self._lock:
            due = self.renew_at()
            if self._token is None or self._token == refused or (due is not None and time.time() >= due):
                async with asyncio.timeout(PROVIDER_DEADLINE_S):
                    self._token = await self._provider()
                self._obtained = time.time()
            return self._token

    def renew_at(self) -> float | None:
        """When (seconds since 1970) the token should be renewed; None when it cannot be or never expires."""
        exp = expires_at(self._token) if self._token and self.renewable else None
        if exp is None:
            return None
        return exp - min(MARGIN_S, (exp - self._obtained) / 5)
