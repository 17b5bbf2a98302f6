"""Traffic counts what goes wrong instead of dying of it, and says so when it does die."""

from __future__ import annotations

import asyncio

import pytest

from toolkit.errors import EnvironmentError_
from toolkit.rehearse.traffic.legacy_traffic import LegacyTraffic
from toolkit.rehearse.traffic.meter import Meter, Wrong, every
from toolkit.rehearse.traffic.user_generation import UserGeneration, guarded


async def test_a_failed_operation_is_a_sample_and_a_defect_is_not():
    meter = Meter("writes", 0.02)

    async def good() -> None:
        return

    async def refused() -> None:
        raise Wrong("500 internal_error")

    async def broken() -> None:
        raise ConnectionResetError("reset by peer")

    async def defective() -> None:
        raise KeyError("process_id")

    assert await meter.measure(good, (OSError,))
    assert not await meter.measure(refused, (OSError,))
    assert not await meter.measure(broken, (OSError,))
    assert [sample.error for sample in meter.samples] == [
        "",
        "500 internal_error",
        "ConnectionResetError: reset by peer",
    ]
    assert len(meter.failed) == 2
    with pytest.raises(KeyError):
        await meter.measure(defective, (OSError,))


async def test_work_is_repeated_until_it_is_stopped():
    stop = asyncio.Event()
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            stop.set()

    async with asyncio.timeout(10):
        await every(0.001, stop, work)
    assert calls == 3


async def test_people_go_on_after_a_failed_article_and_drain_when_asked():
    traffic = LegacyTraffic("http://127.0.0.1:9", "postgresql://nowhere/x", ())
    written = asyncio.Event()

    async def generate(generation: UserGeneration) -> None:
        generation.process_id = f"p{len(traffic.generations)}"
        generation.error = "refused" if len(traffic.generations) == 1 else ""
        generation.article_id = None if generation.error else "a"
        await asyncio.sleep(0)
        generation.ended = generation.began
        if generation.good:
            written.set()

    async with traffic:
        traffic.start(["one"], generate, (), readers=0)
        traffic._others.pop().cancel()  # no database here
        async with asyncio.timeout(10):
            await written.wait()
        assert await traffic.drain(10) == []
    assert [generation.error for generation in traffic.generations][:2] == ["refused", ""]
    assert not traffic.in_flight()
    assert sum(bool(sample.error) for sample in traffic.operations()) == 1


async def test_traffic_that_died_is_not_taken_for_traffic_without_failures():
    traffic = LegacyTraffic("http://127.0.0.1:9", "postgresql://nowhere/x", ())

    async def generate(generation: UserGeneration) -> None:
        raise KeyError("a defect of ours")

    async with traffic:
        traffic.start(["one"], generate, (), readers=0)
        with pytest.raises((KeyError, EnvironmentError_)):
            await traffic.until(lambda: False, "anything", 10)


async def test_whatever_ends_a_run_is_in_the_run():
    async def slow() -> None:
        await asyncio.Event().wait()

    async def reset() -> None:
        raise ConnectionResetError("reset by peer")

    late, broken = UserGeneration("a", "realtime"), UserGeneration("b", "realtime")
    await guarded(late, slow, 0.01)
    await guarded(broken, reset)
    assert "not finished within" in late.error
    assert "reset by peer" in broken.error
    assert late.ended is not None
    assert not late.good
