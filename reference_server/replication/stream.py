"""The WAL as a stream of decoded messages: a temporary pgoutput slot, read through the event loop.

A slot is made anew for each connection and starts at the present, so what commits while there is
no connection is never seen here; whoever needs those rows reads the tables. Nothing of
a transaction arrives before it has committed; then its rows arrive in order.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import psycopg2
import psycopg2.extras
import structlog

from reference_server.replication.pgoutput import Message, PgOutputError, decode

log = structlog.get_logger(__name__)

# Values must read the same whatever the database's or the role's defaults are.
SESSION_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
}
# For sessions that only ask: what the database or the role has as its defaults is meant for other programs.
QUESTION_SETTINGS = {
    **SESSION_SETTINGS,
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",  # functions and rows are made, in a temporary schema or to be rolled back
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "60s",
    "idle_session_timeout": "0",
    "row_security": "on",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
}
MESSAGES_A_WAKEUP = 256
FEEDBACK_EVERY_S = 5.0
# The server answers each feedback that asks for it; a link that is silent for this long is dead.
SILENCE_LIMIT_S = 30.0
BACKOFF_S = (0.1, 5.0)
_HAS_TRANSACTION_TIMEOUT = 170000  # Postgres 17

MessageHandler = Callable[[Message], None]


class StreamLost(ConnectionError):
    """The replication connection ended, could not be made, or sent what cannot be decoded."""


class _Cursor(Protocol):
    """What psycopg2's replication cursor offers; its type stubs leave this out."""

    wal_end: int

    def read_message(self) -> Any: ...
    def send_feedback(self, **options: Any) -> None: ...


