"""What recordings cannot show: limits, slow readers, a lost stream, a restart, and the promise that a
subscription is live before its join is answered."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from reference_server.realtime.changes.bindings import parse_bindings
from reference_server.realtime.changes.feed import ChangeFeed
from reference_server.realtime.changes.subscriptions import Subscription
from reference_server.realtime.changes.visibility import Identity
from reference_server.realtime.messages.message_feed import MessageFeed
from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.protocol.refusals import NOT_MIGRATED
from reference_server.realtime.sockets.policies import ChannelPolicies, PoliciesUnavailable
from reference_server.realtime.sockets.service import RealtimeService
from reference_server.realtime.standalone import create_app, create_service
from reference_server.tokens.verifier import TokenVerifier
from tests.support.golden import SECRET, mint, prepare, serving
from tests.support.waiting import Gate, until

# One client has the endpoint for itself here; test_realtime_floods.py has several.
LIMITS = replace(Limits(), refusal_delay_s=0, upgrade_refusal_delay_s=0, user_share=1, address_share=1)
ITEMS = [{"event": "*", "schema": "public", "table": "gf_items"}]


@pytest.fixture
async def db(bare_db: str) -> str:
    await prepare(bare_db)
    return bare_db


@asynccontextmanager
async def running(dsn: str, **limits: Any) -> AsyncIterator[tuple[int, RealtimeService]]:
    service = create_service(dsn, SECRET, limits=replace(LIMITS, **limits))
    async with serving(create_app(service)) as port:
        yield port, service


class Client:
    """A plain client of either version; frames are shown in the form of 2.0.0."""

    def __init__(self, connection: ClientConnection, vsn: str = "2.0.0") -> None:
        self.connection = connection
        self._vsn = vsn
        self._refs = 0

    async def _send(self, frame: list[Any]) -> None:
        names = ("join_ref", "ref", "topic", "event", "payload")
        await self.connection.send(json.dumps(frame if self._vsn == "2.0.0" else dict(zip(names, frame, strict=True))))

    async def push(self, topic: str, event: str, payload: Any) -> str:
        self._refs += 1
        await self._send(["1", str(self._refs), topic, event, payload])
        return str(self._refs)

    async def join(self, topic: str, config: dict[str, Any] | None = None) -> Any:
        self._refs += 1
        ref = str(self._refs)
        await self._send([ref, ref, topic, "phx_join", {"config": config or {}}])
        return await self.next("phx_reply")

    async def next(self, event: str | None = None) -> Any:
        """The next frame, or the next of this event."""
        async with asyncio.timeout(15):
            while True:
                frame = json.loads(await self.connection.recv())
                if isinstance(frame, dict):
                    frame = [None, frame["ref"], frame["topic"], frame["event"], frame["payload"]]
                if event is None or frame[3] == event:
                    return frame

    async def closed(self) -> int | None:
        async with asyncio.timeout(15):
            try:
                while True:
                    await self.connection.recv()
            except ConnectionClosed:
                return self.connection.close_code


@asynccontextmanager
async def client(port: int, vsn: str = "2.0.0", **options: Any) -> AsyncIterator[Client]:
    url = f"ws://127.0.0.1:{port}/realtime/v1/websocket?vsn={vsn}&apikey={mint('authenticated:owner-a')}"
    async with connect(url, ping_interval=None, close_timeout=1, **options) as connection:
        yield Client(connection, vsn)


async def join_under_load(dsn: str, port: int, joins: int) -> None:
    """A writer that never stops; each join must see every row written after its answer, and in order."""
    written: list[int] = []
    done = asyncio.Event()

    async def write() -> None:
        conn = await asyncpg.connect(dsn, timeout=10)
        while not done.is_set():
            await conn.execute("insert into public.gf_items (id) values ($1)", len(written))
            written.append(len(written))
        await conn.close(timeout=5)

    async def watch(number: int) -> None:
        async with client(port) as one:
            reply = await one.join(f"realtime:{number}", {"postgres_changes": ITEMS})
            assert reply[4]["status"] == "ok"
            first = len(written) + 1  # the row after the one that may be in flight
            seen: list[int] = []
            while len(seen) < 20 or seen[-1] < first + 20:
                change = await one.next("postgres_changes")
                seen.append(change[4]["data"]["record"]["id"])
            assert seen == list(range(seen[0], seen[0] + len(seen))), "rows are missing or out of order"
            assert seen[0] <= first, f"rows {first} to {seen[0]} committed after the answer and were not delivered"

    writer = asyncio.create_task(write())
    try:
        await until(lambda: len(written) > 5, "the first rows")
        for number in range(0, joins, 5):
            await asyncio.gather(*(watch(number + k) for k in range(min(5, joins))))
    finally:
        done.set()
        await writer


async def test_what_commits_after_the_ok_is_delivered(db: str) -> None:
    async with running(db, users=1_000) as (port, _):
        await join_under_load(db, port, 20)


class HastyFeed(ChangeFeed):
    """Planted: says that a subscription is live before it is, as the real server does."""

    async def subscribe(self, *arguments: Any, **options: Any) -> Any:
        async def later() -> None:
            await asyncio.sleep(0.1)
            await super(HastyFeed, self).subscribe(*arguments, **options)

        self._late = asyncio.create_task(later())
        return Subscription((), Identity("", ""), lambda _: None)


async def test_an_answer_before_the_subscription_is_live_would_be_noticed(db: str) -> None:
    service = create_service(db, SECRET, limits=LIMITS, feed=HastyFeed(db))
    async with serving(create_app(service)) as port:
        with pytest.raises(AssertionError, match="committed after the answer and were not delivered"):
            await join_under_load(db, port, 1)


class GatedFeed(ChangeFeed):
    """A database that does not answer subscriptions until the gate opens."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.gate = Gate()

    async def subscribe(self, *arguments: Any, **options: Any) -> Any:
        await self.gate.wait()
        return await super().subscribe(*arguments, **options)


