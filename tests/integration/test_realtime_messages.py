"""What the database sends by rows of `realtime.messages`, as recordings cannot show it: a lost stream, a burst, a
replay that meets the stream, a database without the table, and its partitions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from reference_server.realtime.changes.bindings import parse_bindings
from reference_server.realtime.changes.feed import ChangeFeed
from reference_server.realtime.messages.message_feed import MessageFeed
from reference_server.realtime.messages.message_table import PUBLICATION, MessageTable
from reference_server.realtime.messages.partitions import Partitions
from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.protocol.ports import StoredMessage
from reference_server.realtime.sockets.outbox import Congestion
from reference_server.realtime.sockets.policies import ChannelPolicies
from reference_server.realtime.sockets.service import RealtimeService
from reference_server.realtime.standalone import create_app
from reference_server.tokens.verifier import TokenVerifier
from tests.integration.test_realtime_live import Client, client
from tests.support.databases import Databases, as_superuser
from tests.support.golden import SECRET, prepare, publish_messages, serving
from tests.support.waiting import Gate, until

LIMITS = replace(Limits(), refusal_delay_s=0, upgrade_refusal_delay_s=0)
TOPIC = "realtime:rw:room"
PRIVATE = {"private": True}


@pytest.fixture(scope="module")
async def db(databases: Databases) -> AsyncIterator[str]:
    async with databases.clone("bare") as dsn:
        await prepare(dsn)
        yield dsn


@pytest.fixture
async def sql(db: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(as_superuser(db), timeout=10)
    await conn.execute("truncate realtime.messages")
    yield conn
    await conn.close(timeout=5)


@asynccontextmanager
async def running(
    dsn: str, messages: MessageFeed | None = None, **limits: Any
) -> AsyncIterator[tuple[int, RealtimeService]]:
    bounds = replace(LIMITS, **limits)
    service = RealtimeService(
        verifier=TokenVerifier(SECRET),
        feed=ChangeFeed(dsn),
        messages=messages or MessageFeed(dsn),
        parse_bindings=parse_bindings,
        policies=ChannelPolicies(dsn),
        limits=bounds,
    )
    async with serving(create_app(service)) as port:
        yield port, service


def number(frame: str | bytes) -> int:
    """`n` of the payload of a frame of kind 4, or of a text broadcast."""
    if isinstance(frame, bytes):
        return int(json.loads(frame[5 + sum(frame[1:4]) :])["n"])
    return int(json.loads(frame)[4]["payload"]["n"])


async def numbers(one: Client, count: int) -> list[int]:
    async with asyncio.timeout(30):
        return [number(await one.connection.recv()) for _ in range(count)]


async def send(sql: asyncpg.Connection, first: int, last: int, topic: str = "rw:room") -> None:
    """Messages with the numbers, in one transaction."""
    await sql.execute(
        "select realtime.send(jsonb_build_object('n', n), 'e', $3) from generate_series($1::int, $2::int) n order by n",
        first, last, topic,
    )  # fmt: skip


async def lose_streams(sql: asyncpg.Connection) -> None:
    await sql.execute(
        "select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid > 0"
        " and database = current_database()"
    )


async def test_what_commits_while_the_stream_is_lost_comes_afterwards_once_and_in_order(
    db: str, sql: asyncpg.Connection
) -> None:
    feed, gate = MessageFeed(db), Gate()
    prepare_stream = feed._prepare

    async def prepare_later() -> None:
        if feed.state == "lost":
            await gate.wait()
        await prepare_stream()

    feed._stream.prepare = prepare_later
    async with running(db, feed) as (port, service), client(port) as one:
        await one.join(TOPIC, PRIVATE)
        await send(sql, 1, 2)
        assert await numbers(one, 2) == [1, 2]
        late = await asyncpg.connect(as_superuser(db), timeout=10)
        async with late.transaction():  # begins before the stream is lost and commits while it is
            await send(late, 3, 3)
            await lose_streams(sql)
            await until(lambda: service.facts().messages == "lost", "the stream to be lost")
        await late.close(timeout=5)
        await send(sql, 4, 5)
        gate.open()
        assert await numbers(one, 3) == [3, 4, 5]
        await send(sql, 6, 6)
        assert await numbers(one, 1) == [6]
        assert service.facts().messages == "live"


class Forgetful(MessageFeed):
    """Planted: begins anew at the present when its stream was lost."""

    async def _catch_up(self, *_: Any) -> None:
        pass


async def test_a_stream_that_begins_anew_at_the_present_would_be_noticed(db: str, sql: asyncpg.Connection) -> None:
    async with running(db, Forgetful(db)) as (port, service), client(port) as one:
        await one.join(TOPIC, PRIVATE)
        async with sql.transaction():
            await send(sql, 1, 1)
            other = await asyncpg.connect(as_superuser(db), timeout=10)
            await lose_streams(other)
            await until(lambda: service.facts().messages == "lost", "the stream to be lost")
        await until(lambda: service.facts().messages == "live", "the stream to come back")
        await send(other, 2, 2)
        assert await numbers(one, 1) == [2]
        await other.close(timeout=5)


class GatedReplay(MessageFeed):
    """Asks for what is to be replayed, and answers only when the gate opens."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.asked, self.gate = Gate(), Gate()

    async def latest(self, topic: str, since_ms: int, limit: int) -> list[StoredMessage]:
        found = await super().latest(topic, since_ms, limit)
        self.asked.open()
        await self.gate.wait()
        return found


