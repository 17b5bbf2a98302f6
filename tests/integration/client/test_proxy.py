"""The breakable network: each fault does what it says, and says what it did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.waiting import until
from toolkit.scenarios.faults.proxy import TcpProxy


@pytest.fixture
async def echo() -> AsyncIterator[TcpProxy]:
    """A proxy before a server that sends back what it gets, and closes when it gets `bye`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (data := await reader.read(1024)) and data != b"bye":
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    server.close()


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, proxy: TcpProxy) -> Peer:
        return cls(*await asyncio.open_connection("127.0.0.1", int(proxy.url.rsplit(":", 1)[1])))

    async def say(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    async def hear(self, count: int, deadline_s: float = 10) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), deadline_s)


async def test_it_forwards_both_ways_and_counts(echo: TcpProxy) -> None:
    peer = await Peer.connect(echo)
    await peer.say(b"hello")
    assert await peer.hear(5) == b"hello"
    assert (echo.traffic.to_server, echo.traffic.to_client, echo.traffic.accepted, echo.connections) == (5, 5, 1, 1)
    await peer.say(b"bye")
    assert await asyncio.wait_for(peer.reader.read(), 10) == b""
    peer.writer.close()
    await until(lambda: echo.connections == 0, "the connection to end")


async def test_a_cut_hits_every_connection_and_says_how_many(echo: TcpProxy) -> None:
    peers = [await Peer.connect(echo) for _ in range(3)]
    await until(lambda: echo.connections == 3, "the connections")
    assert echo.cut().connections == 3
    for peer in peers:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await peer.hear(1)
    assert echo.cut().connections == 0, "a fault that hit nothing must say so"
    late = await Peer.connect(echo)
    await late.say(b"x")
    assert await late.hear(1) == b"x"
    late.writer.close()


async def test_while_it_refuses_nobody_gets_through(echo: TcpProxy) -> None:
    peer = await Peer.connect(echo)
    await until(lambda: echo.connections == 1, "the connection")
    echo.begin_refusing()
    assert echo.cut().connections == 1
    for _ in range(2):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            turned_away = await Peer.connect(echo)
            await turned_away.say(b"x")
            await turned_away.hear(1)
    assert (await echo.end_refusing()).connections == 2
    again = await Peer.connect(echo)
    await again.say(b"x")
    assert await again.hear(1) == b"x"
    for one in (peer, again):
        one.writer.close()


async def test_frozen_bytes_are_held_and_arrive_in_order(echo: TcpProxy) -> None:
    peer = await Peer.connect(echo)
    await peer.say(b"1")
    assert await peer.hear(1) == b"1"
    echo.freeze()
    await peer.say(b"23")
    with pytest.raises(TimeoutError):
        await peer.hear(1, 0.2)
    hit = echo.thaw()
    assert (hit.connections, hit.held_bytes) == (1, 2)
    assert await peer.hear(2) == b"23"
    peer.writer.close()


async def test_a_slow_network_delays_but_keeps_the_order(echo: TcpProxy) -> None:
    peer = await Peer.connect(echo)
    assert echo.slow(0.1, 0.05).connections in {0, 1}
    loop = asyncio.get_running_loop()
    began = loop.time()
    for piece in (b"a", b"b", b"c"):
        await peer.say(piece)
    assert await peer.hear(3) == b"abc"
    assert loop.time() - began >= 0.1  # there and back, each at least 50 ms
    echo.heal()
    peer.writer.close()


async def test_a_server_that_is_gone_is_a_closed_connection(echo: TcpProxy) -> None:
    async with TcpProxy("127.0.0.1", 9) as nowhere:
        peer = await Peer.connect(nowhere)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await peer.hear(1)
        peer.writer.close()


async def test_closing_it_frees_everyone(echo: TcpProxy) -> None:
    peer = await Peer.connect(echo)
    echo.freeze()
    await peer.say(b"x")
    await echo.aclose()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await peer.hear(1)


async def test_lost_answers_reach_the_server_and_never_come_back(echo: TcpProxy) -> None:
    peer = await Peer.connect(echo)
    echo.begin_losing()
    await peer.say(b"a request")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(peer.reader.read(100), 5)
    assert echo.traffic.to_server == len(b"a request")
    assert (echo.traffic.to_client, echo.traffic.lost) == (0, 1)
    echo.heal()
    again = await Peer.connect(echo)
    await again.say(b"hello")
    assert await asyncio.wait_for(again.reader.read(100), 5) == b"hello"
