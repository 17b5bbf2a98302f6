"""The legacy WebSocket transport: what an application did before the migration.

    async with LegacyWebSocketClient(api_url, token) as client:
        await client.start(initial_keywords=["a"])
        async for frame in client:
            if frame.kind == "prompt":
                await client.answer(frame.input_type, {...})

There is no replay and no sequence: a frame that is sent while no client listens is lost, except the open prompt, which
is sent again after `resume`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlencode

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from toolkit.client.auth import TokenProvider, TokenSource
from toolkit.client.errors import ApiError, NotReached

PATH = "/api/articles/ws/generate"
OPEN_DEADLINE_S = 15.0
SEND_DEADLINE_S = 10.0
CLOSE_DEADLINE_S = 5.0
MAX_FRAME_BYTES = 16 * 1024 * 1024
# Seconds. The server sends a heartbeat every thirty; after so long without one the connection is dead.
SILENCE_DEADLINE_S = 75.0

FrameKind = Literal["status", "prompt", "research", "section", "final", "error", "heartbeat", "unknown"]


@dataclass(frozen=True)
class LegacyFrame:
    """One frame of the server. `received_at` is in seconds of the monotonic clock.

    Payloads carry no discriminator; `kind` is inferred from their fields, as every client has to.
    """

    kind: FrameKind
    payload: Mapping[str, Any]
    received_at: float

    @property
    def input_type(self) -> str | None:
        """What a prompt asks for."""
        return self.payload.get("request_type")

    @property
    def process_id(self) -> str | None:
        """The process id in a status frame."""
        found = self.payload.get("process_id")
        return str(found) if found else None


class SocketClosed(NotReached):
    """The server closed the connection: close `code` and `reason` (1008: refused, 1011: an internal error)."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(
            f"The WebSocket was closed ({code or 'no code'}{': ' + reason if reason else ''}).", definite=False
        )
        self.code = code
        self.reason = reason


def frame_kind(payload: Mapping[str, Any]) -> FrameKind:
    """The kind of a `server_event` payload."""
    if "request_type" in payload:
        return "prompt"
    if "final_html_content" in payload:
        return "final"
    if "error_message" in payload:
        return "error"
    if "section_index" in payload:
        return "section"
    if "query_index" in payload:
        return "research"
    if "step" in payload:
        return "status"
    return "unknown"


class LegacyWebSocketClient:
    """One socket. Iterating ends after a normal close and raises SocketClosed after any other."""

    def __init__(
        self,
        api_url: str,
        token: str | TokenProvider | TokenSource,
        *,
        path: str = PATH,
        silence_deadline_s: float = SILENCE_DEADLINE_S,
    ) -> None:
        base = api_url.rstrip("/")
        for plain, socket in (("http://", "ws://"), ("https://", "wss://")):
            base = socket + base.removeprefix(plain) if base.startswith(plain) else base
        self._url = base + path
        self._tokens = token if isinstance(token, TokenSource) else TokenSource(token)
        self._silence_deadline_s = silence_deadline_s
        self._socket: ClientConnection | None = None
        self.process_id: str | None = None

    async def __aenter__(self) -> LegacyWebSocketClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def connected(self) -> bool:
        """Whether the socket is open."""
        return self._socket is not None and self._socket.close_code is None

    # -- run ----------------------------------------------------------------------------------

    async def start(self, **body: Any) -> None:
        """Connect and start a process; `body` is the start model. Its id comes with the first status frame."""
        await self._open({})
        await self._send(body)

    async def resume(self, process_id: str) -> None:
        """Connect to a running process; the server sends its open prompt again."""
        self.process_id = process_id
        await self._open({"process_id": process_id})

    async def answer(self, response_type: str, payload: Mapping[str, Any] | None = None) -> None:
        """Answer the open prompt."""
        await self._send(
            {"type": "client_response", "response_type": str(response_type), "payload": dict(payload or {})}
        )

    async def aclose(self) -> None:
        """Close the socket; whether the process goes on or is cancelled is for the server to decide."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    # -- frames -------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[LegacyFrame]:
        return self

    async def __anext__(self) -> LegacyFrame:
        frame = await self.receive()
        if frame is None:
            raise StopAsyncIteration
        return frame

    async def receive(self) -> LegacyFrame | None:
        """The next frame, or None after a normal close.

        Raises SocketClosed, NotReached after a long silence, ApiError for a malformed frame.
        """
        socket = self._require()
        try:
            async with asyncio.timeout(self._silence_deadline_s):
                text = await socket.recv()
        except TimeoutError:
            raise NotReached(
                f"{self._url}: no frame within {self._silence_deadline_s:g} s, not even a heartbeat.", definite=False
            ) from None
        except ConnectionClosed:
            if socket.close_code == 1000:
                return None
            raise SocketClosed(socket.close_code, socket.close_reason or "") from None
        frame = _frame(text)
        self.process_id = self.process_id or frame.process_id
        return frame

    # -- plumbing -----------------------------------------------------------------------------

    async def _open(self, query: Mapping[str, str]) -> None:
        assert self._socket is None, "one socket, one run: make another client"
        # In the header, not in the URL, where proxies would log it.
        headers = {"Authorization": f"Bearer {await self._tokens.get()}"}
        url = f"{self._url}?{urlencode(query)}" if query else self._url
        try:
            self._socket = await connect(
                url,
                additional_headers=headers,
                open_timeout=OPEN_DEADLINE_S,
                close_timeout=CLOSE_DEADLINE_S,
                max_size=MAX_FRAME_BYTES,
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise NotReached(f"{self._url}: no connection ({type(error).__name__}: {error}).", definite=True) from error

    async def _send(self, message: Mapping[str, Any]) -> None:
        socket = self._require()
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await socket.send(orjson.dumps(message).decode())
        except ConnectionClosed:
            raise SocketClosed(socket.close_code, socket.close_reason or "") from None
        except TimeoutError:
            raise NotReached(f"{self._url}: sending took longer than {SEND_DEADLINE_S:g} s.", definite=False) from None

    def _require(self) -> ClientConnection:
        assert self._socket is not None, "call start() or resume() first"
        return self._socket


def _frame(text: str | bytes) -> LegacyFrame:
    at = time.monotonic()
    try:
        message = orjson.loads(text)
        if message["type"] == "heartbeat":
            return LegacyFrame("heartbeat", {}, at)
        payload = message["payload"]
        return LegacyFrame(frame_kind(payload), payload, at)
    except (ValueError, KeyError, TypeError) as error:
        raise ApiError(
            200,
            "bad_frame",
            f"The server sent a frame that is not agreed: {text[:200]!r}.",
            "Check that the address is that of the legacy WebSocket.",
        ) from error
