"""One socket's protocol state: frames and clock ticks in, effects out. No I/O.

The shell (sockets/connection.py) performs the effects in order, one frame at a time for each topic. For an effect
that needs the database or the verifier (a join, a token refresh, a publication) it reports the outcome through the
methods below. Times are seconds since 1970 and are passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import orjson

from reference_server.realtime.protocol import codec, refusals
from reference_server.realtime.protocol.channel import (
    TOPIC_PREFIX,
    BadConfig,
    Channel,
    JoinBinding,
    JoinRequest,
    read_join,
    usable_token,
)
from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.protocol.messages import (
    Broadcast,
    Incoming,
    Malformed,
    Message,
    RawPush,
    Ref,
    UserBroadcast,
    Vsn,
)
from reference_server.realtime.protocol.ports import StoredMessage
from reference_server.tokens.token import VerifiedToken

Frame: TypeAlias = str | bytes
Status: TypeAlias = Literal["ok", "error"]
NORMAL_CLOSE: Final = 1000


@dataclass(frozen=True, slots=True)
class Send:
    frame: Frame


@dataclass(frozen=True, slots=True)
class Join:
    """Verify the token, authorise and subscribe; then call `joined` or `refused`. Until then the topic is joining."""

    request: JoinRequest
    superseded: Channel | None


@dataclass(frozen=True, slots=True)
class Refresh:
    """Verify the new token and authorise the channel anew; then call `refreshed` or `expel`."""

    channel: Channel
    raw_token: str


@dataclass(frozen=True, slots=True)
class Leave:
    """The channel is gone: cancel its subscription, take it out of its topic."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Publish:
    """Send to the other members if this one may write; then call `published`."""

    channel: Channel
    message: Broadcast
    ref: Ref


@dataclass(frozen=True, slots=True)
class Track:
    """Set (`meta`) or remove (None) this channel's presence; then call `reply`."""

    channel: Channel
    meta: dict[str, Any] | None
    ref: Ref


@dataclass(frozen=True, slots=True)
class Close:
    code: int
    reason: str = ""


Effect: TypeAlias = Send | Join | Refresh | Leave | Publish | Track | Close


@dataclass(slots=True)
class _Delayed:
    due: float
    effects: Sequence[Effect]


