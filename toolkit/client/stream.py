"""The lossless stream: every event of one process, once and in order, whatever happens to the connection.

    async with ProcessEventStream(url, anon_key, process_id, token=token, fetch=client.events) as stream:
        async for event in stream:
            ...

A thin shell around the recovery machine (`recovery.py`): it provides the clock, one connection of the official Realtime
client, and one HTTP read at a time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from toolkit.client.auth import TokenProvider, TokenSource
from toolkit.client.connection import CLOSE_DEADLINE_S, Connection, Endpoint, Frame, Listener, RealtimeEndpoint
from toolkit.client.effects import (
    Connect,
    Deliver,
    Disconnect,
    Effect,
    End,
    Fetch,
    HistoryExpired,
    HistoryRestarted,
    Stalled,
)
from toolkit.client.errors import ApiError, ClientError, HistoryGap, HistoryRestart, NotReached, StreamFailed
from toolkit.client.events import EventPage, ProcessEvent, event_from_row
from toolkit.client.recovery import Phase, Recovery, RecoveryLimits
from toolkit.client.supabase_session import SessionTokens, SharedEndpoint, checked

if TYPE_CHECKING:
    from supabase import AsyncClient

FETCH_DEADLINE_S = 30.0
_REFUSALS_UNTIL_FATAL = 3


class FetchPage(Protocol):
    """A function that reads one page of a process' events, such as `GenerationClient.events`."""

    def __call__(self, process_id: str, since_sequence: int, /) -> Awaitable[EventPage]: ...


_Step: TypeAlias = Callable[[float], list[Effect]]


