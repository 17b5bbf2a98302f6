"""Frames to messages and back, for serializer versions 1.0.0 (objects) and 2.0.0 (arrays and binary).

Decoding never raises: whatever the bytes, it returns a message or `Malformed`. Every
length in a binary frame is one unsigned byte, so topic and event end at 255 bytes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final, TypeGuard

import orjson

from reference_server.realtime.protocol.messages import (
    Broadcast,
    Incoming,
    Malformed,
    Message,
    RawPush,
    Ref,
    Unsendable,
    UserBroadcast,
    Vsn,
)

PUSH: Final = 0
BROADCAST: Final = 2
USER_BROADCAST_PUSH: Final = 3
USER_BROADCAST: Final = 4
MAX_BINARY_NAME: Final = 255
RAW: Final = 0
JSON: Final = 1

# orjson reads 1,024 levels and writes 254: what is accepted must be possible to send on.
MAX_DEPTH: Final = 200
# Characters of a topic, an event or a ref. All of them are sent back, and a reply must stay far smaller than a frame.
MAX_NAME: Final = 8_192
# Characters of a frame that is no strict JSON and is still looked at, so that its sender gets an answer.
MAX_LAX: Final = 65_536


def vsn_of(parameter: str | None) -> Vsn | None:
    """Serializer for the `vsn` parameter: absent is 1.0.0, any 1.0.x or 2.0.x is served, else None."""
    if parameter is None or parameter.startswith("1.0."):
        return Vsn.V1
    return Vsn.V2 if parameter.startswith("2.0.") else None


def decode(vsn: Vsn, frame: str | bytes) -> Incoming | Malformed:
    if isinstance(frame, bytes):
        return _decode_binary(frame) if vsn is Vsn.V2 else Malformed("binary frame on a 1.0.0 socket")
    try:
        value = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        value = _lax(frame)
        if value is None:
            return Malformed(f"not JSON: {error}")
        message = _message(vsn, value)
        if isinstance(message, Malformed):
            return message
        return replace(message, payload=Unsendable(f"the frame is not JSON that can be sent on: {error}"))
    if frame.count("[") + frame.count("{") > MAX_DEPTH and _too_deep(value):
        return Malformed(f"nested deeper than {MAX_DEPTH} levels")
    return _message(vsn, value)


def _message(vsn: Vsn, value: Any) -> Message | Malformed:
    if vsn is Vsn.V1:
        if not isinstance(value, dict) or not {"topic", "event", "payload", "ref"} <= value.keys():
            return Malformed("expected an object with topic, event, payload and ref")
        fields = (value.get("join_ref"), value["ref"], value["topic"], value["event"], value["payload"])
    else:
        if not isinstance(value, list) or len(value) != 5:
            return Malformed("expected [join_ref, ref, topic, event, payload]")
        fields = (value[0], value[1], value[2], value[3], value[4])
    join_ref, ref, topic, event, payload = fields
    if not isinstance(topic, str) or not isinstance(event, str):
        return Malformed("topic and event must be text")
    if not _is_ref(ref) or not _is_ref(join_ref):
        return Malformed("ref and join_ref must be text, a number or null")
    if any(isinstance(name, str) and len(name) > MAX_NAME for name in (topic, event, ref, join_ref)):
        return Malformed(f"topic, event and refs end at {MAX_NAME} characters")
    return Message(topic, event, payload, ref, join_ref)


def encode(vsn: Vsn, message: Message) -> str:
    """The text frame. Raises TypeError for a payload that is no JSON value (a programming error)."""
    if vsn is Vsn.V2:
        return orjson.dumps([message.join_ref, message.ref, message.topic, message.event, message.payload]).decode()
    return orjson.dumps(
        {"ref": message.ref, "event": message.event, "payload": message.payload, "topic": message.topic}
    ).decode()


def encode_broadcast(vsn: Vsn, message: Broadcast) -> str | bytes | None:
    """The frame that carries a broadcast to a peer, or None when this version cannot express it."""
    if isinstance(message, Message):
        return encode(vsn, Message(message.topic, message.event, message.payload))
    topic, event = message.topic.encode(), message.event.encode()
    if isinstance(message, UserBroadcast) and max(len(topic), len(event), len(message.meta)) > MAX_BINARY_NAME:
        return _as_text(vsn, message)  # no binary frame holds such names
    if vsn is Vsn.V2:
        if isinstance(message, RawPush):
            return bytes((BROADCAST, len(topic), len(event))) + topic + event + message.payload
        head = (USER_BROADCAST, len(topic), len(event), len(message.meta), JSON if message.is_json else RAW)
        return bytes(head) + topic + event + message.meta + message.payload
    return None if isinstance(message, RawPush) else _as_text(vsn, message)


def _as_text(vsn: Vsn, message: UserBroadcast) -> str | None:
    if not message.is_json:
        return None
    payload = _json_or_nothing(message.payload)
    if payload is None:
        return None
    body: dict[str, Any] = {"event": message.event, "payload": payload, "type": "broadcast"}
    if message.meta and (meta := _json_or_nothing(message.meta)) is not None:
        body["meta"] = meta
    return encode(vsn, Message(message.topic, "broadcast", body))


def change_frame(vsn: Vsn, topic: str, ids: tuple[int, ...], data: str) -> str:
    """A postgres_changes frame around `data`, a JSON object that was serialised once for all receivers."""
    name, numbers = orjson.dumps(topic).decode(), ",".join(map(str, ids))
    if vsn is Vsn.V2:
        return f'[null,null,{name},"postgres_changes",{{"data":{data},"ids":[{numbers}]}}]'
    payload = f'{{"data":{data},"ids":[{numbers}]}}'
    return f'{{"ref":null,"event":"postgres_changes","payload":{payload},"topic":{name}}}'


def _decode_binary(frame: bytes) -> Incoming | Malformed:
    if not frame:
        return Malformed("empty binary frame")
    kind = frame[0]
    names = {PUSH: 4, USER_BROADCAST_PUSH: 5}.get(kind)
    if names is None:
        return Malformed(f"binary kind {kind} is not sent by clients")
    start = 1 + names + (kind == USER_BROADCAST_PUSH)
    if len(frame) < start:
        return Malformed("binary header is cut short")
    parts: list[bytes] = []
    for length in frame[1 : 1 + names]:
        parts.append(frame[start : start + length])
        start += length
    if len(frame) < start:
        return Malformed("binary frame is shorter than its lengths")
    try:
        join_ref, ref, topic, event = (part.decode() for part in parts[:4])
    except UnicodeDecodeError:
        return Malformed("topic, event and refs must be UTF-8")
    body = frame[start:]
    if kind == PUSH:
        return RawPush(topic, event, body, ref or None, join_ref or None)
    # Only 0 means raw bytes; the real server forwards any other encoding as JSON.
    is_json = frame[1 + names] != RAW
    return UserBroadcast(topic, event, body, is_json, parts[4], ref or None, join_ref or None)


def _lax(frame: str) -> Any:
    """What a client that is less strict may have meant: half a surrogate pair (as `?`), NaN, Infinity; else None."""
    if len(frame) > MAX_LAX:
        return None
    try:
        value = json.loads(frame)
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _json_or_nothing(data: bytes) -> orjson.Fragment | None:
    """`data` ready to be embedded, or None when it is not JSON that may stand in a text frame."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return None if _too_deep(value) else orjson.Fragment(data)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True


def _is_ref(value: object) -> TypeGuard[Ref]:
    return value is None or (isinstance(value, str | int) and not isinstance(value, bool))