async def test_a_message_that_is_replayed_and_streamed_comes_once_and_none_falls_in_between(
    db: str, sql: asyncpg.Connection
) -> None:
    feed = GatedReplay(db)
    async with running(db, feed) as (port, service), client(port) as one, client(port) as other:
        await other.join(TOPIC, PRIVATE)
        await send(sql, 1, 3)
        await numbers(other, 3)
        join = asyncio.create_task(one.join(TOPIC, PRIVATE | {"broadcast": {"replay": {"since": 0, "limit": 2}}}))
        await feed.asked.wait()
        await send(sql, 4, 4)
        await numbers(other, 1)
        # As if the stream had been behind: it brings what is replayed as well.
        replayed = (await MessageFeed(db).latest("rw:room", 0, 3))[1]
        service._message(replayed)
        await numbers(other, 1)
        feed.gate.open()
        assert (await join)[4]["status"] == "ok"
        await send(sql, 5, 5)
        assert await numbers(one, 4) == [2, 3, 4, 5]


async def test_a_refused_or_abandoned_replay_leaves_nothing_behind(db: str, sql: asyncpg.Connection) -> None:
    feed = GatedReplay(db)
    async with running(db, feed) as (port, service):
        async with client(port) as one:
            config = PRIVATE | {"broadcast": {"replay": {"since": 0}}}
            await one.connection.send(json.dumps(["1", "1", TOPIC, "phx_join", {"config": config}]))
            await feed.asked.wait()
        await until(lambda: service.facts().connections == 0, "the socket to be gone")
        assert (service.facts().users, service.facts().channels) == (0, 0)
        feed.gate.open()
        async with client(port) as one:
            for since in (10**15, -(10**15)):
                refused = await one.join(TOPIC, PRIVATE | {"broadcast": {"replay": {"since": since}}})
                assert refused[4]["response"]["reason"] == "UnableToReplayMessages: Replay params are not valid"
            assert service.facts().channels == 0


async def test_a_burst_waits_for_its_receivers_instead_of_cutting_them_off(db: str, sql: asyncpg.Connection) -> None:
    async with running(db, queue_frames=100, congestion_s=20) as (port, service), client(port, max_queue=1) as one:
        await one.join(TOPIC, PRIVATE)
        transport: Any = one.connection.transport
        transport.pause_reading()
        await sql.execute(
            "select realtime.send(jsonb_build_object('n', n, 'v', repeat('x', 20000)), 'e', 'rw:room')"
            " from generate_series(1, 1000) n order by n"
        )
        await until(service.congestion.worth_waiting, "the receiver to be behind")
        transport.resume_reading()
        assert await numbers(one, 1000) == list(range(1, 1001))
        assert service.facts().slow_consumers == 0


async def test_a_receiver_that_stays_behind_is_dropped_and_holds_up_the_others_for_a_while_only(
    db: str, sql: asyncpg.Connection
) -> None:
    async with (
        running(db, queue_frames=100, congestion_s=0.2, send_s=1) as (port, service),
        client(port, max_queue=1) as stalled,
        client(port) as quick,
    ):
        for one in (stalled, quick):
            await one.join(TOPIC, PRIVATE)
        transport: Any = stalled.connection.transport
        transport.pause_reading()
        reading = asyncio.create_task(numbers(quick, 1000))
        await sql.execute(
            "select realtime.send(jsonb_build_object('n', n, 'v', repeat('x', 20000)), 'e', 'rw:room')"
            " from generate_series(1, 1000) n order by n"
        )
        assert await reading == list(range(1, 1001))
        await until(lambda: service.facts().slow_consumers == 1, "the stalled receiver to be dropped")
        transport.resume_reading()


async def test_congestion_ends_with_patience_and_with_the_queue() -> None:
    patient, impatient, outbox = Congestion(60), Congestion(0), object()
    for congestion in (patient, impatient):
        congestion.add(outbox)  # type: ignore[arg-type]
    assert (patient.worth_waiting(), impatient.worth_waiting()) == (True, False)
    patient.discard(outbox)  # type: ignore[arg-type]
    assert not patient.worth_waiting()