class ProcessEventStream:
    """Asynchronous iterator of ProcessEvent; ends after the event that ends the process.

    `since`: deliver what comes after this sequence. `token`: the user's JWT or an async function that
    returns one and is asked again before it expires. `end_on_error`: also end after `generation_error`,
    which otherwise can be resumed. `tap` sees every frame. `on_history_expired`: called for events that
    are no longer stored; without it the iterator raises HistoryGap (and can be iterated on).
    `on_history_restarted`: called when the log turns out to have been replaced by one that begins anew (a database
    put back, a migration rolled back and applied again); what follows starts at its first event. Without it the
    iterator raises HistoryRestart (and can be iterated on). `endpoint`: another connection than sockets of its own.

    Iterating raises StreamFailed when the server refuses the reading. An outage is no error: the stream recovers.
    """

    def __init__(
        self,
        supabase_url: str,
        key: str,
        process_id: str,
        *,
        token: str | TokenProvider | TokenSource,
        fetch: FetchPage,
        since: int = 0,
        end_on_error: bool = False,
        limits: RecoveryLimits | None = None,
        max_pending: int = 10_000,
        tap: Callable[[Frame], None] | None = None,
        on_history_expired: Callable[[HistoryExpired], None] | None = None,
        on_history_restarted: Callable[[HistoryRestarted], None] | None = None,
        on_stalled: Callable[[Stalled], None] | None = None,
        join_timeout_s: int = 10,
        rng: random.Random | None = None,
        endpoint: RealtimeEndpoint | None = None,
    ) -> None:
        self.process_id = process_id
        self.last_error: str | None = None
        self.foreign_dropped = 0
        self.expired: list[HistoryExpired] = []
        self._endpoint = endpoint or Endpoint(supabase_url, key, join_timeout_s)
        self._tokens = token if isinstance(token, TokenSource) else TokenSource(token)
        self._fetch = fetch
        self._tap = tap
        self._on_history_expired = on_history_expired
        self._on_history_restarted = on_history_restarted
        self._on_stalled = on_stalled
        self._max_pending = max_pending
        self._held_back = False
        self._refusals = 0
        self._recovery = Recovery(since=since, end_on_error=end_on_error, limits=limits, rng=rng)
        self._inbox: asyncio.Queue[_Step] = asyncio.Queue()
        self._pending: deque[ProcessEvent | HistoryExpired | HistoryRestarted] = deque()
        self._failure: BaseException | None = None
        self._ended = False
        self._changed = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._connection: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def from_supabase(
        cls,
        client: AsyncClient,
        process_id: str,
        *,
        fetch: FetchPage,
        tokens: TokenSource | None = None,
        join_timeout_s: int = 10,
        **options: Any,
    ) -> ProcessEventStream:
        """On the Realtime connection of a Supabase client (`supabase.AsyncClient`), as the user who is signed in there.

        The channel stays when the client renews its session. `tokens`: those of a `GenerationClient` on the same
        client, to share them. `options` are those of the constructor. Raises UsageError for a synchronous client.
        """
        return cls(
            str(checked(client).supabase_url),
            client.supabase_key,
            process_id,
            token=tokens or SessionTokens(client),
            fetch=fetch,
            endpoint=SharedEndpoint(client, join_timeout_s),
            **options,
        )

    # -- facts --------------------------------------------------------------------------------

    @property
    def state(self) -> Phase:
        """The state of the subscription."""
        return self._recovery.phase

    @property
    def connected(self) -> bool:
        """Whether the subscription is live."""
        return self._recovery.phase is Phase.LIVE

    @property
    def stalled(self) -> bool:
        """Whether neither a change nor a page has arrived for a while."""
        return self._recovery.stalled

    @property
    def last_sequence(self) -> int:
        """The sequence of the last event that was given to the application, or is queued for it."""
        return self._recovery.last_sequence

    @property
    def reconnects(self) -> int:
        """How many connections ended or failed."""
        return self._recovery.reconnects

    @property
    def missed_live(self) -> int:
        """How many events were written after the first catch-up and came over HTTP only."""
        return self._recovery.missed_live

    @property
    def duplicates_dropped(self) -> int:
        """How many changes were dropped because they had been delivered before."""
        return self._recovery.duplicates_dropped

    @property
    def delivered(self) -> Mapping[str, int]:
        """Number of events delivered, by `live` and `backfill`."""
        return {"live": self._recovery.delivered_live, "backfill": self._recovery.delivered_backfill}

    # -- life cycle ---------------------------------------------------------------------------

    async def __aenter__(self) -> ProcessEventStream:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def start(self) -> None:
        """Begin to connect and to read; does nothing when it has begun."""
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name=f"events of {self.process_id}")

    async def aclose(self) -> None:
        """Stop everything; returns when no task of the stream is left, at the latest after about 25 seconds."""
        tasks = {task for task in (self._runner, self._connection, *self._tasks) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2 * CLOSE_DEADLINE_S + 2)
        self._ended = True
        self._notify()

    async def wait_live(self, timeout_s: float = 30.0) -> None:
        """Return when the subscription is live. Raises TimeoutError with the last error, or StreamFailed."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.connected and not self._recovery.ended:
                    self._raise_failure()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"not live within {timeout_s:g} s; last error: {self.last_error or 'none'}") from None

    # -- iteration ----------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[ProcessEvent]:
        return self

    async def __anext__(self) -> ProcessEvent:
        self.start()
        while True:
            if self._pending:
                item = self._pending.popleft()
                if self._held_back and len(self._pending) <= self._max_pending // 2:
                    self._held_back = False
                    self._inbox.put_nowait(self._recovery.release)
                if isinstance(item, ProcessEvent):
                    return item
                self._tell_of_history(item)
                continue
            self._raise_failure()
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()

    def _tell_of_history(self, item: HistoryExpired | HistoryRestarted) -> None:
        match item:
            case HistoryExpired(first, last):
                if self._on_history_expired is None:
                    raise HistoryGap(self.process_id, first, last)
                self._on_history_expired(item)
            case HistoryRestarted(known, last):
                if self._on_history_restarted is None:
                    raise HistoryRestart(self.process_id, known, last)
                self._on_history_restarted(item)

    # -- carrying out effects ------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            self._perform(self._recovery.start(time.monotonic()))
            while not self._recovery.ended:
                wake = self._recovery.next_wake()
                wait = None if wake is None else max(0.0, wake - time.monotonic())
                try:
                    async with asyncio.timeout(wait):
                        step = await self._inbox.get()
                except TimeoutError:
                    step = self._recovery.tick
                self._perform(step(time.monotonic()))
            self._ended = True
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - raised to whoever iterates
            self._failure = error
        finally:
            self._notify()

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Deliver(event):
                    self._pending.append(event)
                case Connect(epoch):
                    connection = self._connection_of(epoch, _Ear(self, epoch))
                    self._connection = self._spawn(connection.run(), f"connection {epoch} of {self.process_id}")
                case Disconnect():
                    if self._connection is not None:
                        self._connection.cancel()
                        self._connection = None
                case Fetch(ticket, since):
                    self._spawn(self._read(ticket, since), f"events of {self.process_id} after {since}")
                case HistoryExpired():
                    self.expired.append(effect)
                    self._pending.append(effect)
                case HistoryRestarted():
                    self._pending.append(effect)
                case Stalled():
                    if self._on_stalled is not None:
                        self._on_stalled(effect)
                case End():
                    pass  # the loop checks it
        if len(self._pending) >= self._max_pending and not self._held_back:
            self._held_back = True
            self._recovery.hold()
        self._notify()

    def _connection_of(self, epoch: int, listener: Listener) -> Connection:
        return Connection(epoch, self._endpoint, self.process_id, self._tokens, listener)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._settled)
        return task

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _read(self, ticket: int, since: int) -> None:
        try:
            async with asyncio.timeout(FETCH_DEADLINE_S):
                page = await self._fetch(self.process_id, since)
        except (NotReached, TimeoutError) as error:
            self.last_error = str(error) or "reading the events took too long"
        except ApiError as error:
            self.last_error = str(error)
            # An expired token and a server's own error may pass; any other refusal is final.
            self._refusals += 1
            if error.status not in {401, 408, 429} and error.status < 500:
                self._refusals = _REFUSALS_UNTIL_FATAL
            if error.status < 500 and error.status != 429 and self._refusals >= _REFUSALS_UNTIL_FATAL:
                raise StreamFailed(
                    f"The events of {self.process_id} cannot be read: {error.message}", error.remedy
                ) from error
        else:
            self._refusals = 0
            self._inbox.put_nowait(lambda now: self._recovery.page(ticket, page, now))
            return
        self._inbox.put_nowait(lambda now: self._recovery.fetch_failed(ticket, now))

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        if self._runner is not None:
            self._runner.cancel()
        if self._connection is not None:
            self._connection.cancel()
        self._notify()

    def _raise_failure(self) -> None:
        if self._failure is None:
            return
        if isinstance(self._failure, ClientError):
            raise self._failure
        raise StreamFailed(
            f"The stream of {self.process_id} failed: {type(self._failure).__name__}.", "This is a defect; report it."
        ) from self._failure

    def _notify(self) -> None:
        self._changed.set()


class _Ear:
    """Listens to one connection and puts its events into the stream's inbox, with the connection's number."""

    def __init__(self, stream: ProcessEventStream, epoch: int) -> None:
        self._stream = stream
        self._epoch = epoch

    def joined(self) -> None:
        self._tell(lambda now: self._stream._recovery.joined(self._epoch, now))

    def live(self) -> None:
        self._tell(lambda now: self._stream._recovery.live(self._epoch, now))

    def lost(self, reason: str) -> None:
        self._stream.last_error = reason
        self._tell(lambda now: self._stream._recovery.lost(self._epoch, reason, now))

    def row(self, record: Mapping[str, Any], at: float) -> None:
        stream = self._stream
        try:
            event = event_from_row(record, via="live", received_at=at)
        except ValueError as error:
            stream.last_error = f"a change could not be read: {error}"
            self._tell(stream._recovery.look)
            return
        if event.process_id and event.process_id != stream.process_id:
            stream.foreign_dropped += 1  # a server that ignores the filter must not mix processes
        else:
            self._tell(lambda now: stream._recovery.change(replace(event, via="live"), now))

    def frame(self, frame: Frame) -> None:
        if self._stream._tap is not None:
            self._stream._tap(frame)

    def _tell(self, step: _Step) -> None:
        self._stream._inbox.put_nowait(step)