async def test_a_join_that_waits_for_the_database_delays_its_own_channel_alone(db: str) -> None:
    feed = GatedFeed(db)
    async with serving(create_app(create_service(db, SECRET, limits=LIMITS, feed=feed))) as port, client(port) as one:
        config = {"postgres_changes": ITEMS, "broadcast": {"self": True}}
        await one.connection.send(json.dumps(["1", "j", "realtime:slow", "phx_join", {"config": config}]))
        await one.push("realtime:slow", "broadcast", {"event": "queued"})
        await one.push("phoenix", "heartbeat", {})
        assert (await one.next())[2] == "phoenix"
        assert (await one.join("realtime:quick", {"broadcast": {"self": True}}))[4]["status"] == "ok"
        await one.push("realtime:quick", "broadcast", {"event": "e"})
        assert (await one.next())[2:4] == ["realtime:quick", "broadcast"]
        feed.gate.open()
        frames = [await one.next() for _ in range(3)]
        assert [frame[2] for frame in frames] == ["realtime:slow"] * 3
        assert [frame[3] for frame in frames] == ["phx_reply", "system", "broadcast"]
        assert frames[0][4]["status"] == "ok"


class AwayFeed(ChangeFeed):
    """Its questions are lost with their connection, while the stream of changes lives."""

    async def subscribe(self, *arguments: Any, **options: Any) -> Any:
        self._pool.terminate()
        return await super().subscribe(*arguments, **options)


async def test_a_join_whose_question_is_lost_is_refused_so_that_every_client_tries_again(db: str) -> None:
    service = create_service(db, SECRET, limits=LIMITS, feed=AwayFeed(db))
    async with serving(create_app(service)) as port, client(port) as one:
        reply = await one.join("realtime:changes", {"postgres_changes": ITEMS})
        assert reply[4]["status"] == "error"
        assert reply[4]["response"]["reason"].startswith("UnableToConnectToProject")