class Session:
    """One socket: its channels, the joins under way, refusals that wait, and when the client was last heard."""

    def __init__(self, vsn: Vsn, raw_token: str, token: VerifiedToken, limits: Limits, now: float) -> None:
        self.vsn = vsn
        self.raw_token = raw_token
        self.token = token
        self.channels: dict[str, Channel] = {}
        self.joining: set[str] = set()
        self.ignored_frames = 0
        self.messages_problem: str | None = None  # why what the database sends is not streamed
        self._limits = limits
        self._last_frame = now
        self._without_channel_since: float | None = now
        self._delayed: list[_Delayed] = []

    # Inputs

    def read(self, frame: Frame, now: float) -> Incoming | None:
        """Decode a frame; None when it is malformed and ignored. Any frame shows that the client is alive."""
        self._last_frame = now
        message = codec.decode(self.vsn, frame)
        if isinstance(message, Malformed):
            self.ignored_frames += 1
            return None
        return message

    def handle(self, message: Incoming, size: int, now: float) -> list[Effect]:
        """The effects of a message of `size` bytes. Only the last one may need the database or the verifier."""
        match message:
            case Message(topic="phoenix"):
                return self._phoenix(message)
            case Message(event="phx_join"):
                return self._join(message, now)
            case Message(event="phx_leave"):
                return self._leave(message, now)
        channel = self.channels.get(message.topic)
        if channel is None:
            return [self._unmatched(message)]
        match message:
            case UserBroadcast():
                return self._publish(channel, message, message.ref, len(message.payload))
            case RawPush(event="broadcast"):
                return self._publish(channel, message, message.ref, len(message.payload))
            case Message(event="broadcast", payload=dict()):
                return self._publish(channel, message, message.ref, size)
            case Message(event="access_token", payload=dict() as payload):
                token = usable_token(payload.get("access_token"))
                if token is None or token == channel.raw_token:
                    return []
                channel.refreshing = True
                return [Refresh(channel, token)]
            case Message(event="presence", payload=dict() as payload):
                return self._presence(channel, payload, message.ref, size, now)
        return []

    def tick(self, now: float) -> list[Effect]:
        """What is due at `now`: delayed refusals, expired tokens, a socket that is idle or holds no channel."""
        effects: list[Effect] = []
        due = [entry for entry in self._delayed if entry.due <= now]
        self._delayed = [entry for entry in self._delayed if entry.due > now]
        for entry in due:
            effects += entry.effects
        for channel in list(self.channels.values()):
            if not channel.refreshing and (expired := channel.token.expired(now)) is not None:
                effects += self.expel(channel, expired.message, now)
            elif channel.replication_until is not None and channel.replication_until <= now:
                effects += self.expel(channel, refusals.no_replication(self.messages_problem), now)
        idle = now >= self._last_frame + self._limits.idle_s
        since = self._without_channel_since
        if idle or (since is not None and now >= since + self._limits.channelless_s):
            effects.append(Close(NORMAL_CLOSE))
        return effects

    def deadline(self) -> float:
        """The next moment at which `tick` has something to do."""
        moments = [self._last_frame + self._limits.idle_s]
        moments += [channel.token.expires_at for channel in self.channels.values() if not channel.refreshing]
        moments += [channel.replication_until for channel in self.channels.values() if channel.replication_until]
        moments += [entry.due for entry in self._delayed]
        if self._without_channel_since is not None:
            moments.append(self._without_channel_since + self._limits.channelless_s)
        return min(moments)

    # Outcomes that the shell reports

    def joined(
        self, request: JoinRequest, channel: Channel, bindings: Sequence[JoinBinding], superseded: Channel | None
    ) -> list[Effect]:
        self.joining.discard(channel.topic)
        self.channels[channel.topic] = channel
        self._without_channel_since = None
        echo = [{**binding.raw, "id": binding.id} for binding in bindings]
        return [
            self._reply(request.topic, request.join_ref, request.ref, "ok", {"postgres_changes": echo}),
            *self._closed_by_newer(superseded),
        ]

    def refused(
        self, request: JoinRequest, reason: str, superseded: Channel | None, now: float, *, then_close: bool = False
    ) -> list[Effect]:
        self.joining.discard(request.topic)
        effects: list[Effect] = [
            self._reply(request.topic, request.join_ref, request.ref, "error", {"reason": reason}),
            *self._closed_by_newer(superseded),
        ]
        if then_close:
            effects.append(Close(NORMAL_CLOSE))
        return self._after_delay(effects, now)

    def refreshed(self, channel: Channel, raw_token: str, token: VerifiedToken) -> None:
        channel.raw_token, channel.token, channel.refreshing = raw_token, token, False

    def published(self, channel: Channel, ref: Ref) -> list[Effect]:
        return [self.reply(channel, ref, "ok", {})] if channel.ack else []

    def reply(self, channel: Channel, ref: Ref, status: Status, response: Any) -> Send:
        return self._reply(channel.topic, channel.join_ref, ref, status, response)

    def system(self, channel: Channel, status: Status, message: str, extension: str = "system") -> Send:
        payload = {"message": message, "status": status, "extension": extension, "channel": channel.name}
        return self.push(channel, "system", payload)

    def replication_ready(self, channel: Channel) -> Send:
        """What a client waits for that wants to know when messages of the database are streamed."""
        channel.replication_until = None
        return self.system(channel, "ok", refusals.REPLICATION_READY)

    def replayed(self, channel: Channel, message: StoredMessage) -> list[Effect]:
        """A message from before the join; bytes are withheld from 1.0.0, which has no frame for them."""
        meta = {"replayed": True, "id": message.id}
        if message.is_json:
            body = {"event": message.event, "payload": orjson.Fragment(message.payload), "type": "broadcast"}
            return [self.push(channel, "broadcast", {**body, "meta": meta})]
        sent = UserBroadcast(channel.topic, message.event, message.payload, is_json=False, meta=orjson.dumps(meta))
        frame = codec.encode_broadcast(self.vsn, sent)
        return [] if frame is None else [Send(frame)]

    def push(self, channel: Channel, event: str, payload: Any) -> Send:
        """A message of the channel itself, as opposed to one fanned out to all of a topic."""
        return Send(codec.encode(self.vsn, Message(channel.topic, event, payload, None, channel.join_ref)))

    def expel(self, channel: Channel, why: str, now: float) -> list[Effect]:
        """Tell the client why, close the channel, and leave the socket open."""
        return [self.system(channel, "error", why), self._end(channel, "phx_close"), *self._gone(channel, now)]

    def fail(self, channel: Channel, now: float) -> list[Effect]:
        """The channel broke on our side: phx_error makes clients rejoin, where phx_close would not."""
        return [self._end(channel, "phx_error"), *self._gone(channel, now)]

    # Events of clients

    def _phoenix(self, message: Message) -> list[Effect]:
        if message.event != "heartbeat":
            return [self._unmatched(message)]
        return [self._reply("phoenix", message.join_ref, message.ref, "ok", {})]

    def _join(self, message: Message, now: float) -> list[Effect]:
        effects: list[Effect] = []
        superseded = self.channels.get(message.topic)
        if superseded is not None:
            effects += self._gone(superseded, now)
        if not message.topic.startswith(TOPIC_PREFIX):
            return [self._unmatched(message)]
        request = read_join(message)
        if isinstance(request, BadConfig):
            bare = JoinRequest(message.topic, message.ref, message.join_ref, None)
            return effects + self.refused(bare, refusals.invalid_config(request.what), superseded, now)
        if not request.name:
            return effects + self.refused(request, refusals.TOPIC_REQUIRED, superseded, now)
        if len(self.channels) + len(self.joining) >= self._limits.channels_per_socket:
            return effects + self.refused(request, refusals.TOO_MANY_CHANNELS, superseded, now)
        bindings = request.postgres_changes
        if isinstance(bindings, list) and len(bindings) > self._limits.bindings_per_channel:
            why = refusals.invalid_config(f"postgres_changes holds more than {self._limits.bindings_per_channel}")
            return effects + self.refused(request, why, superseded, now)
        self.joining.add(request.topic)
        return [*effects, Join(request, superseded)]

    def _leave(self, message: Message, now: float) -> list[Effect]:
        channel = self.channels.get(message.topic)
        answer = self._reply(message.topic, message.join_ref, message.ref, "ok", {})
        if channel is None:
            return [answer]
        if message.join_ref != channel.join_ref:
            return []
        return [answer, self._end(channel, "phx_close"), *self._gone(channel, now)]

    def _publish(self, channel: Channel, message: Broadcast, ref: Ref, size: int) -> list[Effect]:
        if size <= self._limits.broadcast_bytes:
            return [Publish(channel, message, ref)]
        if not channel.ack:
            return []
        # Text where an object belongs is the real server's answer; the Python client cannot read it.
        response: object = refusals.OVERSIZE if self.vsn is Vsn.V2 else {"reason": refusals.OVERSIZE}
        return [self.reply(channel, ref, "error", response)]

    def _presence(self, channel: Channel, payload: dict[str, Any], ref: Ref, size: int, now: float) -> list[Effect]:
        calls = channel.presence_calls
        while calls and calls[0] <= now - self._limits.presence_window_s:
            calls.popleft()
        if len(calls) >= self._limits.presence_calls:
            return self.expel(channel, refusals.PRESENCE_RATE, now)
        calls.append(now)
        event, meta = payload.get("event"), payload.get("payload", {})
        if event is None:
            return [self.reply(channel, ref, "ok", {})]
        if not isinstance(event, str):
            return self.fail(channel, now)
        match event.lower():
            case "track" if not isinstance(meta, dict):
                return [self.reply(channel, ref, "error", {"reason": refusals.PRESENCE_NOT_A_MAP})]
            case "track" if size > self._limits.broadcast_bytes:
                return self.expel(channel, refusals.PRESENCE_SIZE, now)
            case "track":
                return [Track(channel, meta, ref)]
            case "untrack":
                return [Track(channel, None, ref)]
        return [self.reply(channel, ref, "error", {})]

    # Frames

    def _reply(self, topic: str, join_ref: Ref, ref: Ref, status: Status, response: Any) -> Send:
        payload = {"status": status, "response": response}
        return Send(codec.encode(self.vsn, Message(topic, "phx_reply", payload, ref, join_ref)))

    def _unmatched(self, message: Message | UserBroadcast | RawPush) -> Send:
        return self._reply(message.topic, None, message.ref, "error", {"reason": refusals.UNMATCHED_TOPIC})

    def _end(self, channel: Channel, event: Literal["phx_close", "phx_error"]) -> Send:
        # Both refs are the join's: 1.0.0 frames have only `ref` to say which join ended.
        message = Message(channel.topic, event, {}, channel.join_ref, channel.join_ref)
        return Send(codec.encode(self.vsn, message))

    def _closed_by_newer(self, superseded: Channel | None) -> list[Effect]:
        # The Python client (1.0.0) does not look at the ref of a close: told that its old join ended,
        # it would drop the new one. So 1.0.0 sockets are not told.
        if superseded is None or self.vsn is Vsn.V1:
            return []
        return [self._end(superseded, "phx_close")]

    def _gone(self, channel: Channel, now: float) -> list[Effect]:
        if self.channels.get(channel.topic) is channel:
            del self.channels[channel.topic]
        if not self.channels:
            self._without_channel_since = now
        return [Leave(channel)]

    def _after_delay(self, effects: list[Effect], now: float) -> list[Effect]:
        """Send refusals after a delay, so that a client that repeats a hopeless join is slowed down."""
        if self._limits.refusal_delay_s <= 0:
            return effects
        if len(self._delayed) >= self._limits.channels_per_socket:
            return [Close(NORMAL_CLOSE)]  # a client that does not wait for its refusals would fill our memory
        self._delayed.append(_Delayed(now + self._limits.refusal_delay_s, effects))
        return []