@dataclass
class WalStream:
    """One replication connection at a time, with its reconnection.

    `on_message` is called for every message, in order, in the event loop; it must not block.
    `on_live` / `on_lost` are awaited when a connection has begun to stream and when it has ended. `prepare` is awaited
    before each attempt to connect and raises StreamLost when there is nothing to stream yet.
    Call `pause` / `resume` to hold the server back when the consumer cannot keep up.
    """

    dsn: str
    publication: str
    on_message: MessageHandler
    on_live: Callable[[], Awaitable[None]]
    on_lost: Callable[[StreamLost], Awaitable[None]]
    prepare: Callable[[], Awaitable[None]] | None = None
    connect_deadline_s: float = 30.0
    reconnects: int = 0
    position: int = 0  # LSN: everything that committed before it has been handed to on_message
    _conn: Any = None
    _fd: int = -1  # kept, because a lost connection no longer has it
    _cursor: _Cursor | None = None
    _ended: asyncio.Future[None] | None = None
    _paused: bool = False
    _heard_at: float = 0.0
    _task: asyncio.Task[None] | None = field(default=None, repr=False)

    async def start(self, deadline_s: float) -> None:
        """Return when the stream is live. Raises StreamLost when the first connection fails."""
        await self._first(deadline_s)
        self._task = asyncio.create_task(self._supervise(), name="wal-stream")

    async def start_or_retry(self, deadline_s: float) -> StreamLost | None:
        """Like `start`, but go on trying in the background when the first connection fails, and say why it did."""
        try:
            await self.start(deadline_s)
        except StreamLost as error:
            log.warning("replication_stream_not_live", publication=self.publication, error=str(error))
            self._task = asyncio.create_task(self._supervise(said=str(error)), name="wal-stream")
            return error
        return None

    async def _first(self, deadline_s: float) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                await self._open()
                await self.on_live()
        except TimeoutError:
            await self._close()
            raise StreamLost(
                f"no replication stream within {deadline_s:g} s; a transaction that has been open for long delays "
                "the creation of a slot (see pg_stat_activity), or max_replication_slots is reached"
            ) from None
        except BaseException:
            await self._close()
            raise

    async def stop(self) -> None:
        """Close the connection, which drops its slot. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=10)
            self._task = None
        await self._close()

    def pause(self) -> None:
        """Read nothing more until `resume`; the server keeps what follows."""
        if not self._paused and self._conn is not None:
            self._paused = True
            asyncio.get_running_loop().remove_reader(self._fd)

    def resume(self) -> None:
        """Read on after `pause`."""
        if self._paused and self._conn is not None:
            self._paused = False
            loop = asyncio.get_running_loop()
            self._heard_at = loop.time()
            loop.add_reader(self._fd, self._drain)
            loop.call_soon(self._drain)  # what libpq has buffered already does not make the socket readable

    def fail(self, error: StreamLost) -> None:
        """End the connection with `error`, as if it had been lost."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    # -- life of a connection -----------------------------------------------------------------

    async def _supervise(self, said: str | None = None) -> None:
        if said is not None:
            await self._reconnect(said)
        while True:
            try:
                await self._stream_until_lost()
                return
            except StreamLost as error:
                log.error("replication_stream_lost", error=str(error))
                await self._close()
                await self.on_lost(error)
            await self._reconnect()

    async def _stream_until_lost(self) -> None:
        """Send feedback and watch for silence until cancelled. Raises StreamLost."""
        assert self._ended is not None
        assert self._cursor is not None
        loop = asyncio.get_running_loop()
        while True:
            done, _ = await asyncio.wait([self._ended], timeout=FEEDBACK_EVERY_S)
            if done:
                self._ended.result()
            if not self._paused and loop.time() - self._heard_at > SILENCE_LIMIT_S:
                raise StreamLost(f"the server has been silent for {SILENCE_LIMIT_S:g} s")
            self._send_feedback()

    async def _reconnect(self, said: str = "") -> None:
        floor, ceiling = BACKOFF_S
        attempt = 0
        while True:
            # Full jitter, so that servers that lost the same database do not all reconnect at the same moment.
            await asyncio.sleep(random.uniform(floor, min(ceiling, floor * 2**attempt) + floor))  # noqa: S311
            attempt = min(attempt + 1, 10)
            try:
                async with asyncio.timeout(self.connect_deadline_s):
                    await self._open()
                    await self.on_live()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported and tried again
                why = str(error) or type(error).__name__
                if why != said:  # what lasts is said once
                    log.warning("replication_reconnect_failed", attempt=attempt, error=why)
                    said = why
                await self._close()
                continue
            self.reconnects += 1
            log.info("replication_stream_live_again", attempts=attempt)
            return

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        if self.prepare is not None:
            await self.prepare()
        opening: list[Any] = []  # the connection as soon as it exists, so that a deadline can cancel it
        attempt = asyncio.ensure_future(asyncio.to_thread(_connect, self.dsn, self.publication, opening))
        try:
            conn, cursor = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            attempt.add_done_callback(_discard)
            for conn in opening:
                conn.cancel()
            raise
        except psycopg2.Error as error:
            raise StreamLost(_one_line(error)) from error
        self._conn, self._cursor, self._fd = conn, cursor, conn.fileno()
        self._ended = loop.create_future()
        self._paused = False
        self._heard_at = loop.time()
        loop.add_reader(self._fd, self._drain)
        loop.call_soon(self._drain)

    async def _close(self) -> None:
        conn, self._conn, self._cursor = self._conn, None, None
        if conn is None:
            return
        asyncio.get_running_loop().remove_reader(self._fd)
        if not conn.closed:
            conn.close()
        if self._ended is not None and not self._ended.done():
            self._ended.cancel()

    # -- reading ------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Read a bounded number of messages; the loop runs others before the next portion."""
        cursor = self._cursor
        if cursor is None or self._paused or self._ended is None or self._ended.done():
            return
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        try:
            for _ in range(MESSAGES_A_WAKEUP):
                raw = cursor.read_message()
                if raw is None:
                    self.position = max(self.position, cursor.wal_end)
                    return
                self.on_message(decode(raw.payload))
                if self._paused:
                    return
        except Exception as error:
            loop.remove_reader(self._fd)
            if not isinstance(error, psycopg2.Error | PgOutputError):
                log.exception("replication_message_failed")
            self.fail(StreamLost(_one_line(error)))
            return
        loop.call_soon(self._drain)

    def _send_feedback(self) -> None:
        """Confirm what was read: a temporary slot ends with its connection, so nothing will be read again."""
        assert self._cursor is not None
        try:
            self._cursor.send_feedback(flush_lsn=self.position, write_lsn=self.position, reply=True, force=True)
        except psycopg2.Error as error:
            raise StreamLost(_one_line(error)) from error


def _connect(dsn: str, publication: str, opening: list[Any]) -> tuple[Any, _Cursor]:
    """Connect, make the slot, start to stream; runs in a thread because psycopg2 blocks here."""
    options = " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in SESSION_SETTINGS.items())
    conn = psycopg2.connect(
        dsn,
        connection_factory=psycopg2.extras.LogicalReplicationConnection,
        connect_timeout=10,
        keepalives_idle=10,
        application_name="reference_server realtime stream",
        options=options,
    )
    opening.append(conn)
    try:
        cursor: Any = conn.cursor()
        if conn.server_version >= _HAS_TRANSACTION_TIMEOUT:
            cursor.execute("set transaction_timeout = 0")
        slot = f"reference_server_{os.getpid()}_{secrets.token_hex(6)}"
        cursor.execute(f'CREATE_REPLICATION_SLOT "{slot}" TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT')
        names = psycopg2.extensions.quote_ident(publication, conn)
        cursor.start_replication(
            slot_name=slot,
            options={"proto_version": "1", "publication_names": names},
            status_interval=10,
            decode=False,
        )
    except BaseException:
        conn.close()
        raise
    return conn, cursor


def _discard(attempt: asyncio.Future[tuple[Any, _Cursor]]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result()[0].close()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
