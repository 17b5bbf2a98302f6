"""The lossless stream on the official client, against a real endpoint and a network that breaks."""

from __future__ import annotations

import asyncio
import random

import pytest
from realtime import AsyncRealtimeClient
from realtime.types import RealtimePostgresChangesListenEvent

from tests.integration.client.conftest import OWNER, QUICK, Process, stream_of
from tests.support.golden import SECRET
from tests.support.waiting import until
from toolkit.client.auth import TokenSource
from toolkit.client.connection import Frame
from toolkit.client.effects import HistoryExpired, HistoryRestarted
from toolkit.client.errors import ApiError, HistoryGap, HistoryRestart, StreamFailed
from toolkit.client.events import EventPage, ProcessEvent
from toolkit.client.stream import ProcessEventStream
from toolkit.scenarios.faults.proxy import TcpProxy
from toolkit.tokens import mint, mint_api_key


class Application:
    """Reads a stream and remembers what it was given."""

    def __init__(self, stream: ProcessEventStream) -> None:
        self.events: list[ProcessEvent] = []
        self._task = asyncio.create_task(self._read(stream))

    async def _read(self, stream: ProcessEventStream) -> None:
        async for event in stream:
            self.events.append(event)

    @property
    def sequences(self) -> list[int]:
        return [event.sequence for event in self.events]

    async def finished(self, deadline_s: float = 30) -> list[int]:
        """The sequences delivered when the stream ended."""
        await asyncio.wait_for(self._task, deadline_s)
        return self.sequences


async def comes_live(process: Process, application: Application, deadline_s: float = 15) -> None:
    """Write until the subscription is the first to bring one: a read may be under way at any moment."""
    async with asyncio.timeout(deadline_s):
        brought: ProcessEvent | None = None
        while brought is None or brought.via != "live":
            sequence = await process.write()
            await until(lambda sequence=sequence: sequence in application.sequences, "the event")
            brought = next(event for event in application.events if event.sequence == sequence)


def complete(upto: int) -> list[int]:
    return list(range(1, upto + 1))


async def test_history_comes_by_reading_and_news_live(process: Process, realtime: str) -> None:
    for _ in range(12):
        await process.write()
    frames: list[Frame] = []
    async with stream_of(process, realtime, tap=frames.append) as stream:
        application = Application(stream)
        await stream.wait_live()
        await until(lambda: len(application.events) == 13, "the history")  # and the trigger's own process_created
        await until(lambda: stream._recovery._baseline is not None, "the read that follows the subscription")
        for _ in range(5):
            await process.write()
        await process.write("generation_completed", title="t")
        assert await application.finished() == complete(19)
        assert {event.via for event in application.events[:13]} == {"backfill"}
        assert {event.via for event in application.events[13:]} == {"live"}
        assert stream.delivered == {"live": 6, "backfill": 13}
        assert (stream.missed_live, stream.reconnects) == (0, 0)
    assert {frame.kind for frame in frames} == {"status", "system", "postgres_changes"}


async def test_cuts_while_events_are_written_lose_and_double_nothing(process: Process, proxy: TcpProxy) -> None:
    rng = random.Random(11)
    async with stream_of(process, proxy.url) as stream:
        application = Application(stream)
        await stream.wait_live()
        hits = 0
        for number in range(60):
            await process.write(number=number)
            if rng.random() < 0.15:
                hits += proxy.cut().connections
                await asyncio.sleep(rng.uniform(0, 0.2))
        await process.write("generation_completed", title="t")
        last = await process.last()
        assert await application.finished() == complete(last)
        assert hits >= 2, "the network was never really broken"
        assert stream.reconnects >= hits
        assert stream.missed_live > 0, "nothing was missed, so nothing was proved"