async def test_a_client_that_leaves_while_it_joins_leaves_nothing_behind(db: str) -> None:
    feed = GatedFeed(db)
    service = create_service(db, SECRET, limits=LIMITS, feed=feed)
    async with serving(create_app(service)) as port:
        async with client(port) as one:
            join = ["1", "1", "realtime:slow", "phx_join", {"config": {"postgres_changes": ITEMS}}]
            await one.connection.send(json.dumps(join))
            await until(lambda: service.facts().users == 1, "the join to be admitted")
        await until(lambda: service.facts().connections == 0, "the socket to be gone")
        feed.gate.open()
        assert (service.facts().users, service.facts().channels, feed.facts.subscriptions) == (0, 0, 0)


async def test_joins_at_the_same_moment_do_not_pass_the_limit_of_users_together(db: str) -> None:
    feed = GatedFeed(db)
    service = create_service(db, SECRET, limits=replace(LIMITS, users=1), feed=feed)
    async with serving(create_app(service)) as port, client(port) as one, client(port) as two:
        first = asyncio.create_task(one.join("realtime:a", {"postgres_changes": ITEMS}))
        await until(lambda: service.facts().users == 1, "the first join to be admitted")
        refused = await two.join("realtime:b", {"postgres_changes": ITEMS})
        assert refused[4]["response"]["reason"] == "ConnectionRateLimitReached: Too many connected users"
        feed.gate.open()
        assert (await first)[4]["status"] == "ok"


