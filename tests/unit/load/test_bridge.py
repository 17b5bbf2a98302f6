"""The way from greenlets to the event loop's thread and back."""

import asyncio
import os
import threading

import gevent
import pytest

from toolkit.load.bridge import Bridge


@pytest.fixture
def bridge():
    made = Bridge()
    yield made
    made.close()


async def later(value, seconds=0.0):
    await asyncio.sleep(seconds)
    return value


def test_results_and_errors_come_back(bridge):
    async def fails():
        raise ValueError("no")

    assert bridge.call(lambda: later(7), 5) == 7
    with pytest.raises(ValueError, match="no"):
        bridge.call(fails, 5)


def test_the_loop_has_a_thread_of_its_own(bridge):
    async def thread():
        return threading.get_ident()

    assert bridge.call(thread, 5) != threading.get_ident()


def test_greenlets_wait_side_by_side(bridge):
    order = []
    gate = bridge.call(lambda: later(asyncio.Event()), 5)

    async def waits():
        await gate.wait()
        return "first"

    async def opens():
        gate.set()
        return "second"

    waiting = gevent.spawn(lambda: order.append(bridge.call(waits, 5)))
    gevent.sleep(0)
    gevent.spawn(lambda: order.append(bridge.call(opens, 5)))
    waiting.join(5)
    assert sorted(order) == ["first", "second"]


def test_everything_posted_arrives_once_and_in_order(bridge):
    seen = []

    async def tells():
        for number in range(20_000):
            bridge.post(lambda number=number: seen.append(number))
            if number % 1000 == 0:
                await asyncio.sleep(0.001)

    bridge.call(tells, 30)
    with gevent.Timeout(5):
        while len(seen) < 20_000:
            gevent.sleep(0.01)
    assert seen == list(range(20_000))


def test_what_was_posted_last_arrives_before_the_end():
    bridge = Bridge(batch_s=60)
    seen = []

    async def tells():
        bridge.post(lambda: seen.append("last"))

    bridge.call(tells, 5)
    bridge.close()
    assert seen == ["last"]


def test_a_listener_that_fails_does_not_stop_the_others(bridge, caplog):
    seen = []

    async def tells():
        bridge.post(lambda: 1 / 0)
        bridge.post(lambda: seen.append("after"))

    bridge.call(tells, 5)
    with gevent.Timeout(5):
        while not seen:
            gevent.sleep(0.01)
    assert "could not be done" in caplog.text


def test_a_killed_greenlet_takes_its_coroutine_along(bridge):
    ended = []

    async def runs():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    user = gevent.spawn(bridge.call, runs)
    gevent.sleep(0.05)
    user.kill()
    with gevent.Timeout(5):
        while not ended:
            gevent.sleep(0.01)


def test_too_long_is_a_timeout(bridge):
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        bridge.call(lambda: later(1, 60), 0.05)


def test_a_bridge_from_before_a_fork_is_refused(bridge, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="before the fork"):
        bridge.call(lambda: later(1), 5)


def test_a_closed_bridge_says_so():
    bridge = Bridge()
    bridge.close()
    bridge.close()
    with pytest.raises(RuntimeError, match="closed"):
        bridge.call(lambda: later(1), 5)
