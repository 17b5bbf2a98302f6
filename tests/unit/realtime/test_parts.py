"""The small parts: rates, presence, topics, and the queue in front of a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.realtime.protocol.channel import Channel
from reference_server.realtime.protocol.limits import Limits, RateMeter
from reference_server.realtime.protocol.messages import Message, UserBroadcast, Vsn
from reference_server.realtime.protocol.ports import Change
from reference_server.realtime.protocol.presence import Presence
from reference_server.realtime.sockets.broadcast_api import read_batch
from reference_server.realtime.sockets.hub import Hub
from reference_server.realtime.sockets.member import ChangeFrames, ChannelMember
from reference_server.realtime.sockets.outbox import Outbox
from reference_server.tokens.token import VerifiedToken
from tests.support.waiting import until

TOKEN = VerifiedToken({"role": "anon"}, "anon", None, 1e12)


def test_a_rate_is_a_mean_over_the_last_minute() -> None:
    meter = RateMeter()
    for second in range(120):
        meter.add(1_000 + second, 10)
    assert meter.mean(1_119) == pytest.approx(10, rel=0.05)
    assert meter.mean(1_149) == pytest.approx(5, rel=0.1)
    assert meter.mean(2_000) == 0


def test_a_burst_counts_from_the_first_moment() -> None:
    meter = RateMeter()
    meter.add(1_000.5, 150)
    assert meter.mean(1_000.6) == 150
    assert meter.mean(1_010.5) == 15


@pytest.mark.parametrize("limits", [{"users": 0}, {"idle_s": -1}, {"queue_frames": 0}])
def test_impossible_limits_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        Limits(**limits)


calls = st.lists(st.tuples(st.sampled_from("ab"), st.none() | st.integers(0, 2)), max_size=12)


@given(calls)
def test_presence_diffs_add_up_to_the_state(conversation: list[tuple[str, int | None]]) -> None:
    presence, seen = Presence(), dict[str, list[dict[str, Any]]]()
    for owner, value in conversation:
        diff = presence.untrack(owner) if value is None else presence.track(owner, owner, {"v": value})
        if diff is None:
            continue
        for key, entry in diff.leaves.items():
            seen[key] = [meta for meta in seen[key] if meta not in entry["metas"]]
        for key, entry in diff.joins.items():
            seen.setdefault(key, []).extend(entry["metas"])
    assert {key: {"metas": metas} for key, metas in seen.items() if metas} == presence.state()


@dataclass(eq=False)
class Peer:
    channel: Channel
    vsn: Vsn = Vsn.V2
    frames: list[str | bytes] = field(default_factory=list)

    def deliver(self, frame: str | bytes, message_id: str | None = None) -> None:
        self.frames.append(frame)


def channel(**changes: Any) -> Channel:
    fields = {"topic": "realtime:t", "join_ref": "1", "raw_token": "", "token": TOKEN, "private": False}
    return Channel(**{**fields, "self_broadcast": False, "ack": False, "presence_key": "k", **changes})


def test_a_broadcast_reaches_the_others_in_their_own_version() -> None:
    hub, sender, v1, v2 = Hub(), Peer(channel()), Peer(channel(), Vsn.V1), Peer(channel())
    elsewhere = Peer(channel(private=True))
    for peer in (sender, v1, v2, elsewhere):
        hub.enter(peer)
    hub.publish(("realtime:t", False), UserBroadcast("realtime:t", "e", b"{}", True), sender=sender)
    assert (len(sender.frames), len(v1.frames), len(v2.frames), len(elsewhere.frames)) == (0, 1, 1, 0)
    assert isinstance(v1.frames[0], str)
    assert isinstance(v2.frames[0], bytes)


def test_an_empty_topic_is_forgotten() -> None:
    hub, peer = Hub(), Peer(channel())
    hub.enter(peer)
    hub.leave(peer)
    hub.leave(peer)
    assert hub.counts() == (0, 0)


def change(data: bytes, *ids: int) -> Change:
    return Change(ids=ids, data=data)


def test_changes_wait_for_the_answer_to_the_join() -> None:
    delivered: list[str | bytes] = []
    member = ChannelMember(Vsn.V2, delivered.append, ChangeFrames())
    member.change(change(b'{"n":1}', 7))
    member.attach(channel())
    assert delivered == []
    member.release()
    member.change(change(b'{"n":2}', 7))
    member.detach()
    member.change(change(b'{"n":3}', 7))
    assert [json.loads(frame)[4]["data"]["n"] for frame in delivered] == [1, 2]


def test_subscribers_of_one_topic_share_one_encoding() -> None:
    frames, data = ChangeFrames(), b'{"n":1}'
    first = frames.frame(Vsn.V2, "realtime:t", change(data, 7))
    assert frames.frame(Vsn.V2, "realtime:t", change(data, 7)) is first
    assert frames.frame(Vsn.V2, "realtime:t", change(data, 8)) != first
    assert frames.frame(Vsn.V2, "realtime:t", change(b'{"n":2}', 7)) != first


class SlowClient:
    """Takes one frame, then nothing until it is released."""

    def __init__(self) -> None:
        self.taken: list[MutableMapping[str, Any]] = []
        self.released = asyncio.Event()

    async def send(self, event: MutableMapping[str, Any]) -> None:
        if self.taken:
            await self.released.wait()
        self.taken.append(event)


async def test_a_slow_reader_is_told_and_disconnected() -> None:
    client = SlowClient()
    outbox = Outbox(client.send, replace(Limits(), queue_frames=10), lambda: ["too slow"])
    writer = asyncio.create_task(outbox.run())
    for number in range(20):
        outbox.put(f"frame {number}")
        await asyncio.sleep(0)
    assert outbox.overflowed
    client.released.set()
    async with asyncio.timeout(5):
        await writer
    texts = [event.get("text") for event in client.taken]
    assert texts[-2:] == ["too slow", None]
    assert client.taken[-1] == {"type": "websocket.close", "code": 1013, "reason": "client reads too slowly"}
    assert len(client.taken) < 10


async def test_a_client_that_takes_nothing_is_given_up() -> None:
    client = SlowClient()
    outbox = Outbox(client.send, replace(Limits(), send_s=0.05), list)
    outbox.put("one")
    outbox.put("two")
    with pytest.raises(TimeoutError):
        await outbox.run()


async def test_bytes_count_as_well_as_frames() -> None:
    outbox = Outbox(SlowClient().send, replace(Limits(), queue_bytes=1_000), list)
    for frame in ("taken", "in hand", "x" * 1_000):
        outbox.put(frame)
        assert not outbox.overflowed
    outbox.put("x")
    assert outbox.overflowed


async def test_a_willing_client_gets_frames_at_once_and_in_order() -> None:
    client = SlowClient()
    outbox = Outbox(client.send, Limits(), list)
    outbox.put("first")
    assert [event["text"] for event in client.taken] == ["first"]
    outbox.put("second")  # the client stalls here; what follows waits behind it
    outbox.put("third")
    client.released.set()
    writer = asyncio.create_task(outbox.run())
    await until(lambda: len(client.taken) == 3, "the frames that waited")
    outbox.put("fourth")
    outbox.close(1000)
    async with asyncio.timeout(5):
        await writer
    assert [event.get("text") for event in client.taken] == ["first", "second", "third", "fourth", None]


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("websocket.send after close")])
async def test_a_client_that_is_gone_ends_the_outbox_quietly(error: Exception) -> None:
    async def send(event: MutableMapping[str, Any]) -> None:
        raise error

    outbox = Outbox(send, Limits(), list)
    outbox.put("one")
    outbox.put("two")
    outbox.close(1000)
    async with asyncio.timeout(5):
        await outbox.run()
    assert outbox.sent == 0


@pytest.mark.parametrize("body", [None, [], {"messages": 5}, {"messages": [5]}, {"messages": [{"topic": []}]}])
def test_bad_batches_are_described(body: object) -> None:
    assert isinstance(read_batch(body, 1_000), dict)


def test_a_message_is_what_the_hub_encodes_for_text_broadcasts() -> None:
    hub, peer = Hub(), Peer(channel())
    hub.enter(peer)
    hub.publish(("realtime:t", False), Message("realtime:t", "broadcast", {"event": "e"}, "9", "1"))
    assert json.loads(peer.frames[0]) == [None, None, "realtime:t", "broadcast", {"event": "e"}]