async def test_an_outage_at_which_the_official_client_gives_up_heals(process: Process, proxy: TcpProxy) -> None:
    """Both see the same outage; the official client's five attempts are as quick as our waits."""
    bare = AsyncRealtimeClient(
        f"{proxy.url}/realtime/v1", token=mint_api_key(SECRET, "anon"), initial_backoff=0.05, timeout=2
    )
    await bare.set_auth(mint(SECRET, sub=OWNER))
    bare_seen: list[int] = []
    channel = bare.channel(f"bare:{process.id}").on_postgres_changes(
        RealtimePostgresChangesListenEvent.Insert,
        lambda payload: bare_seen.append(payload["data"]["record"]["event_sequence"]),
        table="process_events",
        schema="public",
        filter=f"process_id=eq.{process.id}",
    )
    try:
        await channel.subscribe()
        async with stream_of(process, proxy.url) as stream:
            application = Application(stream)
            await stream.wait_live()
            before = await process.write()
            await until(lambda: before in bare_seen and before in application.sequences, "both to be listening")
            outage = asyncio.create_task(proxy.refuse(2.5))
            await until(lambda: stream.reconnects > 0, "the outage to be noticed")
            during = await process.write()
            hit = await outage
            assert hit.connections > 2 + 5, f"cut 2, and the official client tried again: {hit}"
            await stream.wait_live()
            after = await process.write()
            await process.write("generation_completed", title="t")
            assert await application.finished() == complete(after + 1)
        assert during not in bare_seen
        assert after not in bare_seen, "the official client recovered; this proof needs a longer outage"
        assert not bare.is_connected
    finally:
        channel.rejoin_timer.reset()
        channel.join_push.destroy()
        await bare.close()


async def test_in_a_frozen_network_events_still_come_by_reading(process: Process, proxy: TcpProxy) -> None:
    async with stream_of(process, proxy.url) as stream:
        application = Application(stream)
        await stream.wait_live()
        await until(lambda: application.events, "the first event")
        proxy.freeze()
        for _ in range(3):
            sequence = await process.write()
            await until(lambda wanted=sequence: application.sequences[-1] == wanted, "a look")
        await until(lambda: stream.reconnects > 0, "the dead subscription to be replaced")
        hit = proxy.thaw()
        assert hit.held_bytes > 0
        await stream.wait_live()
        await process.write("generation_completed", title="t")
        assert await application.finished() == complete(await process.last())


async def test_the_token_is_renewed_before_it_expires(process: Process, realtime: str) -> None:
    handed_out: list[str] = []

    async def provide() -> str:
        handed_out.append(mint(SECRET, sub=OWNER, ttl_s=3))
        return handed_out[-1]

    async with stream_of(process, realtime, token=provide) as stream:
        application = Application(stream)
        await stream.wait_live()
        await until(lambda: len(handed_out) >= 3, "renewals", 30)  # by now the first token is long dead
        await comes_live(process, application)
        await process.write("generation_cancelled", message="m")
        await application.finished()
        assert stream.reconnects == 0, stream.last_error


async def test_a_refusal_to_read_is_an_error_and_not_silence(process: Process, realtime: str) -> None:
    async def refuse(_: str, __: int) -> EventPage:
        raise ApiError(404, "process_not_found", "There is no such process.", "Check the id.")

    async with stream_of(process, realtime, fetch=refuse) as stream:
        with pytest.raises(StreamFailed, match="There is no such process"):
            await asyncio.wait_for(anext(stream), 15)


async def test_a_stranger_gets_nothing_over_the_subscription(process: Process, realtime: str) -> None:
    async def nothing(_: str, __: int) -> EventPage:
        return EventPage((), 0, 0)

    async with stream_of(process, realtime, token=mint(SECRET, sub="user_stranger"), fetch=nothing) as stream:
        await stream.wait_live()
        async with stream_of(process, realtime) as own:
            await own.wait_live()
            sequence = await process.write()
            await until(lambda: own.last_sequence == sequence, "the owner to see it")
        assert stream.last_sequence == 0


