"""Topics and their members: fan-out of broadcasts and presence within this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from reference_server.realtime.protocol import codec
from reference_server.realtime.protocol.channel import Channel
from reference_server.realtime.protocol.messages import Broadcast, Message, Vsn
from reference_server.realtime.protocol.presence import Diff, Metas, Presence

TopicKey: TypeAlias = tuple[str, bool]  # topic, private


class Member(Protocol):
    """One channel of one socket, as its topic sees it. `deliver` only queues; it never waits."""

    @property
    def channel(self) -> Channel: ...
    @property
    def vsn(self) -> Vsn: ...
    def deliver(self, frame: str | bytes, message_id: str | None = None) -> None: ...


@dataclass(slots=True)
class _Topic:
    members: dict[Member, None] = field(default_factory=dict)
    presence: Presence = field(default_factory=Presence)


class Hub:
    """Messages are encoded once for each serializer version, whatever the number of members."""

    def __init__(self) -> None:
        self._topics: dict[TopicKey, _Topic] = {}

    def enter(self, member: Member) -> None:
        self._topics.setdefault(member.channel.key, _Topic()).members[member] = None

    def leave(self, member: Member) -> None:
        """Take the member out; the others learn that its presence ended."""
        topic = self._topics.get(member.channel.key)
        if topic is None or member not in topic.members:
            return
        del topic.members[member]
        self._announce(member.channel.topic, topic, topic.presence.untrack(member))
        if not topic.members:
            del self._topics[member.channel.key]

    def publish(
        self, key: TopicKey, message: Broadcast, *, sender: Member | None = None, message_id: str | None = None
    ) -> int:
        """Deliver to every member that may read broadcasts; to the sender itself only if it asked for its own.
        `message_id` is that of a stored message, which those to whom it was replayed do not get again."""
        topic = self._topics.get(key)
        if topic is None:
            return 0
        frames: dict[Vsn, str | bytes | None] = {}
        delivered = 0
        for member in list(topic.members):
            if not member.channel.may_read_broadcast or (member is sender and not member.channel.self_broadcast):
                continue
            if member.vsn not in frames:
                frames[member.vsn] = codec.encode_broadcast(member.vsn, message)
            if (frame := frames[member.vsn]) is not None:
                member.deliver(frame, message_id)
                delivered += 1
        return delivered

    def track(self, member: Member, meta: dict[str, object]) -> None:
        topic = self._topics[member.channel.key]
        self._announce(member.channel.topic, topic, topic.presence.track(member, member.channel.presence_key, meta))

    def untrack(self, member: Member) -> None:
        topic = self._topics[member.channel.key]
        self._announce(member.channel.topic, topic, topic.presence.untrack(member))

    def presence_state(self, key: TopicKey) -> Metas:
        topic = self._topics.get(key)
        return {} if topic is None else topic.presence.state()

    def members(self) -> Iterator[Member]:
        for topic in list(self._topics.values()):
            yield from list(topic.members)

    def counts(self) -> tuple[int, int]:
        """(topics, members)."""
        return len(self._topics), sum(len(topic.members) for topic in self._topics.values())

    @staticmethod
    def _announce(name: str, topic: _Topic, diff: Diff | None) -> None:
        if diff is None:
            return
        message = Message(name, "presence_diff", diff.payload())
        frames: dict[Vsn, str] = {}
        for member in list(topic.members):
            if not member.channel.may_read_presence:
                continue
            if member.vsn not in frames:
                frames[member.vsn] = codec.encode(member.vsn, message)
            member.deliver(frames[member.vsn])
