"""Subscribers of a change feed for tests: collect what arrives, wait for it with a deadline."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from reference_server.realtime.changes.bindings import parse_bindings
from reference_server.realtime.changes.feed import ChangeFeed
from reference_server.realtime.changes.subscriptions import Subscription
from reference_server.realtime.protocol.ports import Change

DEADLINE_S = 10.0
OWNER_A = "a0000000-0000-4000-8000-00000000000a"
OWNER_B = "b0000000-0000-4000-8000-00000000000b"


def user(sub: str) -> dict[str, Any]:
    """Claims of a signed-in user."""
    return {"role": "authenticated", "sub": sub}


@dataclass
class Subscriber:
    """One subscription and everything its sink and error callback were given."""

    subscription: Subscription | None = None
    changes: list[Change] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def sink(self, change: Change) -> None:
        self.changes.append(change)
        self._news.set()

    def on_error(self, reason: str) -> None:
        self.errors.append(reason)
        self._news.set()

    @property
    def data(self) -> list[dict[str, Any]]:
        return [json.loads(change.data) for change in self.changes]

    def column(self, name: str) -> list[Any]:
        """The column's values of all records, in order of arrival."""
        return [data["record"].get(name) for data in self.data]

    async def until(self, condition: Callable[[Subscriber], bool], deadline_s: float = DEADLINE_S) -> None:
        async with asyncio.timeout(deadline_s):
            while not condition(self):
                self._news.clear()
                await self._news.wait()

    async def count(self, number: int) -> None:
        """Wait until at least that many changes arrived."""
        await self.until(lambda me: len(me.changes) >= number)

    async def record(self, column: str, value: object) -> None:
        """Wait until the latest record has this value; all that committed before it has arrived then."""
        await self.until(lambda me: bool(me.changes) and me.data[-1].get("record", {}).get(column) == value)


async def subscribe(feed: ChangeFeed, claims: dict[str, Any], *bindings: dict[str, Any]) -> Subscriber:
    """A live subscriber; a binding without event means `*` and without schema `public`."""
    found = Subscriber()
    parsed = parse_bindings([{"event": "*", "schema": "public"} | binding for binding in bindings])
    found.subscription = await feed.subscribe(parsed, claims, found.sink, on_error=found.on_error)
    return found


@asynccontextmanager
async def running_feed(dsn: str, **options: Any) -> AsyncIterator[ChangeFeed]:
    """A started feed, stopped afterwards."""
    feed = ChangeFeed(dsn, **options)
    await feed.start()
    try:
        yield feed
    finally:
        await feed.stop()