async def test_a_refresh_overtaken_by_a_lost_stream_does_not_close_what_the_client_will_rejoin(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(db) as (port, service), client(port) as one:
        await one.join("realtime:changes", {"postgres_changes": ITEMS})
        await one.next("system")
        asked, gate, verify = Gate(), Gate(), service.verifier.verify

        async def slow(token: str) -> Any:
            # The server's event loop runs in a thread of its own.
            asyncio.get_running_loop().call_soon(service._feed_state, "lost")
            asked.open()
            await gate.wait()
            return await verify(token)

        monkeypatch.setattr(service.verifier, "verify", slow)
        await one.push("realtime:changes", "access_token", {"access_token": mint("authenticated:owner-a:expired")})
        await asked.wait()
        assert (await one.next())[3] == "phx_error"
        gate.open()
        await one.push("phoenix", "heartbeat", {})
        assert (await one.next())[2] == "phoenix", "the refused refresh closed a channel that had ended"


async def test_changes_of_a_schema_that_is_not_migrated_are_refused_at_once_and_in_words(db: str) -> None:
    service = create_service(db, SECRET, limits=LIMITS, feed=GatedFeed(db))
    service.no_changes = NOT_MIGRATED
    async with serving(create_app(service)) as port, client(port) as one:
        reply = await one.join("realtime:changes", {"postgres_changes": ITEMS})
        assert reply[4] == {"status": "error", "response": {"reason": NOT_MIGRATED}}
        assert (await one.join("realtime:talk"))[4]["status"] == "ok"


async def test_a_lost_stream_fails_the_channels_that_listen_and_only_those(db: str) -> None:
    async with running(db) as (port, service), client(port) as one:
        await one.join("realtime:changes", {"postgres_changes": ITEMS})
        await one.next("system")
        await one.join("realtime:talk", {"broadcast": {"self": True}})
        conn = await asyncpg.connect(db, timeout=10)
        await conn.execute(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid > 0"
            " and database = current_database()"
        )
        failure = await one.next()
        assert failure[2:4] == ["realtime:changes", "phx_error"]
        await one.push("realtime:talk", "broadcast", {"event": "still here"})
        assert (await one.next())[2:4] == ["realtime:talk", "broadcast"]

        await until(lambda: service.feed.state == "live", "the stream to come back")
        assert (await one.join("realtime:changes", {"postgres_changes": ITEMS}))[4]["status"] == "ok"
        await conn.execute("insert into public.gf_items (id) values (1)")
        assert (await one.next("postgres_changes"))[4]["data"]["record"]["id"] == 1
        await conn.close(timeout=5)


async def test_a_slow_reader_is_cut_off_and_costs_the_others_nothing(db: str) -> None:
    async with running(db, queue_bytes=500_000, send_s=1, events_per_second=10_000) as (port, service):
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", port))
        async with client(port) as quick, client(port) as sender, client(port, sock=narrow, max_queue=1) as slow:
            for one in (quick, slow, sender):
                await one.join("realtime:room")
            transport: Any = slow.connection.transport
            transport.pause_reading()
            numbers: list[int] = []

            async def read() -> None:
                while len(numbers) < 200:
                    numbers.append((await quick.next("broadcast"))[4]["payload"]["n"])

            reader = asyncio.create_task(read())
            for n in range(200):
                await sender.push("realtime:room", "broadcast", {"event": "e", "payload": {"n": n, "v": "x" * 20_000}})
            async with asyncio.timeout(20):
                await reader
            assert numbers == list(range(200))
            await until(lambda: service.facts().slow_consumers == 1, "the slow reader to be noticed")
            await until(lambda: service.facts().connections == 2, "the slow reader to be cut off")
            transport.resume_reading()
            await slow.closed()


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_too_many_messages_close_the_channel_but_deliver_the_last(db: str, vsn: str) -> None:
    """Conformance case L02."""
    async with running(db, events_per_second=5) as (port, _), client(port, vsn) as one:
        await one.join("realtime:room", {"broadcast": {"self": True}})
        for n in range(6):
            await one.push("realtime:room", "broadcast", {"event": "e", "payload": n})
        frames = [await one.next() for _ in range(8)]
        assert [frame[3] for frame in frames] == ["broadcast"] * 6 + ["system", "phx_close"]
        assert frames[6][4]["message"] == "Too many messages per second"
        assert (await one.join("realtime:room"))[4]["status"] == "ok"


async def test_a_refused_batch_costs_other_clients_nothing(db: str) -> None:
    async with running(db, events_per_second=5) as (port, _), client(port) as one:
        await one.join("realtime:room")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/realtime/v1", timeout=10) as http:
            batch = {"messages": [{"topic": "room", "event": "e", "payload": {"n": n}} for n in range(500)]}
            http.headers["apikey"] = mint("authenticated:owner-a")
            assert (await http.post("/api/broadcast", json=batch)).status_code == 429
            few = {"messages": batch["messages"][:3]}
            assert (await http.post("/api/broadcast", json=few)).status_code == 202
        assert [(await one.next("broadcast"))[4]["payload"]["n"] for _ in range(3)] == [0, 1, 2]


SLASHES = {
    "a%2Fb/events/c%2Fd": ("a/b", "c/d"),
    "e/f/events/g/h": ("e/f", "g/h"),
    "i%2Fevents%2Fj/events/k": ("i/events/j", "k"),
    "家/events/%E9%A3%9F": ("家", "食"),
}


async def test_topics_and_events_of_the_http_broadcast_may_contain_slashes(db: str) -> None:
    headers = {"apikey": mint("authenticated:owner-a")}
    async with running(db) as (port, _), client(port) as one, httpx.AsyncClient(headers=headers, timeout=10) as http:
        sending = f"http://127.0.0.1:{port}/realtime/v1/api/broadcast"
        for path, (topic, event) in SLASHES.items():
            await one.join(f"realtime:{topic}")
            assert (await http.post(f"{sending}/{path}", json={"n": 1})).status_code == 202
            frame = await one.connection.recv()
            assert isinstance(frame, bytes)
            assert frame[5:].decode() == f'realtime:{topic}{event}{{"n":1}}'
        preflight = await http.options(sending)
        assert {"traceparent", "tracestate", "baggage", "x-retry-count", "apikey"} <= set(
            preflight.headers["access-control-allow-headers"].split(", ")
        )
        for path in ("/events/c", "a/events/", "a%2Fevents%2Fb"):
            assert (await http.post(f"{sending}/{path}", json={})).status_code == 404


async def test_too_many_joins_close_the_socket_and_refuse_the_next(db: str) -> None:
    async with running(db, joins_per_second=5) as (port, _):
        async with client(port) as one:
            replies = [await one.join(f"realtime:{n}") for n in range(6)]
            assert [reply[4]["status"] for reply in replies] == ["ok"] * 5 + ["error"]
            assert replies[-1][4]["response"]["reason"] == "ClientJoinRateLimitReached: Too many joins per second"
            assert await one.closed() == 1000
        with pytest.raises(InvalidStatus) as refused:
            async with client(port):
                pass
        assert refused.value.response.status_code == 429


async def test_health_and_metrics_say_what_is_open(db: str) -> None:
    async with running(db) as (port, service), client(port) as one:
        await one.join("realtime:room")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
            health = await http.get("/realtime/v1/health")
        assert health.status_code == 200
        body = health.json()
        assert (body["status"], body["stream"]["state"], body["connections"], body["channels"]) == ("ok", "live", 1, 1)
        assert service.facts().frames_sent == 1


async def test_a_restart_tells_clients_to_come_back_and_leaves_nothing_open(db: str) -> None:
    async with running(db) as (port, _):
        url = f"ws://127.0.0.1:{port}/socket/websocket?vsn=2.0.0&apikey={mint('authenticated:owner-a')}"
        connection = await connect(url, ping_interval=None)
        one = Client(connection)
        await one.join("realtime:changes", {"postgres_changes": ITEMS})
    assert await one.closed() == 1012
    conn = await asyncpg.connect(db, timeout=10)
    left = await conn.fetch(
        "select application_name from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid() and backend_type in ('client backend', 'walsender')"
    )
    await conn.close(timeout=5)
    assert left == []


async def test_a_private_channel_is_never_open_while_the_policies_cannot_be_read(db: str) -> None:
    elsewhere = db.replace("/bare_", "/no_such_db_")
    with pytest.raises(PoliciesUnavailable):
        await ChannelPolicies(elsewhere).may_read("rw:x", {"role": "authenticated"})
    service = RealtimeService(
        verifier=TokenVerifier(SECRET),
        feed=ChangeFeed(db),
        messages=MessageFeed(db),
        parse_bindings=parse_bindings,
        policies=ChannelPolicies(elsewhere),
        limits=LIMITS,
    )
    async with serving(create_app(service)) as port, client(port) as one:
        reply = await one.join("realtime:rw:x", {"private": True})
        assert reply[4]["response"]["reason"].startswith("UnableToConnectToProject")


async def test_a_join_that_waits_for_changes_is_answered_when_they_flow_or_refused_in_words(db: str) -> None:
    feed = GatedFeed(db)
    service = create_service(db, SECRET, limits=LIMITS, feed=feed)
    waits = {"postgres_changes": ITEMS, "postgres_changes_options": {"wait": True}}
    async with serving(create_app(service)) as port, client(port) as one:
        late = dict(waits, postgres_changes_options={"wait": "true", "timeout": "100"})
        for config in (late, dict(waits, postgres_changes_options={"wait": True, "timeout": 100})):
            assert (await one.join("realtime:late", config))[4]["response"]["reason"] == (
                "PostgresChangesSubscribeTimeout: Timed out after 100ms waiting for the postgres_changes subscription"
            )
        feed.gate.open()
        assert (await one.join("realtime:a", waits))[4]["status"] == "ok"
        assert (await one.next())[4]["message"] == "Subscribed to PostgreSQL"
        bad = dict(waits, postgres_changes=[{"event": "*", "schema": "public", "table": "nothing"}])
        reason = (await one.join("realtime:b", bad))[4]["response"]["reason"]
        assert reason.startswith(
            "RealtimeDisabledForConfiguration: Unable to subscribe to changes with given parameters"
        )
        assert service.facts().channels == 1
        # A client that does not ask to wait joins, and hears of its bindings afterwards.
        told = await one.join("realtime:b", dict(bad, postgres_changes_options={"wait": False, "timeout": 5}))
        assert told[4]["status"] == "ok"
        assert (await one.next())[4]["status"] == "error"
