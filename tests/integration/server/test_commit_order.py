"""Sequence order is commit order: read from the write-ahead log, while many write to one process at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg

from reference_server.replication.pgoutput import Begin, Commit, Insert, Relation, decode

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
WRITERS = 8
TRANSACTIONS = 40

# Numbers of a sequence: given out before anybody knows who commits first, and lost by those who roll back.
NEXTVAL = """
create sequence numbers;
create or replace function append_process_event(
  p_process_id uuid, p_event_type text, p_event_data jsonb, p_event_category text, p_event_source text
) returns process_events language plpgsql as $$
declare
  appended public.process_events;
begin
  insert into public.process_events (process_id, event_type, event_data, event_sequence, event_category, event_source)
  values (p_process_id, p_event_type, p_event_data, nextval('public.numbers'), p_event_category, p_event_source)
  returning * into appended;
  return appended;
end $$
"""


@asynccontextmanager
async def decoded(dsn: str) -> AsyncIterator[tuple[asyncpg.Connection, str]]:
    """A slot that keeps what is committed from here on, to be read in commit order."""
    slot = f"order_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=60)
    try:
        await connection.execute("select pg_create_logical_replication_slot($1, 'pgoutput')", slot)
        yield connection, slot
    finally:
        await connection.execute("select pg_drop_replication_slot($1)", slot)
        await connection.close(timeout=5)


async def write(dsn: str, process_id: UUID, seed: int) -> None:
    """Transactions of one to three events, some of which take their time or are rolled back."""
    dice = random.Random(seed)
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=60)
    try:
        for _ in range(TRANSACTIONS):
            transaction = connection.transaction()
            await transaction.start()
            for _ in range(dice.randint(1, 3)):
                await connection.execute("select create_process_event($1, 'test_event', '{}'::jsonb)", process_id)
            if dice.random() < 0.2:
                await connection.execute(
                    "update generated_articles_state set progress_percentage = (progress_percentage + 1) % 100,"
                    " current_step_name = $2 where id = $1",
                    process_id,
                    f"step {seed} {dice.random()}",
                )
            await asyncio.sleep(dice.random() * 0.004)
            await (transaction.rollback() if dice.random() < 0.1 else transaction.commit())
    finally:
        await connection.close(timeout=5)


async def sequences_in_the_log(dsn: str) -> tuple[list[int], int]:
    """The event sequences of one process in the order of the write-ahead log, and the transactions they came in."""
    async with decoded(dsn) as (connection, slot):
        process_id = await connection.fetchval(
            "insert into generated_articles_state (user_id) values ('user') returning id"
        )
        await asyncio.gather(*(write(dsn, process_id, seed) for seed in range(WRITERS)))
        rows = await connection.fetch(
            "select data from pg_logical_slot_get_binary_changes($1, null, null,"
            " 'proto_version', '1', 'publication_names', 'supabase_realtime')",
            slot,
        )
    relations: dict[int, Relation] = {}
    sequences: list[int] = []
    transactions, commit_lsn, last_commit = 0, 0, 0
    for row in rows:
        match decode(row["data"]):
            case Relation() as relation:
                relations[relation.oid] = relation
            case Begin() as begin:
                commit_lsn = begin.commit_lsn
                assert commit_lsn > last_commit, "the slot hands out transactions in commit order"
            case Commit() as commit:
                last_commit, transactions = commit.commit_lsn, transactions + 1
            case Insert() as insert if relations[insert.relation_oid].table == "process_events":
                columns = [column.name for column in relations[insert.relation_oid].columns]
                value = insert.new[columns.index("event_sequence")]
                assert isinstance(value, bytes)
                sequences.append(int(value))
    return sequences, transactions


async def test_the_log_of_a_process_is_numbered_in_commit_order(migrated_db: str) -> None:
    sequences, transactions = await sequences_in_the_log(migrated_db)
    assert transactions > WRITERS * TRANSACTIONS * 0.7
    assert sequences == list(range(1, len(sequences) + 1))


async def test_numbers_of_a_sequence_would_be_found_out(migrated_db: str, connect: Connect) -> None:
    """The test above is worth something only if it sees the defect it looks for."""
    connection = await connect(migrated_db)
    await connection.execute(NEXTVAL)
    await connection.execute("alter table generated_articles_state disable trigger trigger_publish_process_event")
    sequences, _ = await sequences_in_the_log(migrated_db)
    assert sequences != sorted(sequences), "numbers overtake each other between allocation and commit"
    assert set(range(1, max(sequences) + 1)) - set(sequences), "and those rolled back are missing"
