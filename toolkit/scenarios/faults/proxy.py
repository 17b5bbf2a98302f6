"""A TCP proxy that breaks the network on request, and reports what it broke.

    async with TcpProxy("127.0.0.1", 8000) as proxy:
        client = connect(proxy.url)
        hit = proxy.cut()                 # every connection, now
        assert hit.connections            # a fault that hit nothing proves nothing
        await proxy.refuse(8)             # and nobody gets in for eight seconds

Loopback only. It knows nothing of frames on purpose: it cuts, holds and delays bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

CHUNK = 64 * 1024
CONNECT_DEADLINE_S = 10.0


@dataclass(frozen=True)
class Hit:
    """What a fault did: the number of `connections` cut, refused or held, and the `held_bytes` that waited in the
    proxy."""

    fault: str
    connections: int = 0
    held_bytes: int = 0


@dataclass
class Traffic:
    """Bytes and connections since the proxy started."""

    to_server: int = 0
    to_client: int = 0
    accepted: int = 0
    refused: int = 0
    cut: int = 0
    lost: int = 0


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server

    def abort(self) -> None:
        """End it with a reset, as a broken network does."""
        for writer in (self.client, self.server):
            sock = writer.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class TcpProxy:
    """Listens on a free loopback port and forwards to `host:port`. `seed` makes the jitter reproducible.

    `path` is part of its own URL, for a server that lies below one.
    """

    def __init__(self, host: str, port: int, *, path: str = "", seed: int = 0) -> None:
        self.traffic = Traffic()
        self._path = path.rstrip("/")
        self._losing = False
        self._upstream = (host, port)
        self._port = 0
        self._listener: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._refusing = False
        self._turned_away = 0
        self._latency_s = 0.0
        self._jitter_s = 0.0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._held_bytes = 0
        self._held_links: set[_Link] = set()

    @classmethod
    def before(cls, url: str, *, seed: int = 0) -> TcpProxy:
        """A proxy for the server of an http(s) or ws(s) URL, which must name a port."""
        parts = urlsplit(url)
        assert parts.hostname, f"no host in {url}"
        assert parts.port, f"no port in {url}"
        return cls(parts.hostname, parts.port, seed=seed)

    # -- facts --------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The http URL of the proxy."""
        return f"http://127.0.0.1:{self._port}{self._path}"

    @property
    def connections(self) -> int:
        """The number of open connections through it."""
        return len(self._links)

    # -- life cycle ---------------------------------------------------------------------------

    async def __aenter__(self) -> TcpProxy:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Reset every connection and stop listening."""
        self._stop_listening()
        self._abort_all()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10)

    # -- faults -------------------------------------------------------------------------------

    def cut(self) -> Hit:
        """Reset every connection now; new ones are let in."""
        count = self._abort_all()
        self.traffic.cut += count
        return Hit("cut", connections=count)

    async def refuse(self, seconds: float) -> Hit:
        """Cut every connection and refuse new ones for `seconds`, as if the server were gone. The hit counts both."""
        self.begin_refusing()
        cut = self.cut()
        try:
            await asyncio.sleep(seconds)
        finally:
            turned_away = await self.end_refusing()
        return Hit("refuse", connections=cut.connections + turned_away.connections)

    def begin_refusing(self) -> None:
        """Refuse new connections until `end_refusing`."""
        self._refusing = True
        self._turned_away = 0

    async def end_refusing(self) -> Hit:
        """Accept new connections again; returns how many were refused."""
        self._refusing = False
        return Hit("refuse", connections=self._turned_away)

    def begin_losing(self) -> None:
        """Until `heal`, let requests through and lose their answers: a connection is reset when its server sends a
        byte."""
        self._losing = True

    def slow(self, latency_s: float, jitter_s: float = 0.0) -> Hit:
        """Delay every chunk in both directions by `latency_s` ± `jitter_s`; order is kept. 0 ends it."""
        self._latency_s, self._jitter_s = latency_s, jitter_s
        return Hit("slow", connections=self.connections)

    def freeze(self) -> None:
        """Hold every byte of old and new connections until `thaw`."""
        self._flowing.clear()
        self._held_bytes = 0
        self._held_links = set()

    def thaw(self) -> Hit:
        """Deliver everything that was held; returns how much that was."""
        hit = Hit("freeze", connections=len(self._held_links), held_bytes=self._held_bytes)
        self._flowing.set()
        return hit

    async def freeze_for(self, seconds: float) -> Hit:
        """Hold every byte for `seconds`."""
        self.freeze()
        try:
            await asyncio.sleep(seconds)
        finally:
            hit = self.thaw()
        return hit

    def heal(self) -> None:
        """End every fault that is still in force."""
        self._refusing = self._losing = False
        self.slow(0)
        self._flowing.set()

    # -- plumbing -----------------------------------------------------------------------------

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._listener.sockets[0].getsockname()[1]

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _abort_all(self) -> int:
        links, self._links = self._links, set()
        for link in links:
            link.abort()
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            writer.transport.abort()  # one side went away, which is expected here
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            self._turned_away += 1
            self.traffic.refused += 1
            _Link(writer, writer).abort()
            return
        async with asyncio.timeout(CONNECT_DEADLINE_S):
            server_reader, server_writer = await asyncio.open_connection(*self._upstream)
        self.traffic.accepted += 1
        link = _Link(writer, server_writer)
        self._links.add(link)
        pumps = {
            asyncio.create_task(self._pump(link, reader, server_writer, "to_server")),
            asyncio.create_task(self._pump(link, server_reader, writer, "to_client")),
        }
        try:
            await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
            self._links.discard(link)
            for end in (writer, server_writer):
                end.close()

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                if self._losing and direction == "to_client":
                    self.traffic.lost += 1
                    link.abort()
                    return
                if self._latency_s:
                    await asyncio.sleep(max(0.0, self._latency_s + self._rng.uniform(-self._jitter_s, self._jitter_s)))
                if not self._flowing.is_set():
                    self._held_bytes += len(data)
                    self._held_links.add(link)
                    await self._flowing.wait()
                setattr(self.traffic, direction, getattr(self.traffic, direction) + len(data))
                writer.write(data)
                await writer.drain()
            # One side has finished sending; the other may still send.
            if not self._flowing.is_set():
                await self._flowing.wait()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            link.abort()
