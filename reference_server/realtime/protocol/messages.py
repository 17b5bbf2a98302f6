"""What travels between a client and the Realtime endpoint, apart from its bytes.

`Ref` is whatever the client uses to match a reply: text in practice, null for the Python client's
heartbeats. It is echoed, never interpreted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

Ref: TypeAlias = str | int | None


class Vsn(Enum):
    """Serializer version, chosen by the client's `vsn` parameter."""

    V1 = "1.0.0"
    V2 = "2.0.0"


class Unsendable(str):
    """Stands for a payload with something that no frame can carry on; its text says what."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A text frame in either direction. `payload` is any JSON value, or Unsendable."""

    topic: str
    event: str
    payload: Any
    ref: Ref = None
    join_ref: Ref = None


@dataclass(frozen=True, slots=True)
class UserBroadcast:
    """A broadcast whose payload stays bytes: binary kind 3 when it arrives, kind 4 when it leaves.

    `is_json` is the sender's claim and is not checked by the codec. `meta` is JSON bytes or empty.
    """

    topic: str
    event: str
    payload: bytes
    is_json: bool
    meta: bytes = b""
    ref: Ref = None
    join_ref: Ref = None


@dataclass(frozen=True, slots=True)
class RawPush:
    """Binary kind 0: a push whose payload is bytes; a broadcast of it leaves as kind 2."""

    topic: str
    event: str
    payload: bytes
    ref: Ref = None
    join_ref: Ref = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """A frame that is not a message of this serializer version. It is counted and ignored."""

    reason: str


Incoming: TypeAlias = Message | UserBroadcast | RawPush
# What one client may send to the others of its channel.
Broadcast: TypeAlias = Message | UserBroadcast | RawPush
