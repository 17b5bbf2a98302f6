"""One client's socket: performs the effects its session decides on, in order within each topic."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Final, Protocol, TypeAlias

import structlog

from reference_server.realtime.protocol import refusals
from reference_server.realtime.protocol.channel import Channel, JoinRequest
from reference_server.realtime.protocol.messages import Incoming, UserBroadcast
from reference_server.realtime.protocol.ports import (
    SubscribeRefused,
)
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
from reference_server.realtime.sockets.budgets import Sender
from reference_server.realtime.sockets.joining import EVERY_RIGHT, Joined, Joining, JoinPlace, JoinRefused
from reference_server.realtime.sockets.lanes import Lanes, Work
from reference_server.realtime.sockets.member import ChangeFrames, ChannelMember
from reference_server.realtime.sockets.outbox import AsgiSend, Congestion, Outbox
from reference_server.realtime.sockets.policies import PoliciesUnavailable
from reference_server.replication.api_roles import RoleRefused
from reference_server.tokens.token import TokenError

AsgiReceive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
INTERNAL_ERROR: Final = 1011
log = structlog.get_logger(__name__)


class Endpoint(JoinPlace, Protocol):
    """What a connection needs of the endpoint that holds it."""

    congestion: Congestion
    change_frames: ChangeFrames

    def admit(self, connection: Connection) -> str | None: ...
    def admit_events(self, count: int, sender: Sender) -> bool: ...


class Connection:
    """Messages of one topic are handled in order and do not wait for other topics: a slow join delays no heartbeat."""

    def __init__(self, endpoint: Endpoint, session: Session, send: AsgiSend, sender: Sender) -> None:
        self.sender = sender
        self.session = session
        self.closed = asyncio.Event()
        self.outbox = Outbox(send, endpoint.limits, self._farewell, endpoint.congestion)
        self._endpoint = endpoint
        self._joining = Joining(endpoint, session)
        self._members: dict[Channel, ChannelMember] = {}
        self._admitted = 0  # joins under way that passed the limits
        self._lanes = Lanes(
            self._begin, most_items=endpoint.limits.waiting_frames, most_bytes=endpoint.limits.frame_bytes
        )
        self._tick_at = 0.0
        self._earlier_tick = asyncio.Event()

    @property
    def is_user(self) -> bool:
        """Whether the socket holds a channel, or is about to."""
        return bool(self._members or self._admitted)

    async def run(self, receive: AsgiReceive) -> bool:
        """Serve until either side closes; hub and feed do not know the connection afterwards.

        False when the client accepted no more bytes, so that the connection has to be cut.
        """
        writer = asyncio.create_task(self.outbox.run(), name="realtime outbox")
        reader = asyncio.create_task(self._read(receive), name="realtime reader")
        ticker = asyncio.create_task(self._tick(), name="realtime clock")
        tasks = (writer, reader, ticker)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not writer.done() and self.outbox.closing:
                await asyncio.wait({writer}, timeout=self._endpoint.limits.send_s)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await self._lanes.cancel()
            for channel in list(self._members):
                self._leave(channel)
        for error in results:
            if isinstance(error, Exception) and not isinstance(error, TimeoutError):
                raise error
        return not isinstance(results[0], TimeoutError)

    def fail_changes(self) -> None:
        """The stream of changes is lost: every channel that listens to it gets phx_error, so that it rejoins."""
        for channel in [channel for channel in self._members if channel.bindings]:
            self._perform(self.session.fail(channel, self._endpoint.clock()))

    def replication_ready(self) -> None:
        """What the database sends is streamed: tell the channels that wait to hear it."""
        waiting = [channel for channel in self._members if channel.replication_until is not None]
        self._perform([self.session.replication_ready(channel) for channel in waiting])

    async def _read(self, receive: AsgiReceive) -> None:
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect" or self.outbox.closing:
                return
            text = event.get("text")
            frame = text if text is not None else event["bytes"]
            message = self.session.read(frame, self._endpoint.clock())
            if message is not None:
                size = len(frame) if isinstance(frame, bytes) or frame.isascii() else len(frame.encode())
                await self._lanes.put(message.topic, (message, size), size)

    async def _tick(self) -> None:
        clock = self._endpoint.clock
        while not self.outbox.closing:
            self._earlier_tick.clear()
            self._tick_at = self.session.deadline()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._tick_at - clock())):
                    await self._earlier_tick.wait()
            self.session.messages_problem = self._endpoint.messages.problem
            self._perform(self.session.tick(clock()))

    def _begin(self, item: tuple[Incoming, int]) -> Work | None:
        """Perform the effects of a message; the one that has to ask database or verifier is returned as a coroutine."""
        effects = self.session.handle(*item, self._endpoint.clock())
        asking = self._asking(effects[-1]) if effects else None
        self._perform(effects if asking is None else effects[:-1])
        self._reschedule()
        return None if asking is None else self._finish(asking)

    def _asking(self, effect: Effect) -> Coroutine[Any, Any, list[Effect]] | None:
        """A coroutine for an effect that has to ask database or verifier, None for any other."""
        match effect:
            case Join(request, superseded):
                return self._join(request, superseded)
            case Refresh(channel, raw_token):
                return self._refresh(channel, self._members[channel], raw_token)
            case Publish(channel) | Track(channel):
                member = self._members[channel]
                if channel.private and member.write_rights is None:
                    return self._with_write_rights(effect, member)
        return None

    async def _finish(self, asking: Coroutine[Any, Any, list[Effect]]) -> None:
        try:
            self._perform(await asking)
        except Exception:
            log.exception("realtime_message_failed")
            self.outbox.close(INTERNAL_ERROR, "internal error")
        self._reschedule()

    def _reschedule(self) -> None:
        if self.session.deadline() < self._tick_at:
            self._earlier_tick.set()

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(frame):
                    self.outbox.put(frame)
                case Leave(channel):
                    self._leave(channel)
                case Close(code, reason):
                    self.outbox.close(code, reason)
                case Publish(channel):
                    self._perform(self._publish(effect, self._members[channel]))
                case Track(channel):
                    self._perform(self._track(effect, self._members[channel]))
                case _:
                    raise AssertionError(f"{effect} needs the database")

    def _leave(self, channel: Channel) -> None:
        member = self._members.pop(channel, None)
        if member is None:
            return
        self._endpoint.hub.leave(member)
        member.detach()
        if member.subscription is not None:
            self._endpoint.unsubscribe_soon(member.subscription)

    def _farewell(self) -> list[str]:
        frames = []
        for channel in self.session.channels.values():
            frame = self.session.system(channel, "error", refusals.SLOW_CONSUMER).frame
            assert isinstance(frame, str)
            frames.append(frame)
        return frames

    def _subscription_failed(self, member: ChannelMember, why: str) -> None:
        """The feed has ended this subscription. A channel that is still joining is told when its join is complete."""
        if not member.attached or member.channel not in self._members:
            member.failed = why
            return
        channel = member.channel
        self._perform([self.session.system(channel, "error", why, "postgres_changes")])
        self._perform(self.session.fail(channel, self._endpoint.clock()))

    # Joins

    async def _join(self, request: JoinRequest, superseded: Channel | None) -> list[Effect]:
        refusal = self._endpoint.admit(self)
        if refusal is not None:
            too_fast = refusal == refusals.TOO_MANY_JOINS
            return self.session.refused(request, refusal, superseded, self._endpoint.clock(), then_close=too_fast)
        self._admitted += 1
        try:
            return await self._admitted_join(request, superseded)
        finally:
            self._admitted -= 1

    async def _admitted_join(self, request: JoinRequest, superseded: Channel | None) -> list[Effect]:
        endpoint, session = self._endpoint, self.session
        member = ChannelMember(session.vsn, self.outbox.put, endpoint.change_frames)
        joined = False
        try:
            join = await self._joining.complete(request, member, lambda why: self._subscription_failed(member, why))
            # No await from here to the end: a change that commits now must find the channel complete.
            if member.subscription is not None and endpoint.feed.state != "live":
                raise JoinRefused(refusals.NO_DATABASE)
            joined = True
        except JoinRefused as error:
            return session.refused(request, error.reason, superseded, endpoint.clock())
        finally:
            if not joined:
                self._joining.abandon(member)
        channel = join.channel
        if not member.attached:
            member.attach(channel)
            endpoint.hub.enter(member)
        self._members[channel] = member
        self._perform(session.joined(request, channel, join.bindings, superseded))
        self._after_join(request, join, subscribed=member.subscription is not None)
        member.release()
        if member.failed is not None:
            self._subscription_failed(member, member.failed)
        return []

    def _after_join(self, request: JoinRequest, join: Joined, *, subscribed: bool) -> None:
        session, endpoint, channel = self.session, self._endpoint, join.channel
        effects = [effect for message in join.older for effect in session.replayed(channel, message)]
        if request.replication_ready:
            channel.replication_until = endpoint.clock() + endpoint.limits.replication_ready_s
            if endpoint.messages.state == "live":
                effects.append(session.replication_ready(channel))
        if request.presence_enabled and channel.may_read_presence:
            effects.append(session.push(channel, "presence_state", endpoint.hub.presence_state(channel.key)))
        if subscribed:
            effects.append(session.system(channel, "ok", refusals.SUBSCRIBED, "postgres_changes"))
        if join.refused is not None:
            effects.append(session.system(channel, "error", join.refused, "postgres_changes"))
        self._perform(effects)

    # A joined channel

    async def _refresh(self, channel: Channel, member: ChannelMember, raw_token: str) -> list[Effect]:
        effects = await self._refreshed(channel, member, raw_token)
        # A channel that ended meanwhile has been told so. After phx_error a client rejoins, and a phx_close
        # behind it could keep the client from doing so.
        return effects if channel in self._members else []

    async def _refreshed(self, channel: Channel, member: ChannelMember, raw_token: str) -> list[Effect]:
        endpoint, session = self._endpoint, self.session
        try:
            token = await endpoint.verifier.verify(raw_token)
            if channel.private:
                rights = await endpoint.policies.may_read(channel.name, token.claims)
                if not rights.any:
                    return session.expel(channel, refusals.cannot_read(channel.name), endpoint.clock())
                if channel.loses(broadcast=rights.broadcast, presence=rights.presence):
                    return session.expel(channel, refusals.no_longer_reads(channel.name), endpoint.clock())
                channel.may_read_broadcast, channel.may_read_presence = rights.broadcast, rights.presence
        except TokenError as error:
            return session.expel(channel, error.message, endpoint.clock())
        except RoleRefused as error:
            return session.expel(channel, str(error), endpoint.clock())
        except PoliciesUnavailable as error:
            log.warning("private channel could not be re-authorised", error=str(error))
            return session.fail(channel, endpoint.clock())
        member.write_rights = None
        if member.subscription is None:
            session.refreshed(channel, raw_token, token)
            return []
        try:
            async with asyncio.timeout(endpoint.limits.subscribe_s):
                await endpoint.feed.update_claims(member.subscription, token.claims)
        except SubscribeRefused as error:
            # The subscription has ended. phx_error, because the JavaScript client only notes system messages.
            why = session.system(channel, "error", error.message, "postgres_changes")
            return [why, *session.fail(channel, endpoint.clock())]
        except Exception as error:  # noqa: BLE001 whatever the database did, the client must hear of it
            log.warning("claims of a subscription could not be replaced", topic=channel.topic, error=repr(error))
            return session.fail(channel, endpoint.clock())
        session.refreshed(channel, raw_token, token)
        return [session.system(channel, "ok", refusals.SUBSCRIBED, "postgres_changes")]

    async def _with_write_rights(self, effect: Publish | Track, member: ChannelMember) -> list[Effect]:
        """Ask the database for the rights to write: at the first message, and again after a token refresh."""
        channel = effect.channel
        try:
            member.write_rights = await self._endpoint.policies.may_write(channel.name, channel.token.claims)
        except PoliciesUnavailable as error:
            log.warning("a write could not be authorised", error=str(error))
            return [self.session.reply(channel, effect.ref, "error", {"reason": refusals.NO_DATABASE})]
        except RoleRefused as error:
            return self.session.expel(channel, str(error), self._endpoint.clock())
        return [effect] if channel in self._members else []  # else it ended while the database was asked

    def _publish(self, effect: Publish, member: ChannelMember) -> list[Effect]:
        channel, message, endpoint = effect.channel, effect.message, self._endpoint
        if not (member.write_rights or EVERY_RIGHT).broadcast:
            return []  # the real server sends no reply either, not even where an ack was asked for
        if isinstance(message, UserBroadcast):
            # A client's own metadata is not passed on; `meta` is the server's.
            message = UserBroadcast(message.topic, message.event, message.payload, message.is_json)
        endpoint.hub.publish(channel.key, message, sender=member)
        effects = self.session.published(channel, effect.ref)
        if not endpoint.admit_events(1, self.sender):
            effects += self.session.expel(channel, refusals.TOO_MANY_MESSAGES, endpoint.clock())
        return effects

    def _track(self, effect: Track, member: ChannelMember) -> list[Effect]:
        channel, session, endpoint = effect.channel, self.session, self._endpoint
        if not (member.write_rights or EVERY_RIGHT).presence:
            return [session.reply(channel, effect.ref, "error", {})]
        self._perform([session.reply(channel, effect.ref, "ok", {})])
        if effect.meta is None:
            endpoint.hub.untrack(member)
        else:
            endpoint.hub.track(member, effect.meta)
        if endpoint.admit_events(1, self.sender):
            return []
        return session.expel(channel, refusals.TOO_MANY_MESSAGES, endpoint.clock())
