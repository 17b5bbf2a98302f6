"""The change feed under what goes wrong: roles, broken policies, lost streams, changing tables, load."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from reference_server.realtime.changes import backlog
from reference_server.realtime.changes import decide as delivery
from reference_server.realtime.changes.bindings import parse_bindings
from reference_server.realtime.changes.feed import ChangeFeed
from reference_server.realtime.changes.feed_facts import FeedState
from reference_server.realtime.changes.visibility import Identity, VisibilityQuestion
from reference_server.realtime.protocol.ports import SubscribeRefused
from reference_server.realtime.sockets.policies import ChannelPolicies
from reference_server.replication import stream
from reference_server.replication.stream import StreamLost
from tests.support.awkward_defaults import awkward_defaults
from tests.support.databases import Databases
from tests.support.feeds import OWNER_A, OWNER_B, Subscriber, running_feed, subscribe, user
from tests.support.plans import MOST_ROWS, ran_under_row_security, with_many_rows
from tests.support.waiting import until
from toolkit.migrate.scratch.platform import prepare_platform
from toolkit.postgres.cluster import THROWAWAY_SETTINGS, PostgresCluster, free_port

TABLES = """
create table public.notes (id int primary key, owner text not null, n int, note text);
alter table public.notes enable row level security;
create policy own on public.notes for select to authenticated using (owner = (auth.jwt() ->> 'sub'));
create table public.open (id int primary key, n int, note text);
create table public.other (id int primary key, n int);
alter publication supabase_realtime add table public.notes, public.open;
"""


@dataclass
class Database:
    dsn: str
    conn: asyncpg.Connection
    feed: ChangeFeed

    async def run(self, statement: str, *args: object) -> None:
        await self.conn.execute(statement, *args)


async def connect(dsn: str) -> asyncpg.Connection:
    # The throw-away cluster flushes its WAL late otherwise, and what is not flushed is not streamed.
    return await asyncpg.connect(dsn, timeout=10, server_settings={"synchronous_commit": "on"})


@pytest.fixture
async def db(bare_db: str) -> AsyncIterator[Database]:
    conn = await connect(bare_db)
    await conn.execute(TABLES)
    async with running_feed(bare_db) as feed:
        yield Database(bare_db, conn, feed)
    await conn.close(timeout=5)


# -- roles ------------------------------------------------------------------------------------


NOT_FOR_CLIENTS = (
    *("postgres", "pg_read_all_data", "authenticator", "nobody_has_this", 'anon"; reset role; --'),
    *("", None, 5, "a\0b", "none", "ANON", "public"),
)


async def test_a_role_that_clients_may_not_take_is_refused(db: Database) -> None:
    for role in NOT_FOR_CLIENTS:
        with pytest.raises(SubscribeRefused, match="not one that API clients may take"):
            await subscribe(db.feed, {"role": role}, {"table": "open"})


async def test_a_role_granted_to_authenticator_is_taken_where_the_setting_names_it(db: Database) -> None:
    await db.run("create role feed_test_tenant nologin noinherit; grant feed_test_tenant to authenticator")
    try:
        await db.run(
            "grant usage on schema public to feed_test_tenant; grant select (id) on public.open to feed_test_tenant"
        )
        with pytest.raises(SubscribeRefused, match="REALTIME_FURTHER_ROLES"):
            await subscribe(db.feed, {"role": "feed_test_tenant"}, {"table": "open"})
        roles = db.feed.api_roles
        roles.further = ("feed_test_tenant", "postgres", "none")
        for role in ("postgres", "none"):  # naming them is not enough
            with pytest.raises(SubscribeRefused, match="not one that API clients may take"):
                await subscribe(db.feed, {"role": role}, {"table": "open"})
        tenant = await subscribe(db.feed, {"role": "feed_test_tenant"}, {"table": "open"})
        await db.run("insert into public.open values (1, 2, 'x')")
        await tenant.count(1)
        assert tenant.data[0]["record"] == {"id": 1}
        assert tenant.data[0]["columns"] == [{"name": "id", "type": "int4"}]
        await db.run("revoke feed_test_tenant from authenticator")
        roles.forget()
        with pytest.raises(SubscribeRefused, match="not one that API clients may take"):
            await subscribe(db.feed, {"role": "feed_test_tenant"}, {"table": "open"})
    finally:
        await db.run("grant feed_test_tenant to postgres; drop owned by feed_test_tenant; drop role feed_test_tenant")


async def test_questions_leave_no_role_behind_in_the_pool(db: Database) -> None:
    reader = await subscribe(db.feed, user("me"), {"table": "notes"})
    for number in range(5):
        await db.run("insert into public.notes values ($1, 'me', 0, '')", number)
    await reader.count(5)
    who = await db.feed._pools.rows.fetchrow(
        "select current_user as me, current_setting('request.jwt.claims', true) as c"
    )
    assert who is not None
    assert (who["me"], who["c"] or "") == ("postgres", "")


# -- row security -----------------------------------------------------------------------------


async def test_one_identity_whose_policy_fails_is_told_and_costs_the_others_nothing(db: Database) -> None:
    await db.run("""
        create policy fragile on public.notes for select to authenticated
          using (case when auth.jwt() ->> 'sub' = 'broken' then (1 / (n - n)) = 0 else false end)
    """)
    good = await subscribe(db.feed, user("me"), {"table": "notes"})
    broken = await subscribe(db.feed, user("broken"), {"table": "notes"})
    await db.run("insert into public.notes values (1, 'me', 5, 'a'), (2, 'you', 5, 'b'), (3, 'me', 5, 'c')")
    await good.count(2)
    await broken.until(lambda me: bool(me.errors))
    assert good.column("id") == [1, 3]
    assert (len(broken.errors), broken.changes) == (1, [])
    assert "division by zero" in broken.errors[0]
    assert (db.feed.state, db.feed.facts.failures, db.feed.facts.subscriptions) == ("live", 1, 1)


async def test_without_an_error_callback_a_failure_ends_the_stream_rather_than_staying_silent(db: Database) -> None:
    await db.run("create policy bad on public.notes for select to authenticated using (1 / (n - n) = 0)")
    states: asyncio.Queue[str] = asyncio.Queue()
    db.feed.on_state(states.put_nowait)
    await db.feed.subscribe(parse_bindings([{"table": "notes"}]), user("me"), lambda change: None)
    await db.run("insert into public.notes values (1, 'you', 5, 'a')")
    async with asyncio.timeout(10):
        assert [await states.get(), await states.get()] == ["lost", "live"]


async def test_new_claims_count_from_the_moment_they_are_accepted(db: Database) -> None:
    reader = await subscribe(db.feed, user(OWNER_A), {"table": "notes"})
    assert reader.subscription is not None
    insert = "insert into public.notes values ($1, $2, 0, '')"
    await db.run(insert, 1, OWNER_A)
    await reader.count(1)
    await db.feed.update_claims(reader.subscription, user(OWNER_B))
    await db.run(insert, 2, OWNER_A)
    await db.run(insert, 3, OWNER_B)
    await reader.record("id", 3)
    assert reader.column("id") == [1, 3]
    with pytest.raises(SubscribeRefused):
        await db.feed.update_claims(reader.subscription, {"role": "postgres"})
    assert reader.subscription.ended


async def test_row_security_and_grants_that_change_under_a_subscription_are_obeyed(db: Database) -> None:
    await db.run("create policy own on public.open for select to authenticated using (n = 1)")
    reader = await subscribe(db.feed, user("me"), {"table": "open"})
    await db.run("insert into public.open values (1, 2, 'before')")
    await reader.count(1)
    await db.run("alter table public.open enable row level security")
    await db.run("insert into public.open values (2, 2, 'hidden'), (3, 1, 'shown')")
    await reader.record("id", 3)
    await db.run("revoke select on public.open from authenticated")
    await db.run("grant select (id, n) on public.open to authenticated")
    await db.run("insert into public.open values (4, 1, 'no note')")
    await reader.record("id", 4)
    assert reader.column("note") == ["before", "shown", None]


async def test_a_row_is_judged_only_when_its_transaction_is_visible(db: Database) -> None:
    writer = await connect(db.dsn)
    facts = (await db.feed._catalog.published("public", "notes"))[0]
    transaction = writer.transaction()
    await transaction.start()
    await writer.execute("insert into public.notes values (1, 'me', 0, '')")
    xid = await writer.fetchval("select (pg_current_xact_id()::text::bigint & 4294967295)")
    me = Identity("authenticated", json.dumps(user("me")))
    question = asyncio.create_task(db.feed._visibility.visible(VisibilityQuestion(facts, {xid}, {me: {("1",)}})))
    done, _ = await asyncio.wait([question], timeout=0.1)
    assert not done, "answered while the row's transaction was still open"
    await transaction.commit()
    assert await asyncio.wait_for(question, 10) == {me: {("1",)}}
    await writer.close(timeout=5)


# -- tables that change -----------------------------------------------------------------------


async def test_a_filter_follows_its_column_to_another_type(db: Database) -> None:
    reader = await subscribe(db.feed, user("me"), {"table": "open", "filter": "n=eq.05"})
    await db.run("insert into public.open values (1, 5, ''), (2, 6, '')")
    await db.run("alter table public.open alter column n type numeric(10, 2)")
    await db.run("insert into public.open values (3, 5.00, ''), (4, 5.01, '')")
    await reader.record("id", 3)
    assert reader.column("id") == [1, 3]
    await db.run("alter table public.open drop column n")
    await db.run("insert into public.open values (5, '')")
    await reader.until(lambda me: bool(me.errors))
    assert "invalid column for filter n" in reader.errors[0]


@pytest.mark.parametrize("refreshed", [False, True])
async def test_a_table_that_changes_while_bindings_are_checked_is_checked_again(
    db: Database, monkeypatch: pytest.MonkeyPatch, refreshed: bool
) -> None:
    other = await subscribe(db.feed, user("me"), {"table": "open"})
    await db.run("insert into public.open values (1, 5, '')")
    await other.count(1)
    filtered = {"table": "open", "filter": "n=eq.5"}
    reader = await subscribe(db.feed, user("me"), filtered) if refreshed else None
    check, overtaken = db.feed._registrar.registrations, False

    async def overtake(*arguments: Any) -> Any:
        nonlocal overtaken
        result = await check(*arguments)
        if not overtaken:
            overtaken = True
            await db.run("alter table public.open alter column n type text")
            await db.run("insert into public.open values (2, '05', '')")
            await other.count(2)
        return result

    monkeypatch.setattr(db.feed._registrar, "registrations", overtake)
    if reader is None:
        reader = await subscribe(db.feed, user("me"), filtered)
    else:
        assert reader.subscription is not None
        await db.feed.update_claims(reader.subscription, user("me") | {"again": True})
    await db.run("insert into public.open values (3, '05', ''), (4, '5', '')")
    await reader.record("id", 4)
    assert 3 not in reader.column("id"), "the text 05 was compared as a number"
    assert reader.subscription is not None
    assert {r.conditions[0].type_sql for r in reader.subscription.registrations} == {"pg_catalog.text"}


async def test_a_wildcard_reaches_tables_published_later(db: Database) -> None:
    every = await subscribe(db.feed, user("me"), {"table": "*"})
    filtered = await subscribe(db.feed, user("me"), {"table": "*", "filter": "n=eq.7"})
    await db.run("alter publication supabase_realtime add table public.other")
    await db.run("insert into public.other values (1, 6), (2, 7), (3, 8)")
    await every.count(3)
    await filtered.count(1)
    assert (every.column("id"), filtered.column("id")) == ([1, 2, 3], [2])


NOT_SERVED = (
    ("alter publication supabase_realtime drop table public.t0", "public.t0 is no longer published"),
    ("drop table public.t1", "public.t1 is no longer published"),
    ("alter table public.t2 rename to t", "public.t2 is no longer published"),
    ("alter table public.t3 rename column n to number", "public.t3 has no column n any more"),
    ("alter table public.t4 drop column note", "public.t4 has no column note any more"),
    ("alter publication supabase_realtime set (publish = 'delete')", "no longer publishes INSERT"),
    ("alter publication supabase_realtime set table public.open, public.t6 where (n > 5)", "row filter for public.t6"),
)


def _has_looked(feed: ChangeFeed, times: int) -> bool:
    return feed.looks >= times


async def test_a_subscription_that_cannot_be_served_any_more_is_told(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference_server.realtime.changes.feed.EVERY_S", 0.05)
    for number in range(len(NOT_SERVED)):
        await db.run(
            f"create table public.t{number} (id int primary key, n int, note text);"
            f"alter publication supabase_realtime add table public.t{number}"
        )
    other = await subscribe(db.feed, user("me"), {"table": "open", "event": "DELETE"})
    for number, (statement, words) in enumerate(NOT_SERVED):
        if number == 6:
            await db.run("alter publication supabase_realtime set (publish = 'insert, update, delete')")
        asked = await subscribe(
            db.feed, user("me"), {"table": f"t{number}", "filter": "n=gt.0", "select": ["n", "note"]}
        )
        looks = db.feed.looks
        await until(partial(_has_looked, db.feed, looks + 2), "a look at what is published")
        await db.run(statement)
        await asked.until(lambda me: bool(me.errors), 30)
        assert words in asked.errors[0]
    assert other.errors == []


async def test_a_table_without_subscribers_costs_no_questions(db: Database) -> None:
    reader = await subscribe(db.feed, user("me"), {"table": "open"})
    await db.run("insert into public.notes select g, 'me', g, '' from generate_series(1, 100) g")
    await db.run("insert into public.open values (1, 1, '')")
    await reader.count(1)
    assert [facts.name for facts in db.feed._catalog.tables.values()] == ["open"]
    assert db.feed.facts.changes_seen == 101


async def test_values_that_only_postgres_can_compare(db: Database) -> None:
    await db.run("create table public.odd (id int primary key, code char(4), span interval, tags text[], word text)")
    await db.run("alter publication supabase_realtime add table public.odd")
    reader = await subscribe(
        db.feed,
        user("me"),
        {"table": "odd", "filter": "code=eq.ab"},
        {"table": "odd", "filter": "span=in.(1 day,2 days)"},
        {"table": "odd", "filter": 'tags=eq."{a,\\"b\\"}"'},
        {"table": "odd", "filter": "word=gt.m,word=not.ilike.%Z"},
    )
    await db.run("insert into public.odd values (1, 'ab'), (2, 'abc'), (3, 'b')")
    await db.run("insert into public.odd (id, span) values (4, '24:00:00'), (5, '25:00:00')")
    await db.run("insert into public.odd (id, tags) values (6, '{a,b}'), (7, '{a}')")
    await db.run("insert into public.odd (id, word) values (8, 'n'), (9, 'nz'), (10, 'a'), (11, 'zoo')")
    await reader.record("id", 11)
    assert reader.column("id") == [1, 4, 6, 8, 11]


# -- order, load, loss ------------------------------------------------------------------------


async def test_every_subscriber_sees_every_row_once_in_commit_order(db: Database) -> None:
    """Writers that compete, row security on: the order of commits is the order of a locked counter."""
    await db.run("create table public.counter (n int); insert into public.counter values (0)")
    readers = [await subscribe(db.feed, user("me"), {"table": "notes"}) for _ in range(3)]
    someone_else = await subscribe(db.feed, user("you"), {"table": "notes"})

    async def write(rows: int) -> None:
        conn = await connect(db.dsn)
        for _ in range(rows):
            await conn.execute("""
                with next as (update public.counter set n = n + 1 returning n)
                insert into public.notes select n, 'me', n, repeat('x', n % 50) from next
            """)
        await conn.close(timeout=5)

    await asyncio.gather(*(write(100) for _ in range(4)))
    for reader in readers:
        await reader.count(400)
        assert reader.column("id") == list(range(1, 401))
    assert someone_else.changes == []


async def test_a_large_transaction_is_held_back_and_loses_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "CHANGES", (100, 20))
    pauses = itertools.count()
    pause = db.feed._stream.pause
    monkeypatch.setattr(db.feed._stream, "pause", lambda: (next(pauses), pause()))
    reader = await subscribe(db.feed, user("me"), {"table": "open"})
    await db.run("insert into public.open select g, g, repeat('x', 100) from generate_series(1, 20000) g")
    await reader.until(lambda me: len(me.changes) == 20_000, 60)
    assert reader.column("id") == list(range(1, 20_001))
    assert next(pauses) > 0, "the queue never reached its limit"
    assert db.feed.facts.queued == 0


async def test_many_subscribers_are_served_in_rounds(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MATCHES_AT_ONCE", 20)
    readers = [await subscribe(db.feed, user("me"), {"table": "open"}) for _ in range(15)]
    await db.run("insert into public.open select g, g, '' from generate_series(1, 300) g")
    for reader in readers:
        await reader.count(300)
        assert reader.column("id") == list(range(1, 301))


async def test_a_table_dropped_before_its_changes_were_judged_is_told(db: Database) -> None:
    exact = await subscribe(db.feed, user("me"), {"table": "notes"})
    elsewhere = await subscribe(db.feed, user("me"), {"table": "open"})
    async with db.feed._turn:  # nothing is judged meanwhile
        await db.run("insert into public.open values (1, 1, '')")
        await db.run("insert into public.notes values (1, 'me', 1, '')")
        await db.run("insert into public.open values (2, 2, '')")
        await db.run("drop table public.notes")
    await elsewhere.count(2)
    assert elsewhere.column("id") == [1, 2]
    await exact.until(lambda me: bool(me.errors))
    assert "could not be delivered" in exact.errors[0]


async def test_a_lost_stream_is_told_and_heals(db: Database) -> None:
    states: asyncio.Queue[str] = asyncio.Queue()
    db.feed.on_state(states.put_nowait)
    old = await subscribe(db.feed, user("me"), {"table": "open"})
    await db.run("insert into public.open values (1, 1, '')")
    await old.count(1)
    await db.run(
        "select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()"
    )
    async with asyncio.timeout(15):
        assert await states.get() == "lost"
        assert old.subscription is not None
        assert old.subscription.ended
        assert await states.get() == "live"
    new = await subscribe(db.feed, user("me"), {"table": "open"})
    await db.run("insert into public.open values (2, 2, '')")
    await new.count(1)
    assert (old.column("id"), new.column("id"), db.feed.facts.reconnects) == ([1], [2], 1)
    slots = await db.conn.fetchval("select count(*) from pg_replication_slots where database = current_database()")
    assert slots == 1


async def test_a_link_that_falls_silent_is_a_lost_stream(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "FEEDBACK_EVERY_S", 0.1)
    monkeypatch.setattr(stream, "SILENCE_LIMIT_S", 0.5)
    async with running_feed(db.dsn) as feed:
        states: asyncio.Queue[str] = asyncio.Queue()
        feed.on_state(states.put_nowait)
        # The server answers feedback that asks for it: silence longer than the limit is no idleness.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(states.get(), 1.2)
        sender = await db.conn.fetchval(
            "select active_pid from pg_replication_slots where database = current_database() "
            "order by active_pid desc limit 1"
        )
        os.kill(sender, signal.SIGSTOP)
        try:
            async with asyncio.timeout(15):
                assert [await states.get(), await states.get()] == ["lost", "live"]
        finally:
            os.kill(sender, signal.SIGCONT)
        reader = await subscribe(feed, user("me"), {"table": "open"})
        await db.run("insert into public.open values (1, 1, '')")
        await reader.count(1)


async def test_over_tcp(tmp_path: Path) -> None:
    cluster = PostgresCluster(tmp_path / "data", tcp_port=free_port(), settings=THROWAWAY_SETTINGS)
    cluster.start()
    try:
        admin = await connect(cluster.admin_dsn())
        await prepare_platform(admin)
        await admin.close(timeout=5)
        conn = await connect(cluster.tcp_dsn())
        await conn.execute(TABLES)
        async with running_feed(cluster.tcp_dsn()) as feed:
            reader = await subscribe(feed, user("me"), {"table": "notes"})
            await conn.execute("insert into public.notes values (1, 'me', 1, '')")
            await reader.count(1)
        await conn.close(timeout=5)
    finally:
        cluster.destroy()


async def test_a_database_that_stops_answering_questions_is_a_lost_feed(db: Database) -> None:
    await db.run("create policy slow on public.notes for select to authenticated using (pg_sleep(1) is not null)")
    states: asyncio.Queue[str] = asyncio.Queue()
    db.feed.on_state(states.put_nowait)
    reader = await subscribe(db.feed, user("me"), {"table": "notes"})
    db.feed._visibility.deadline_s = 0.1
    await db.run("insert into public.notes values (1, 'you', 0, '')")
    async with asyncio.timeout(15):
        assert [await states.get(), await states.get()] == ["lost", "live"]
    assert reader.subscription is not None
    assert reader.subscription.ended


async def test_a_slow_policy_costs_only_the_identity_it_is_slow_for(db: Database) -> None:
    await db.run("""
        create policy slow on public.notes for select to authenticated
          using (case when auth.jwt() ->> 'sub' = 'slow' then pg_sleep(30) is not null else false end)
    """)
    async with running_feed(db.dsn, query_deadline_s=1) as feed:  # of which the server takes half
        good = await subscribe(feed, user("me"), {"table": "notes"})
        slow = await subscribe(feed, user("slow"), {"table": "notes"})
        await db.run("insert into public.notes values (1, 'me', 0, '')")
        await good.count(1)
        await slow.until(lambda me: bool(me.errors))
        assert "took too long" in slow.errors[0]
        assert feed.state == "live"


async def test_two_feeds_on_one_database_do_not_meet(db: Database) -> None:
    async with running_feed(db.dsn) as second:
        readers = [await subscribe(feed, user("me"), {"table": "open"}) for feed in (db.feed, second)]
        await db.run("insert into public.open values (1, 1, '')")
        for reader in readers:
            await reader.count(1)


async def test_start_gives_up_in_time_and_says_why(databases: Databases) -> None:
    async with databases.clone("bare") as dsn:
        writer = await connect(dsn)
        async with writer.transaction():
            await writer.execute("select pg_current_xact_id()")  # a slot waits for this to end
            feed = ChangeFeed(dsn)
            with pytest.raises(StreamLost, match="a transaction that has been open for long"):
                await feed.start(deadline_s=1)
        slots = "select count(*) from pg_replication_slots where database = current_database()"
        for _ in range(500):
            if not await writer.fetchval(slots):
                break
            await asyncio.sleep(0.02)
        assert await writer.fetchval(slots) == 0
        await writer.close(timeout=5)
        assert feed.state == "starting"


async def test_unsubscribed_and_stopped_mean_silence(db: Database) -> None:
    gone = await subscribe(db.feed, user("me"), {"table": "open"})
    here = await subscribe(db.feed, user("me"), {"table": "open"})
    assert gone.subscription is not None
    await db.feed.unsubscribe(gone.subscription)
    await db.feed.unsubscribe(gone.subscription)
    await db.run("insert into public.open values (1, 1, '')")
    await here.count(1)
    assert gone.changes == []
    await db.feed.stop()
    state: FeedState = db.feed.state
    assert state == "stopped"
    with pytest.raises(SubscribeRefused, match="shutting down"):
        await subscribe(db.feed, user("me"), {"table": "open"})


async def test_a_sink_that_raises_ends_its_own_subscription_only(db: Database) -> None:
    def broken_sink(change: object) -> None:
        raise RuntimeError("the socket is gone")

    failing, good = Subscriber(), await subscribe(db.feed, user("me"), {"table": "open"})
    await db.feed.subscribe(parse_bindings([{"table": "open"}]), user("me"), broken_sink, on_error=failing.on_error)
    await db.run("insert into public.open values (1, 1, ''), (2, 2, '')")
    await good.count(2)
    assert len(failing.errors) == 1
    assert "the socket is gone" in failing.errors[0]


async def test_defaults_of_the_database_change_nothing_of_what_is_told(bare_db: str) -> None:
    conn = await connect(bare_db)
    policies = ChannelPolicies(bare_db)
    try:
        await conn.execute(TABLES)
        await conn.execute(
            """
            create table public.values (
              id int primary key, at timestamptz, lasting interval, raw bytea, near float8);
            alter table public.values enable row level security;
            create policy everybody on public.values for select to authenticated using (at > '2026-01-02');
            alter publication supabase_realtime add table public.values;
            create policy members on realtime.messages for all to authenticated
              using (realtime.topic() = 'room') with check (realtime.topic() = 'room');
            """
        )
        async with awkward_defaults(bare_db), running_feed(bare_db) as feed:
            reader = await subscribe(feed, user("me"), {"table": "values", "filter": "near=eq.0.1"})
            await conn.execute(
                "insert into public.values values (1, '2026-03-04 05:06:07Z', '1 day 02:03', '\\x5c00', 0.1)"
            )
            await reader.count(1)
            assert (await policies.may_read("room", user("me"))).broadcast
            assert (await policies.may_write("room", user("me"))).broadcast
    finally:
        await policies.close()
        await conn.close(timeout=5)
    assert reader.data[0]["record"] == {
        "id": 1,
        "at": "2026-03-04T05:06:07+00:00",
        "lasting": "1 day 02:03:00",
        "raw": "5c00",
        "near": 0.1,
    }


async def test_no_statement_under_row_security_reads_a_whole_table(migrated_db: str) -> None:
    await with_many_rows(migrated_db)
    scan = "select extension from realtime.messages where topic = 'room' and event = 'probe'"
    ran = await ran_under_row_security(migrated_db, scan=scan)
    assert {what for what, one in ran.items() if one.rows > MOST_ROWS} == {"scan"}, ran
