"""The legacy runs of this API process and the sockets they talk to."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

import orjson
import structlog
from fastapi import WebSocket
from starlette.websockets import WebSocketState

from reference_server.api import legacy_frames as frames
from reference_server.api.legacy_generation import LegacyRun, RunTools
from reference_server.api.metrics import Metrics
from reference_server.errors import DATABASE_TROUBLE
from reference_server.store.legacy import Saved, Superseded

log = structlog.get_logger(__name__)

NORMAL: Final = 1000
POLICY: Final = 1008
INTERNAL: Final = 1011
RESTART: Final = 1012
SEND_DEADLINE_S = 10.0
SETTLE_DEADLINE_S = 5.0
MAX_FRAME = 1_048_576


class Refused(Exception):
    """Close the socket with this code and reason; `message` is told in an error frame before."""

    def __init__(self, code: int, reason: str, message: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.message = message


class ClientSocket:
    """A client's socket: frames out under a deadline, closed once."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._closed = False

    async def send(self, frame: frames.Frame) -> None:
        """Raises ConnectionError when the client is gone or takes nothing for SEND_DEADLINE_S."""
        if self._closed:
            raise ConnectionError("the socket is closed")
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await self._websocket.send_text(orjson.dumps(frame).decode())
        except Exception as error:  # whatever the transport says, this client gets nothing more
            self._closed = True
            raise ConnectionError(f"the client does not take frames: {type(error).__name__}") from error

    async def receive(self) -> str | bytes | None:
        """The next frame, None when the client has left."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            self._closed = True
            return None
        text: str | bytes = message.get("text") or message.get("bytes") or ""
        if len(text) > MAX_FRAME:
            raise Refused(POLICY, "frame_too_large", f"a frame has at most {MAX_FRAME} bytes")
        return text

    async def close(self, code: int, reason: str) -> None:
        if self._closed or self._websocket.client_state is not WebSocketState.CONNECTED:
            return
        self._closed = True
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await self._websocket.close(code, reason[:120])
        except Exception as error:  # noqa: BLE001 it is being thrown away either way
            log.info("a socket could not be closed in order", cause=type(error).__name__)


class LegacyGenerations:
    """The legacy runs of this API process, at most one for each generation process."""

    def __init__(self, tools: RunTools, metrics: Metrics) -> None:
        self.tools = tools
        self._metrics = metrics
        self._runs: dict[UUID, LegacyRun] = {}
        self._tasks: dict[LegacyRun, asyncio.Task[None]] = {}

    @property
    def running(self) -> int:
        return len(self._runs)

    def run_of(self, process_id: UUID) -> LegacyRun | None:
        run = self._runs.get(process_id)
        return run if run is not None and not run.ended else None

    async def start(self, process_id: UUID, mark: str, saved: Saved, socket: ClientSocket) -> LegacyRun:
        """Drive a row that carries `mark`. Raises ContextUnreadable, ValueError."""
        run = LegacyRun(self.tools, process_id, mark, saved)
        await run.attach(socket)
        self._runs[process_id] = run
        self._tasks[run] = asyncio.create_task(self._supervise(run), name=f"legacy generation {process_id}")
        return run

    async def cancel(self, run: LegacyRun) -> None:
        """End the generation for good."""
        await self._stop(run, cancelled=True)

    async def wait(self, run: LegacyRun) -> None:
        """Until the run has ended, whatever ended it."""
        if (task := self._tasks.get(run)) is not None:
            await asyncio.wait({task})

    async def stop(self) -> None:
        """Put every run to rest where it stands; the sockets are the server's to close."""
        await asyncio.gather(*(self._stop(run, cancelled=False) for run in list(self._tasks)))

    async def _supervise(self, run: LegacyRun) -> None:
        structlog.contextvars.bind_contextvars(process_id=str(run.process_id))
        outcome = "internal_error"
        beat = asyncio.create_task(run.beat())
        drive = asyncio.create_task(run.drive())
        try:
            await asyncio.wait({beat, drive}, return_when=asyncio.FIRST_COMPLETED)
            if not drive.done():
                beat.result()  # says why the beat ended first: superseded, or the database stays away
            await drive
            outcome = run.outcome
            await run.close(NORMAL, outcome)
        except Superseded:
            outcome = "superseded"
            await run.close(POLICY, outcome)
        except asyncio.CancelledError:
            outcome = "stopped"
            raise
        except Exception:
            log.exception("legacy generation broke", process_id=str(run.process_id), step=run.step)
            await run.close(INTERNAL, "internal_error")
        finally:
            for task in (beat, drive):
                task.cancel()
            await asyncio.wait({beat, drive})
            run.ended = True
            self._metrics.legacy_runs.labels(outcome).inc()
            if self._runs.get(run.process_id) is run:
                del self._runs[run.process_id]
            self._tasks.pop(run, None)

    async def _stop(self, run: LegacyRun, *, cancelled: bool) -> None:
        task = self._tasks.get(run)
        if task is None or run.ended:
            return
        task.cancel()
        await asyncio.wait({task})
        if not cancelled:
            await run.close(RESTART, "restarting")
        try:
            async with asyncio.timeout(SETTLE_DEADLINE_S):
                await run.settle(cancelled=cancelled)
        except DATABASE_TROUBLE as error:
            log.warning("a legacy run was left as it stood", process_id=str(run.process_id), cause=repr(error))
