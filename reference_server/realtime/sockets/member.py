"""A joined channel with its subscription and its way to the socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from reference_server.realtime.protocol import codec
from reference_server.realtime.protocol.channel import Channel
from reference_server.realtime.protocol.messages import Message, Vsn
from reference_server.realtime.protocol.ports import Change
from reference_server.realtime.sockets.policies import ChannelRights


class ChangeFrames:
    """The frames of the latest change, so that subscribers of one topic share one encoding."""

    def __init__(self) -> None:
        self._data: bytes = b""
        self._text = ""
        self._frames: dict[tuple[Vsn, str, tuple[int, ...]], str] = {}

    def frame(self, vsn: Vsn, topic: str, change: Change) -> str:
        if change.data is not self._data:
            self._data, self._text = change.data, change.data.decode()
            self._frames = {}
        key = (vsn, topic, change.ids)
        frame = self._frames.get(key)
        if frame is None:
            frame = self._frames[key] = codec.change_frame(vsn, topic, change.ids, self._text)
        return frame


@dataclass(frozen=True, slots=True)
class HeldFrame:
    """A message of the topic that came before the join was answered."""

    frame: str | bytes
    message_id: str | None


class ChannelMember:
    """Receives a channel's changes from the feed and passes them to the socket.

    The subscription is live before the join is answered; changes that arrive before that answer wait for it. So do
    messages that arrive while older ones are read to be replayed.
    """

    def __init__(self, vsn: Vsn, deliver: Callable[[str | bytes], None], frames: ChangeFrames) -> None:
        self.vsn = vsn
        self.replayed: frozenset[str] = frozenset()  # ids of messages
        self._deliver = deliver
        self.subscription: Any = None
        self.write_rights: ChannelRights | None = None
        self.failed: str | None = None  # why the feed gave up before the join was answered
        self._frames = frames
        self._channel: Channel | None = None
        self._held: list[Change | HeldFrame] | None = []

    @property
    def channel(self) -> Channel:
        assert self._channel is not None, "the member has no channel before its join succeeded"
        return self._channel

    @property
    def attached(self) -> bool:
        return self._channel is not None

    def attach(self, channel: Channel) -> None:
        self._channel = channel

    def deliver(self, frame: str | bytes, message_id: str | None = None) -> None:
        """Pass a message of the topic on, behind the join's answer; one that was replayed is not sent again."""
        if message_id is not None and message_id in self.replayed:
            return
        if self._held is not None:
            self._held.append(HeldFrame(frame, message_id))
        elif self._channel is not None:
            self._deliver(frame)

    def change(self, change: Change) -> None:
        """The sink that the feed calls."""
        if self._held is not None:
            self._held.append(change)
        elif self._channel is not None:
            self._deliver_change(self._channel, change)

    def release(self) -> None:
        """The join has been answered: deliver the changes that waited, and from now on each at once."""
        held, self._held = self._held, None
        for item in held or ():
            if isinstance(item, Change):
                self._deliver_change(self.channel, item)
            elif item.message_id is None or item.message_id not in self.replayed:
                self._deliver(item.frame)

    def detach(self) -> None:
        """Nothing more is delivered, even if the feed still calls."""
        self._held, self._channel = None, None

    def _deliver_change(self, channel: Channel, change: Change) -> None:
        if not channel.legacy:
            self._deliver(self._frames.frame(self.vsn, channel.topic, change))
            return
        data = orjson.loads(change.data)
        message = Message(channel.topic, data["type"], orjson.Fragment(change.data))
        self._deliver(codec.encode(self.vsn, message))
