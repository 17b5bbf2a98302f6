"""One change of 870 bytes to 100 sockets: our endpoint beside the bare server it runs on, in one run.

The bare server is uvicorn with the same protocol class, sending the same frame to every socket and
knowing nothing of topics. The ratio says what our path from change to socket costs.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.protocol.ports import Change, Sink
from reference_server.realtime.standalone import create_app, create_service
from tests.support.golden import SECRET, LiveServer, mint

SOCKETS = 100
CHANGES = 300


class PushFeed:
    """A feed that is told what to deliver: the benchmark measures what comes after the database."""

    state = "live"

    def __init__(self) -> None:
        self.sinks: list[Sink] = []
        self.loop: asyncio.AbstractEventLoop | None = None

    async def start(self, deadline_s: float = 30) -> None:
        self.loop = asyncio.get_running_loop()

    async def stop(self) -> None: ...

    async def subscribe(
        self, bindings: Any, claims: Mapping[str, Any], sink: Sink, *, on_error: Callable[[str], None] | None = None
    ) -> object:
        self.sinks.append(sink)
        return sink

    async def update_claims(self, subscription: Any, claims: Mapping[str, Any]) -> None: ...

    async def unsubscribe(self, subscription: Any) -> None:
        self.sinks.remove(subscription)

    def on_state(self, callback: Callable[[str], None]) -> None: ...

    async def push(self, data: bytes, count: int) -> None:
        for _ in range(count):
            change = Change((81,), bytes(bytearray(data)))  # a new object, as each real change is
            for sink in self.sinks:
                sink(change)
            await asyncio.sleep(0)


class BareServer:
    """Accepts, and sends one frame to everybody when asked."""

    def __init__(self) -> None:
        self.sends: list[Callable[[Any], Awaitable[None]]] = []
        self.loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            self.loop = asyncio.get_running_loop()
            for answer in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{answer}.complete"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        self.sends.append(send)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def push(self, frame: str, count: int) -> None:
        for _ in range(count):
            for send in self.sends:
                await send({"type": "websocket.send", "text": frame})
            await asyncio.sleep(0)


def change_of(size: int) -> tuple[bytes, str]:
    data = {"table": "process_events", "type": "INSERT", "schema": "public", "errors": None, "record": {"v": ""}}
    frame = json.dumps([None, None, "realtime:room", "postgres_changes", {"data": data, "ids": [81]}])
    data["record"] = {"v": "x" * (size - len(frame))}
    frame = json.dumps([None, None, "realtime:room", "postgres_changes", {"data": data, "ids": [81]}])
    return json.dumps(data).encode(), frame


async def receive(sockets: list[ClientConnection], count: int, wanted: str) -> None:
    async def one(connection: ClientConnection) -> None:
        seen = 0
        while seen < count:
            frame = await connection.recv(decode=False)
            seen += wanted.encode() in frame

    async with asyncio.timeout(120):
        await asyncio.gather(*(one(connection) for connection in sockets))


async def rate(sockets: list[ClientConnection], push: Callable[[int], Any], loop: asyncio.AbstractEventLoop) -> float:
    """Deliveries a second, the better of three rounds after one to warm up."""
    best = 0.0
    for _ in range(4):
        reader = asyncio.create_task(receive(sockets, CHANGES, '"process_events"'))
        started = time.perf_counter()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(push(CHANGES), loop))
        await reader
        best = max(best, SOCKETS * CHANGES / (time.perf_counter() - started))
    return best


@asynccontextmanager
async def connected(url: str, join: str | None) -> AsyncIterator[list[ClientConnection]]:
    async with AsyncExitStack() as stack:
        sockets = []
        for _ in range(SOCKETS):
            options = {"compression": None, "ping_interval": None, "max_queue": None}
            connection = await stack.enter_async_context(connect(url, **options))  # type: ignore[arg-type]
            if join is not None:
                await connection.send(join)
                await connection.recv()
            sockets.append(connection)
        yield sockets


async def test_fan_out_of_one_change_to_100_sockets() -> None:
    data, frame = change_of(870)
    assert len(frame) == 870
    bare = BareServer()
    server = LiveServer(bare)
    await server.start()
    async with connected(f"ws://127.0.0.1:{server.port}/", None) as sockets:
        assert bare.loop is not None
        baseline = await rate(sockets, lambda count: bare.push(frame, count), bare.loop)
    await server.stop()

    feed = PushFeed()
    limits = replace(Limits(), users=1_000, joins_per_second=1_000, queue_frames=100_000, queue_bytes=1 << 30)
    service = create_service("postgresql://unused", SECRET, limits=limits, feed=feed)
    server = LiveServer(create_app(service))
    await server.start()
    binding = {"event": "INSERT", "schema": "public", "table": "process_events"}
    join = json.dumps(["1", "1", "realtime:room", "phx_join", {"config": {"postgres_changes": [binding]}}])
    url = f"ws://127.0.0.1:{server.port}/realtime/v1/websocket?vsn=2.0.0&apikey={mint('authenticated:owner-a')}"
    async with connected(url, join) as sockets:
        assert feed.loop is not None
        ours = await rate(sockets, lambda count: feed.push(data, count), feed.loop)
    await server.stop()

    print(
        f"\nfan-out, 870 bytes to {SOCKETS} sockets, client and server in one process:"
        f"\n  bare uvicorn   {baseline:10,.0f} deliveries/s"
        f"\n  this endpoint  {ours:10,.0f} deliveries/s"
        f"\n  ratio          {ours / baseline:10.2f}"
    )
    assert ours > 0
