"""The probe: a process of our own to write events to, and subscriptions to it.

Its rows belong to a user called `toolkit_probe_<random>` and are removed at the end, even after an error; what a killed
run leaves behind, a run an hour later removes.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import asyncpg
import orjson

from toolkit.accounts import Account
from toolkit.client.auth import TokenSource
from toolkit.client.connection import Connection as RealtimeConnection
from toolkit.client.connection import Endpoint, Frame
from toolkit.client.errors import NotReached
from toolkit.client.events import EventPage, event_from_row
from toolkit.client.generation import GenerationClient
from toolkit.errors import ToolkitError
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import probes
from toolkit.sql.diagnosis import queries
from toolkit.targets.target import Target

_SQL = queries()
_DEADLINE_S = 15.0


@dataclass(frozen=True)
class Written:
    """A written event: its id, and the times (monotonic seconds) between which it was committed."""

    id: str
    sent_at: float
    answered_at: float


class ProbeProcess(Protocol):
    """A process that exists only to have events written to it."""

    user: str
    process_id: str

    async def write(self) -> Written:
        """Commit one event. Raises ToolkitError when the target refuses it."""
        ...

    async def page(self, process_id: str, since_sequence: int, /) -> EventPage:
        """Read its events after a sequence, as a stream does."""
        ...


@asynccontextmanager
async def probe_process(target: Target, owner: Account | None = None) -> AsyncIterator[ProbeProcess]:
    """A probe process for the length of the block: made in the database or, without DATABASE_URL, over the API, where
    it remains as a cancelled process.

    It belongs to `owner`, or to a user of its own. Raises ToolkitError when it cannot be made either way.
    """
    user = owner.subject if owner else f"{probes.USER_PREFIX}{secrets.token_hex(6)}"
    if target.database_url is None:
        target.require("API_URL")
        tokens = owner.tokens if owner else target.user_token(user)
        async with GenerationClient(target.get("API_URL"), tokens) as client:
            started = await client.start_article_generation(initial_keywords=["toolkit probe"])
            await client.cancel(started.process_id)
            yield _ByApi(user, started.process_id, client)
        return
    url, process_id = target.database_url, None
    try:
        async with connected(url, "toolkit probe") as conn:
            for statement in probes.REMOVE_STALE:
                await conn.execute(statement, timeout=_DEADLINE_S)
            process_id = str(await conn.fetchval(_SQL["create_probe"], user, timeout=_DEADLINE_S))
            yield _ByDatabase(user, process_id, conn)
    except asyncpg.PostgresError as error:
        raise ToolkitError(
            f"The probe's process could not be written: {error}",
            "Apply the migrations (toolkit migrate up), and connect as a role that may write the tables.",
        ) from error
    finally:
        if process_id is not None:
            await asyncio.shield(_remove(url, process_id))


async def _remove(url: str, process_id: str) -> None:
    # The next probe tries again, and the checks of the database report the failure itself.
    with contextlib.suppress(ToolkitError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        async with connected(url, "toolkit probe: clean-up") as conn:
            await conn.execute(_SQL["remove_probe"], process_id, timeout=_DEADLINE_S)


class _ByDatabase:
    def __init__(self, user: str, process_id: str, conn: Connection) -> None:
        self.user = user
        self.process_id = process_id
        self._conn = conn
        self._lock = asyncio.Lock()

    async def write(self) -> Written:
        async with self._lock:
            sent = time.monotonic()
            try:
                found = await self._conn.fetchval(
                    _SQL["write_probe"], self.process_id, '{"message": "toolkit probe"}', timeout=_DEADLINE_S
                )
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                raise ToolkitError(
                    f"create_process_event failed: {type(error).__name__}: {error}",
                    "toolkit migrate verify shows what is wrong with the function or its tables.",
                ) from error
        return Written(str(found), sent, time.monotonic())

    async def page(self, process_id: str, since_sequence: int, /) -> EventPage:
        async with self._lock:
            try:
                rows = await self._conn.fetch(_SQL["events_after"], process_id, since_sequence, timeout=_DEADLINE_S)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                # The error a stream expects when a read fails for now.
                raise NotReached(
                    f"The probe's events cannot be read: {type(error).__name__}: {error}", definite=True
                ) from (error)
        at = time.monotonic()
        events = [{**row, "event_data": orjson.loads(row["event_data"])} for row in rows]
        return EventPage(tuple(event_from_row(event, via="backfill", received_at=at) for event in events))


class _ByApi:
    def __init__(self, user: str, process_id: str, client: GenerationClient) -> None:
        self.user = user
        self.process_id = process_id
        self._client = client

    async def write(self) -> Written:
        sent = time.monotonic()
        made = await self._client.test_event(self.process_id, "toolkit probe")
        return Written(made.event_id, sent, time.monotonic())

    async def page(self, process_id: str, since_sequence: int, /) -> EventPage:
        return await self._client.events(process_id, since_sequence)


class Subscriber:
    """One subscription of the official client for the length of the block: `async with Subscriber(…) as subscriber`."""

    def __init__(self, target: Target, process_id: str, token: str, *, deadline_s: float = 10.0) -> None:
        self.rows: list[tuple[str, float]] = []
        self.is_joined = self.is_live = False
        self.live_after_s: float | None = None
        self.trouble = ""
        self._deadline_s = deadline_s
        self._begun = time.monotonic()
        self._changed = asyncio.Event()
        endpoint = Endpoint(
            target.get("SUPABASE_URL"), target.get("SUPABASE_ANON_KEY"), join_timeout_s=max(1, round(deadline_s))
        )
        self._connection = RealtimeConnection(1, endpoint, process_id, TokenSource(token), self)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Subscriber:
        self._begun = time.monotonic()
        self._task = asyncio.create_task(self._connection.run(), name="probe subscription")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def settled(self) -> bool:
        """Whether it went live; returns within the deadline, or as soon as it is clear that it will not."""
        return await self._until(lambda: self.is_live or bool(self.trouble)) and self.is_live

    async def received(self, ids: frozenset[str]) -> bool:
        """Whether all of `ids` arrived within the deadline."""
        return await self._until(lambda: ids <= {id for id, _ in self.rows})

    async def _until(self, is_so: Any) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._deadline_s):
                while not is_so():
                    self._changed.clear()
                    await self._changed.wait()
        return bool(is_so())

    # -- what the connection tells ------------------------------------------------------------

    def joined(self) -> None:
        self.is_joined = True
        self._changed.set()

    def live(self) -> None:
        self.is_live = True
        self.live_after_s = time.monotonic() - self._begun
        self._changed.set()

    def row(self, record: Mapping[str, Any], at: float) -> None:
        self.rows.append((str(record.get("id")), at))
        self._changed.set()

    def lost(self, reason: str) -> None:
        self.is_live = False
        self.trouble = self.trouble or reason
        self._changed.set()

    def frame(self, frame: Frame) -> None:
        if frame.kind == "system" and frame.payload.get("status") == "error":
            self.trouble = str(frame.payload.get("message"))
            self._changed.set()
