"""The protocol state of one socket, without a socket: frames and clock ticks in, effects out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.realtime.protocol.channel import Channel, JoinRequest, read_join
from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.protocol.messages import Message, Vsn
from reference_server.realtime.protocol.session import (
    Close,
    Effect,
    Join,
    Leave,
    Publish,
    Refresh,
    Send,
    Session,
    Track,
)
from reference_server.tokens.token import VerifiedToken

NOW = 1_000.0
LIMITS = Limits()


def token(expires_at: float = NOW + 3600) -> VerifiedToken:
    return VerifiedToken({"role": "authenticated"}, "authenticated", None, expires_at)


def session(vsn: Vsn = Vsn.V2, limits: Limits = LIMITS) -> Session:
    return Session(vsn, "connect-token", token(), limits, NOW)


def frame(topic: str, event: str, payload: Any = None, ref: Any = "1", join_ref: Any = "1") -> str:
    return json.dumps([join_ref, ref, topic, event, {} if payload is None else payload])


def sent(effects: list[Effect]) -> list[list[Any]]:
    return [json.loads(effect.frame) for effect in effects if isinstance(effect, Send)]


def receive(one: Session, text: str | bytes, now: float) -> list[Effect]:
    """As the shell does it when nothing of the topic is under way."""
    message = one.read(text, now)
    return [] if message is None else one.handle(message, len(text.encode() if isinstance(text, str) else text), now)


def join(
    one: Session, topic: str = "realtime:room", ref: str = "1", ack: bool = False, expires_at: float = NOW + 3600
) -> Channel:
    """Join as the shell does it."""
    payload = {"config": {"broadcast": {"ack": ack}}}
    text = (
        frame(topic, "phx_join", payload, ref, ref)
        if one.vsn is Vsn.V2
        else json.dumps({"topic": topic, "event": "phx_join", "payload": payload, "ref": ref, "join_ref": ref})
    )
    effect = receive(one, text, NOW)[-1]
    assert isinstance(effect, Join)
    request = effect.request
    channel = Channel(
        topic, request.channel_ref, "connect-token", token(expires_at), request.private, False, request.ack, "key"
    )
    one.joined(request, channel, (), effect.superseded)
    return channel


def test_heartbeats_are_answered_with_their_ref() -> None:
    assert sent(receive(session(), frame("phoenix", "heartbeat", ref=None, join_ref=None), NOW)) == [
        [None, None, "phoenix", "phx_reply", {"status": "ok", "response": {}}]
    ]


def test_refused_joins_wait_while_heartbeats_do_not() -> None:
    one = session()
    assert receive(one, frame("realtime:", "phx_join"), NOW) == []
    assert len(sent(receive(one, frame("phoenix", "heartbeat"), NOW + 1))) == 1
    assert one.deadline() == NOW + LIMITS.refusal_delay_s
    assert sent(one.tick(one.deadline()))[0][4]["response"]["reason"].startswith("TopicNameRequired")
    assert one.deadline() > NOW + LIMITS.refusal_delay_s


def test_an_expired_token_closes_its_channel_and_nothing_else() -> None:
    one = session()
    mortal = join(one, expires_at=NOW + 10)
    join(one, "realtime:other", "2")
    assert one.deadline() == NOW + 10
    assert one.tick(NOW + 9.9) == []
    effects = one.tick(NOW + 12.5)
    system, close = sent(effects)
    assert system[3:] == [
        "system",
        {"message": "Token has expired 2 seconds ago", "status": "error", "extension": "system", "channel": "room"},
    ]
    assert close[:4] == ["1", "1", "realtime:room", "phx_close"]
    assert effects[-1] == Leave(mortal)
    assert list(one.channels) == ["realtime:other"]


def test_a_silent_socket_is_closed_and_any_frame_is_life() -> None:
    one = session()
    receive(one, "{not json", NOW + 30)
    assert one.tick(NOW + 89) == []
    assert one.tick(NOW + 90) == [Close(1000)]


def test_a_socket_without_channels_is_closed_after_a_while() -> None:
    one = session()
    for second in range(0, 600, 25):
        assert receive(one, frame("phoenix", "heartbeat"), NOW + second)
    assert one.tick(NOW + 600) == [Close(1000)]


def test_a_newer_join_supersedes_the_older_and_says_so_only_to_2_0_0() -> None:
    for vsn, told in ((Vsn.V2, 1), (Vsn.V1, 0)):
        one = session(vsn)
        first = join(one)
        text = (
            frame("realtime:room", "phx_join", {"config": {}}, "2", "2")
            if vsn is Vsn.V2
            else json.dumps({"topic": "realtime:room", "event": "phx_join", "payload": {"config": {}}, "ref": "2"})
        )
        leave, effect = receive(one, text, NOW)
        assert leave == Leave(first)
        assert isinstance(effect, Join)
        second = Channel("realtime:room", "2", "t", token(), False, False, False, "key")
        after = one.joined(effect.request, second, (), effect.superseded)
        assert len(after) == 1 + told
        assert one.channels["realtime:room"] is second


def test_leaving_with_an_old_join_ref_is_ignored() -> None:
    one = session()
    channel = join(one)
    assert receive(one, frame("realtime:room", "phx_leave", join_ref="99"), NOW) == []
    effects = receive(one, frame("realtime:room", "phx_leave", ref="5"), NOW)
    assert [f[3] for f in sent(effects)] == ["phx_reply", "phx_close"]
    assert effects[-1] == Leave(channel)


@pytest.mark.parametrize("value", [None, 5, "sb_publishable_x", "connect-token"])
def test_tokens_that_change_nothing_are_ignored(value: object) -> None:
    one = session()
    join(one)
    assert receive(one, frame("realtime:room", "access_token", {"access_token": value}), NOW) == []


def test_a_new_token_is_checked() -> None:
    one = session()
    channel = join(one)
    effects = receive(one, frame("realtime:room", "access_token", {"access_token": ""}), NOW)
    assert effects == [Refresh(channel, "")]


def test_oversize_broadcasts_are_silent_or_refused_with_ack() -> None:
    one = session(limits=replace(LIMITS, broadcast_bytes=200))
    big = {"type": "broadcast", "event": "e", "payload": {"v": "é" * 150}}
    join(one)
    join(one, "realtime:acked", "2", ack=True)
    assert receive(one, frame("realtime:room", "broadcast", big), NOW) == []
    (refusal,) = sent(receive(one, frame("realtime:acked", "broadcast", big), NOW))
    assert refusal[4] == {"status": "error", "response": "payload_size_exceeded"}


def test_presence_calls_are_limited_within_their_window() -> None:
    one = session()
    channel = join(one)
    track = frame("realtime:room", "presence", {"event": "track", "payload": {"n": 1}})
    for _ in range(5):
        assert receive(one, track, NOW) == [Track(channel, {"n": 1}, "1")]
    effects = receive(one, track, NOW + 31)
    assert effects == [Track(channel, {"n": 1}, "1")]
    for _ in range(4):
        receive(one, track, NOW + 31)
    assert [f[3] for f in sent(receive(one, track, NOW + 32))] == ["system", "phx_close"]


def test_failing_a_channel_makes_clients_rejoin() -> None:
    one = session()
    channel = join(one)
    effects = one.fail(channel, NOW)
    assert sent(effects) == [["1", "1", "realtime:room", "phx_error", {}]]
    assert effects[-1] == Leave(channel)
    assert sent(receive(one, frame("realtime:room", "broadcast", {}), NOW))[0][4]["response"] == {
        "reason": "unmatched topic"
    }


values = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.lists(st.integers(), max_size=2)
configs = values | st.dictionaries(
    st.sampled_from(["broadcast", "presence", "private", "postgres_changes"]),
    values | st.dictionaries(st.sampled_from(["self", "ack", "key", "enabled", "replay"]), values),
)


@given(st.dictionaries(st.sampled_from(["config", "access_token", "user_token"]), configs) | values)
def test_any_join_payload_is_read_or_named_bad(payload: Any) -> None:
    request = read_join(Message("realtime:x", "phx_join", payload, "1", "1"))
    if isinstance(request, JoinRequest):
        assert all(isinstance(flag, bool) for flag in (request.private, request.ack, request.self_broadcast))


events = st.sampled_from(["phx_join", "phx_leave", "broadcast", "presence", "access_token", "heartbeat", "system", "x"])


@given(st.lists(st.tuples(st.sampled_from(["phoenix", "realtime:a", "realtime:", "x"]), events, values), max_size=20))
def test_any_conversation_keeps_the_session_consistent(conversation: list[tuple[str, str, Any]]) -> None:
    one = session(limits=replace(LIMITS, refusal_delay_s=0))
    join(one, "realtime:a")
    for topic, event, payload in conversation:
        for effect in receive(one, frame(topic, event, payload), NOW):
            match effect:
                case Publish(channel) | Refresh(channel) | Track(channel):
                    assert one.channels[channel.topic] is channel
                case Leave(channel):
                    assert one.channels.get(channel.topic) is not channel
    assert one.deadline() > NOW


def test_joins_under_way_count_as_channels() -> None:
    one = session(limits=replace(LIMITS, channels_per_socket=2, refusal_delay_s=0))
    for number in range(2):
        assert isinstance(receive(one, frame(f"realtime:{number}", "phx_join"), NOW)[-1], Join)
    refused = sent(receive(one, frame("realtime:more", "phx_join"), NOW))
    assert refused[0][4]["response"]["reason"] == "ChannelRateLimitReached: Too many channels"


def test_a_join_asks_for_a_bounded_number_of_bindings() -> None:
    one = session(limits=replace(LIMITS, bindings_per_channel=3, refusal_delay_s=0))
    bindings = [{"event": "*", "schema": "public", "table": "t"}] * 4
    payload = {"config": {"postgres_changes": bindings}}
    refused = sent(receive(one, frame("realtime:a", "phx_join", payload), NOW))
    assert refused[0][4]["response"]["reason"] == "InvalidJoinPayload: postgres_changes holds more than 3"
    payload["config"]["postgres_changes"].pop()
    assert isinstance(receive(one, frame("realtime:a", "phx_join", payload), NOW)[-1], Join)


def test_refusals_that_wait_are_bounded() -> None:
    one = session(limits=replace(LIMITS, channels_per_socket=3))
    for _ in range(3):
        assert receive(one, frame("realtime:", "phx_join"), NOW) == []
    assert receive(one, frame("realtime:", "phx_join"), NOW) == [Close(1000)]


def test_a_token_that_ends_while_its_successor_is_verified_closes_nothing() -> None:
    one = session()
    channel = join(one, expires_at=NOW + 10)
    assert receive(one, frame(channel.topic, "access_token", {"access_token": "a.b.c"}), NOW + 9) == [
        Refresh(channel, "a.b.c")
    ]
    assert one.tick(NOW + 11) == []
    assert one.deadline() > NOW + 11
    one.refreshed(channel, "a.b.c", token(NOW + 20))
    assert one.deadline() == NOW + 20
    assert sent(one.tick(NOW + 20))[-1][3] == "phx_close"


@pytest.mark.parametrize("vsn", Vsn)
@pytest.mark.parametrize("half", ['"\\ud83d"', "NaN", '{"x": "\\udc00"}'])
def test_a_join_that_no_frame_could_carry_on_is_refused_in_words(vsn: Vsn, half: str) -> None:
    one = session(vsn)
    text = f'["1","1","realtime:room","phx_join",{{"config":{half}}}]'
    if vsn is Vsn.V1:
        text = f'{{"topic":"realtime:room","event":"phx_join","ref":"1","payload":{{"config":{half}}}}}'
    assert receive(one, text, NOW) == []
    (reply,) = sent(one.tick(NOW + 60))[:1]
    payload = reply[4] if vsn is Vsn.V2 else reply["payload"]
    assert payload["status"] == "error"
    assert payload["response"]["reason"].startswith("InvalidJoinPayload: the frame is not JSON that can be sent on")


def test_half_a_surrogate_pair_in_a_topic_is_answered_too() -> None:
    one = session()
    assert receive(one, '["1","1","realtime:\\ud800","phx_join",{}]', NOW) == []
    (reply,) = sent(one.tick(NOW + 60))[:1]
    assert (reply[1], reply[2], reply[4]["status"]) == ("1", "realtime:?", "error")