async def test_rows_that_no_client_can_be_sent_are_counted_and_stop_nothing(db: str, sql: asyncpg.Connection) -> None:
    feed = MessageFeed(db)
    long = "x" * 300
    async with running(db, feed, broadcast_bytes=1_000) as (port, _), client(port) as one:
        await one.join(TOPIC, PRIVATE)
        await sql.execute(
            "insert into realtime.messages (topic, extension, private) values ('rw:room', 'broadcast', true)"
        )
        await sql.execute(
            "insert into realtime.messages (topic, extension, event, private) values ('rw:room', '', 'e', true)"
        )
        await sql.execute("select realtime.send(jsonb_build_object('n', 0, 'v', repeat('x', 2000)), 'e', 'rw:room')")
        await sql.execute("select realtime.send('{\"n\": 1}', $1, 'rw:room')", long)
        await sql.execute("select realtime.send_binary('\\x00', $1, 'rw:room')", long)
        await send(sql, 2, 2)
        # An event longer than a binary frame can name comes as text.
        text = await one.connection.recv()
        assert isinstance(text, str)
        assert json.loads(text)[4]["event"] == long
        assert await numbers(one, 1) == [2]
        assert feed.unsendable == 2


async def test_without_the_table_everything_else_is_served_and_the_reason_said(databases: Databases) -> None:
    async with databases.clone("bare") as dsn:
        conn = await asyncpg.connect(as_superuser(dsn), timeout=10)
        await conn.execute("alter table realtime.messages rename to elsewhere")
        async with running(dsn, replication_ready_s=0.2) as (port, service), client(port) as one:
            assert "has no table realtime.messages" in str(service.facts().messages_problem)
            assert (await one.join("realtime:a", {"broadcast": {"replication_ready": True}}))[4]["status"] == "ok"
            system, close = await one.next(), await one.next()
            assert system[4]["message"].startswith(
                "Replication connection was not established in time: the database has no table realtime.messages"
            )
            assert close[3] == "phx_close"
            await conn.execute("alter table realtime.elsewhere rename to messages")
            # Found without a restart; and that the role may not publish it is said with the statement to run.
            await until(lambda: "create publication" in str(service.messages.problem), "the table to be found")
            await publish_messages(dsn)
            await until(lambda: service.facts().messages == "live", "the stream")
            await one.join("realtime:a", {"broadcast": {"replication_ready": True}})
            assert (await one.next())[4]["message"] == "Replication connection established"
            await conn.execute("select realtime.send('{\"n\": 1}', 'e', 'a', false)")
            assert await numbers(one, 1) == [1]
            await conn.execute(f"alter publication {PUBLICATION} drop table realtime.messages")
            await lose_streams(conn)
            await until(lambda: "alter publication" in str(service.messages.problem), "what is missing to be said")
        await conn.close(timeout=5)


async def partitions(conn: asyncpg.Connection) -> list[str]:
    rows = await conn.fetch(
        "select inhrelid::regclass::text as name from pg_inherits"
        " where inhparent = 'realtime.messages'::regclass order by 1"
    )
    return [row["name"].removeprefix("realtime.") for row in rows]


async def test_partitions_are_made_ahead_and_dropped_when_they_are_old(databases: Databases) -> None:
    async with databases.clone("bare") as dsn:
        conn = await asyncpg.connect(as_superuser(dsn), timeout=10)
        now = datetime.now(UTC).replace(tzinfo=None)
        for name in await partitions(conn):
            await conn.execute(f"drop table realtime.{name}")
        await conn.execute("create table realtime.messages_default partition of realtime.messages default")
        await conn.execute("insert into realtime.messages (topic, extension, inserted_at) values ('t', 'x', $1)",
                           now + timedelta(days=2))  # fmt: skip
        owned = Partitions(MessageTable(dsn, owner_dsn=as_superuser(dsn)), retention_h=72)
        await owned.once(now)
        # The day that the default partition holds messages of is left to it.
        days = [f"messages_{now + timedelta(days=d):%Y_%m_%d}" for d in (-1, 0, 1, 3)]
        assert set(days) <= set(await partitions(conn))
        owner = "select relowner::regrole::text from pg_class where oid = ('realtime.' || $1)::regclass"
        assert await conn.fetchval(owner, days[1]) == "supabase_realtime_admin"
        await conn.execute("select realtime.send('{}', 'e', 'rw:x')")
        assert await conn.fetchval(f"select count(*) from realtime.{days[1]}") == 1
        await owned.once(now + timedelta(days=5))
        assert not {*days} & set(await partitions(conn)) - {days[3]}
        assert await conn.fetchval("select count(*) from realtime.messages") == 1, "what is kept elsewhere is kept"
        # A role that does not own the table deletes what is old.
        await Partitions(MessageTable(dsn), retention_h=1).once(now + timedelta(days=6))
        assert await conn.fetchval("select count(*) from realtime.messages") == 0
        await conn.close(timeout=5)