async def test_a_provider_that_fails_costs_neither_the_stream_nor_the_connection(
    process: Process, realtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.client.connection.RENEWAL_PAUSE_S", 0.05)
    outcomes: list[str] = []

    async def provide() -> str:
        # At the beginning, and at the first renewal.
        if len(outcomes) in {0, 2}:
            outcomes.append("failed")
            raise OSError("auth is away")
        outcomes.append("given")
        return mint(SECRET, sub=OWNER, ttl_s=4)

    source = TokenSource(provide)

    async def read(process_id: str, since: int) -> EventPage:
        await source.get()
        return await process.page(process_id, since)

    async with stream_of(process, realtime, token=source, fetch=read) as stream:
        application = Application(stream)
        await stream.wait_live()
        before = stream.reconnects
        assert "auth is away" in (stream.last_error or "")
        await until(lambda: outcomes.count("given") >= 3, "two renewals", 30)
        await comes_live(process, application)
        await process.write("generation_completed", title="t")
        assert await application.finished() == complete(await process.last())
        assert stream.reconnects == before


async def test_expired_history_is_never_skipped_in_silence(process: Process, realtime: str) -> None:
    for _ in range(6):
        await process.write()
    await process.writer.execute("delete from process_events where process_id = $1 and event_sequence <= 4", process.id)
    async with stream_of(process, realtime) as stream:
        with pytest.raises(HistoryGap) as caught:
            await asyncio.wait_for(anext(stream), 15)
        assert (caught.value.first, caught.value.last) == (1, 4)
        assert (await asyncio.wait_for(anext(stream), 15)).sequence == 5
    told: list[HistoryExpired] = []
    async with stream_of(process, realtime, on_history_expired=told.append) as stream:
        assert (await asyncio.wait_for(anext(stream), 15)).sequence == 5
    assert told == [HistoryExpired(1, 4)]


async def test_a_cursor_from_a_log_that_is_gone_does_not_starve(process: Process, realtime: str) -> None:
    last = await process.write()
    async with stream_of(process, realtime, since=500) as stream:
        with pytest.raises(HistoryRestart) as caught:
            await asyncio.wait_for(anext(stream), 15)
        assert (caught.value.known, caught.value.last) == (500, last)
        assert (await asyncio.wait_for(anext(stream), 15)).sequence == 1
    told: list[HistoryRestarted] = []
    async with stream_of(process, realtime, since=500, on_history_restarted=told.append) as stream:
        await stream.wait_live()
        await process.write("generation_completed", title="t")
        assert [event.sequence async for event in stream] == complete(last + 1)
    assert [item.known for item in told] == [500]


@pytest.mark.parametrize("state", ["live", "connecting", "cut"])
async def test_closing_leaves_no_task_behind(process: Process, proxy: TcpProxy, state: str) -> None:
    before = asyncio.all_tasks()
    if state == "connecting":
        proxy.freeze()
    stream = stream_of(process, proxy.url, join_timeout_s=1)
    stream.start()
    if state == "connecting":
        await until(lambda: proxy.connections, "a connection")
    else:
        await stream.wait_live()
    if state == "cut":
        proxy.cut()
    await asyncio.wait_for(stream.aclose(), 30)
    proxy.heal()
    ours = [task for task in asyncio.all_tasks() - before if "proxy" not in repr(task) and not task.done()]
    await until(lambda: not [t for t in ours if not t.done()], f"these to end: {ours}", 2)
    with pytest.raises(StopAsyncIteration):
        while True:
            await anext(stream)


async def test_a_slow_application_costs_no_memory_and_loses_nothing(process: Process, realtime: str) -> None:
    async with stream_of(process, realtime, max_pending=4) as stream:
        await stream.wait_live()
        for _ in range(40):
            await process.write()
        await process.write("generation_completed", title="t")
        await until(lambda: stream._held_back or stream._recovery.ended, "it to be held back")
        assert len(stream._pending) <= 4 + 5 * 3
        seen = []
        async with asyncio.timeout(20):
            async for event in stream:
                seen.append(event.sequence)
        assert seen == complete(await process.last())


def test_the_quick_limits_are_those_of_the_machine_only_quicker() -> None:
    assert QUICK.max_buffer == 1000
