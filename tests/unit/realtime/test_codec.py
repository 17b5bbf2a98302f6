"""Frames: literal bytes as clients send them, round trips, and anything at all without an exception."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.realtime.protocol import codec
from reference_server.realtime.protocol.messages import Malformed, Message, RawPush, UserBroadcast, Vsn

JS_BROADCAST = bytes([3, 1, 1, 13, 2, 0, 1]) + b"67" + b"realtime:room" + b"hi" + b'{"a":1}'

refs = st.one_of(st.none(), st.text(max_size=5), st.integers(0, 10**6))
names = st.text(max_size=40)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def test_reads_the_binary_broadcast_of_the_javascript_client() -> None:
    assert codec.decode(Vsn.V2, JS_BROADCAST) == UserBroadcast(
        "realtime:room", "hi", b'{"a":1}', True, b"", ref="7", join_ref="6"
    )


def test_forwards_it_as_kind_4_to_2_0_0_and_as_an_object_to_1_0_0() -> None:
    message = codec.decode(Vsn.V2, JS_BROADCAST)
    assert isinstance(message, UserBroadcast)
    assert codec.encode_broadcast(Vsn.V2, message) == b"\x04\x0d\x02\x00\x01realtime:roomhi" + b'{"a":1}'
    text = codec.encode_broadcast(Vsn.V1, message)
    assert isinstance(text, str)
    assert orjson.loads(text) == {
        "ref": None,
        "event": "broadcast",
        "payload": {"event": "hi", "payload": {"a": 1}, "type": "broadcast"},
        "topic": "realtime:room",
    }


@pytest.mark.parametrize(("is_json", "payload"), [(False, b"\x00\xff"), (True, b"not json"), (True, b"")])
def test_bytes_that_are_no_json_are_withheld_from_1_0_0(is_json: bool, payload: bytes) -> None:
    assert codec.encode_broadcast(Vsn.V1, UserBroadcast("realtime:x", "e", payload, is_json)) is None


def test_a_raw_push_leaves_as_kind_2() -> None:
    raw = codec.decode(Vsn.V2, bytes([0, 0, 1, 1, 9]) + b"5" + b"t" + b"broadcast" + b"\x01\x02")
    assert raw == RawPush("t", "broadcast", b"\x01\x02", ref="5")
    assert codec.encode_broadcast(Vsn.V2, raw) == b"\x02\x01\x09tbroadcast\x01\x02"
    assert codec.encode_broadcast(Vsn.V1, raw) is None


@pytest.mark.parametrize(
    ("vsn", "frame"),
    [
        (Vsn.V1, "{not json"),
        (Vsn.V1, ""),
        (Vsn.V1, "null"),
        (Vsn.V1, '["1","1","phoenix","heartbeat",{}]'),
        (Vsn.V1, '{"topic":"phoenix"}'),
        (Vsn.V1, '{"topic":5,"event":"e","payload":{},"ref":null}'),
        (Vsn.V1, '{"topic":"t","event":"e","payload":{},"ref":{}}'),
        (Vsn.V1, b"\x03"),
        (Vsn.V2, "[1,2]"),
        (Vsn.V2, '{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}'),
        (Vsn.V2, '[null,true,"phoenix","heartbeat",{}]'),
        (Vsn.V2, b""),
        (Vsn.V2, b"\x09\x09"),
        (Vsn.V2, b"\x03\x01"),
        (Vsn.V2, b"\x03\x05\x05\x05\x05\x05\x01abc"),
        (Vsn.V2, b"\x00\x00\x00\x01\x00\xff"),
        (Vsn.V2, '[null,"1","t","e",' + "[" * 300 + "]" * 300 + "]"),
        (Vsn.V2, '[null,"1","t","e",' + "[" * 100_000),
    ],
)
def test_what_is_no_message_is_malformed(vsn: Vsn, frame: str | bytes) -> None:
    assert isinstance(codec.decode(vsn, frame), Malformed)


@given(st.sampled_from(Vsn), st.binary(max_size=60) | st.text(max_size=60))
def test_decoding_is_total(vsn: Vsn, frame: str | bytes) -> None:
    codec.decode(vsn, frame)


@given(st.integers(0, 5), st.binary(max_size=60))
def test_decoding_binary_is_total(kind: int, rest: bytes) -> None:
    message = codec.decode(Vsn.V2, bytes([kind]) + rest)
    if isinstance(message, UserBroadcast | RawPush):
        for vsn in Vsn:
            codec.encode_broadcast(vsn, message)


@given(st.sampled_from(Vsn), names, names, json_values, refs, refs)
def test_text_round_trip(vsn: Vsn, topic: str, event: str, payload: Any, ref: Any, join_ref: Any) -> None:
    message = Message(topic, event, payload, ref, None if vsn is Vsn.V1 else join_ref)
    assert codec.decode(vsn, codec.encode(vsn, message)) == message


@given(st.sampled_from(Vsn), names, st.lists(st.integers(1, 2**27), min_size=1, max_size=3), json_values)
def test_a_change_frame_is_what_encoding_it_whole_would_give(vsn: Vsn, topic: str, ids: list[int], data: Any) -> None:
    frame = codec.change_frame(vsn, topic, tuple(ids), orjson.dumps(data).decode())
    assert codec.decode(vsn, frame) == Message(topic, "postgres_changes", {"data": data, "ids": ids})


@pytest.mark.parametrize(
    ("parameter", "vsn"),
    [(None, Vsn.V1), ("1.0.0", Vsn.V1), ("1.0.5", Vsn.V1), ("2.0.1", Vsn.V2), ("2", None), ("3.0.0", None), ("", None)],
)
def test_serializer_versions(parameter: str | None, vsn: Vsn | None) -> None:
    assert codec.vsn_of(parameter) is vsn


@pytest.mark.parametrize("field", [0, 1, 2, 3])
def test_what_is_sent_back_is_never_as_large_as_a_frame(field: int) -> None:
    frame: list[Any] = ["1", "1", "realtime:room", "phx_join", {}]
    frame[field] = "x" * codec.MAX_NAME
    assert isinstance(codec.decode(Vsn.V2, orjson.dumps(frame).decode()), Message)
    frame[field] += "x"
    assert isinstance(codec.decode(Vsn.V2, orjson.dumps(frame).decode()), Malformed)
