"""Filters as a weapon: what they tell about rows of others, and what they cost others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from reference_server.realtime.changes.bindings import parse_bindings
from reference_server.realtime.changes.conditions import has_back_reference
from reference_server.realtime.changes.feed import ChangeFeed
from reference_server.realtime.protocol.ports import SubscribeRefused
from tests.support.feeds import Subscriber, running_feed, subscribe, user

TABLES = """
create table public.notes (id int primary key, owner text not null, n int, note text);
alter table public.notes enable row level security;
alter table public.notes replica identity full;
create policy own on public.notes for select to authenticated using (owner = (auth.jwt() ->> 'sub'));
create table public.no_key (owner text, note text);
alter table public.no_key enable row level security;
alter publication supabase_realtime add table public.notes, public.no_key;
"""
# Without a back-reference, and seconds of work: at every place of the text it looks at all the rest.
SLOW = "a(?=.*WORD)"
SLOW_TEXT = "a" * 40_000


@dataclass
class Database:
    conn: asyncpg.Connection
    feed: ChangeFeed

    async def subscribe(self, sub: str, client: object, *filters: str, table: str = "notes") -> Subscriber:
        """Each filter is a binding of one channel of the client."""
        found = Subscriber()
        raw = [{"event": "*", "schema": "public", "table": table, "filter": text} for text in filters]
        found.subscription = await self.feed.subscribe(
            parse_bindings(raw), user(sub), found.sink, on_error=found.on_error, client=client
        )
        return found

    async def insert(self, number: int, owner: str, note: str) -> None:
        await self.conn.execute("insert into public.notes values ($1, $2, $1, $3)", number, owner, note)


@pytest.fixture
async def db(bare_db: str) -> AsyncIterator[Database]:
    conn = await asyncpg.connect(bare_db, timeout=10, server_settings={"synchronous_commit": "on"})
    await conn.execute(TABLES)
    async with running_feed(bare_db) as feed:
        yield Database(conn, feed)
    await conn.close(timeout=5)


class Client:
    """Stands for a socket."""


async def test_a_filter_is_not_evaluated_on_a_row_that_the_subscriber_may_not_see(db: Database) -> None:
    prober = await db.subscribe("prober", Client(), f"note=match.{SLOW}")
    owner = await subscribe(db.feed, user("owner"), {"table": "notes"})
    changes = "update public.notes set n = 5 where id = 1", "delete from public.notes where id = 1"
    await db.insert(1, "owner", SLOW_TEXT)
    for number, statement in enumerate(changes, 1):
        await owner.count(number)
        await db.conn.execute(statement)
    await owner.count(3)
    await db.feed._lanes.passed()
    assert (prober.changes, prober.errors) == ([], [])
    # Its own row is another matter: there the same filter is slow, and it is told.
    await db.insert(2, "prober", SLOW_TEXT)
    await prober.until(lambda me: bool(me.errors))
    assert prober.changes == []
    assert "the filter on note took longer than 100 ms" in prober.errors[0]


async def test_a_deleted_row_is_not_found_out_by_patterns_or_comparisons(db: Database) -> None:
    prober = await db.subscribe("prober", Client(), "note=like.%secret%", "n=gt.0", "note=neq.x", "note=match.s")
    named = await db.subscribe("other", Client(), "note=eq.a secret")  # as on Supabase
    await db.insert(1, "owner", "a secret")
    await db.conn.execute("delete from public.notes where id = 1")
    await named.count(1)
    await db.feed._lanes.passed()
    assert (prober.changes, prober.errors) == ([], [])
    assert named.data[0]["old_record"] == {"id": 1}


async def test_rows_that_cannot_be_checked_cannot_be_filtered(db: Database) -> None:
    with pytest.raises(SubscribeRefused, match=r"public\.no_key has row security.* primary key"):
        await db.subscribe("prober", Client(), "note=like.%secret%", table="no_key")
    # A key that is lost later: the subscription is told, and nothing of the row is.
    prober = await db.subscribe("prober", Client(), "note=like.%secret%")
    await db.conn.execute("alter table public.notes drop constraint notes_pkey")
    await db.insert(1, "owner", "nothing of the kind")
    await prober.until(lambda me: bool(me.errors))
    assert "has row security" in prober.errors[0]
    assert prober.changes == []


async def test_a_slow_filter_ends_what_waits_of_its_client_and_nothing_of_others(db: Database) -> None:
    attacker, honest = Client(), Client()
    slow = [await db.subscribe("me", attacker, f"note=match.{SLOW}", f"note=like.{n}%") for n in range(5)]
    plain = await db.subscribe("me", attacker, "n=gt.0")
    other = await db.subscribe("me", honest, "note=like.a%", "note=ilike.%AA%")
    for number in range(1, 4):
        await db.insert(number, "me", SLOW_TEXT)
    await other.count(3)
    await plain.count(3)
    assert other.column("id") == plain.column("id") == [1, 2, 3]
    for each in slow:
        await each.until(lambda me: bool(me.errors))
        assert each.changes == []
    assert other.errors == plain.errors == []
    with pytest.raises(SubscribeRefused, match=r"may not use like, ilike, match or imatch"):
        await db.subscribe("me", attacker, "note=like.x%")
    await db.subscribe("me", attacker, "note=eq.x")
    await db.subscribe("me", honest, "note=like.x%")


async def test_deliveries_keep_their_order_behind_a_filter_that_is_asked(db: Database) -> None:
    """A binding that is decided here and one that Postgres decides, on one channel."""
    both = await db.subscribe("me", Client(), "n=gt.100", "note=like.asked%")
    for number in range(1, 301):
        await db.insert(number, "me", "asked" if number % 3 == 0 else "plain")
    await both.until(lambda me: bool(me.changes) and me.data[-1]["record"]["id"] == 300)
    assert both.column("id") == [n for n in range(1, 301) if n > 100 or n % 3 == 0]


async def test_a_refresh_is_answered_behind_what_was_decided_before_it(db: Database) -> None:
    mine = await db.subscribe("me", Client(), "note=like.asked%")
    for number in range(1, 51):
        await db.insert(number, "me", "asked")
    await mine.count(1)
    await db.feed.update_claims(mine.subscription, user("you"))
    before = len(mine.changes)
    await db.insert(51, "me", "asked")
    await db.insert(52, "you", "asked")
    await mine.record("id", 52)
    assert mine.column("id")[before:] == [*range(before + 1, 51), 52][-len(mine.column("id")[before:]) :]
    assert 51 not in mine.column("id")


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ([r"note=match.(a)\1"], r"back-references .* not supported in match filters"),
        ([r"note=imatch.(a)b\\\1"], r"back-references .* not supported in imatch filters"),
        (["note=match.(a"], "invalid regular expression for match filter"),
        (["note=match.(a?){100}(b?){100}(c?){200}"], "for match filter: the filter takes longer than 100 ms"),
        (["note=like." + "x" * 20_000], "longer than 16384 characters"),
        ([",".join(["note=neq.x"] * 201)], "The filters of this channel hold 201 conditions, and it may have 200"),
    ],
)
async def test_filters_that_are_refused_at_the_join(db: Database, filters: list[str], words: str) -> None:
    async with asyncio.timeout(30):
        with pytest.raises(SubscribeRefused, match=words):
            await db.subscribe("me", Client(), *filters)


async def test_a_pattern_that_is_slow_to_read_bars_the_next(db: Database) -> None:
    client = Client()
    for words in ("takes longer than 100 ms", "may not use like, ilike, match or imatch"):
        with pytest.raises(SubscribeRefused, match=words):
            await db.subscribe("me", client, "note=match.(a?){100}(b?){100}(c?){200}")


async def test_a_client_has_so_many_conditions_over_all_its_channels(db: Database) -> None:
    client: Any = Client()
    many = ",".join(["n=neq.5"] * 100)
    first, *_ = [await db.subscribe("me", client, many, many) for _ in range(5)]
    with pytest.raises(SubscribeRefused, match="this connection hold 1001 conditions, and it may have 1000"):
        await db.subscribe("me", client, "n=neq.1")
    await db.subscribe("me", Client(), "n=neq.1")
    await db.feed.unsubscribe(first.subscription)
    await db.subscribe("me", client, "n=neq.1")


def test_back_references_are_told_from_escaped_backslashes() -> None:
    assert all(map(has_back_reference, [r"\1", r"(a)\1", r"\\\2", r"a\\\\\9b"]))
    assert not any(map(has_back_reference, [r"\\1", r"\d1", r"a\0", r"\\\\1", "1", r"\m\M", ""]))
