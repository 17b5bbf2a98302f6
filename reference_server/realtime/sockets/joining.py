"""What a join takes: its token, its rights, older messages, and a subscription that is live before the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from reference_server.realtime.protocol import refusals
from reference_server.realtime.protocol.channel import BadReplay, Channel, JoinBinding, JoinRequest, Replay
from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.protocol.ports import (
    BindingsRejected,
    Feed,
    FeedAway,
    MessagesUnavailable,
    ParseBindings,
    StoredMessage,
    StoredMessages,
    SubscribeRefused,
)
from reference_server.realtime.protocol.session import Session
from reference_server.realtime.sockets.hub import Hub
from reference_server.realtime.sockets.member import ChannelMember
from reference_server.realtime.sockets.policies import ChannelPolicies, ChannelRights, PoliciesUnavailable
from reference_server.replication.api_roles import RoleRefused
from reference_server.tokens.token import TokenError, VerifiedToken
from reference_server.tokens.verifier import TokenVerifier

FIRST_ATTEMPT_S: Final = 0.05  # at a subscription, however short a client wants to wait
RETRY_CHANGES_S: Final = 0.25  # between attempts at a subscription for which a client waits
EVERY_RIGHT: Final = ChannelRights(broadcast=True, presence=True)  # on a channel that is not private
log = structlog.get_logger(__name__)


class JoinRefused(Exception):
    """A join that comes to nothing; `reason` is the text of its reply."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Joined:
    """A channel that may be joined. `refused` says why its bindings, and they alone, cannot be served."""

    channel: Channel
    bindings: tuple[JoinBinding, ...]
    older: Sequence[StoredMessage]
    refused: str | None


class JoinPlace(Protocol):
    """What a join needs of the endpoint. `no_changes` is the text with which joins that ask for changes are refused,
    None while they are served."""

    verifier: TokenVerifier
    feed: Feed
    messages: StoredMessages
    parse_bindings: ParseBindings
    policies: ChannelPolicies
    limits: Limits
    private_only: bool
    clock: Callable[[], float]
    hub: Hub
    no_changes: str | None

    def unsubscribe_soon(self, subscription: Any) -> None: ...


class Joining:
    """The joins of one socket."""

    def __init__(self, endpoint: JoinPlace, session: Session) -> None:
        self._endpoint = endpoint
        self._session = session

    async def complete(self, request: JoinRequest, member: ChannelMember, on_error: Callable[[str], None]) -> Joined:
        """Everything that may be asked of others, done. Raises JoinRefused; then call `abandon`.

        `on_error` is told when the subscription ends by itself later.
        """
        endpoint = self._endpoint
        try:
            raw_token, token = await self._token_for(request)
            rights = await self._read_rights(request, token.claims)
        except TokenError as error:
            raise JoinRefused(refusals.at_join(error)) from None
        except RoleRefused as error:
            raise JoinRefused(f"Unauthorized: {error}") from None
        except PoliciesUnavailable as error:
            log.warning("private channel could not be authorised", error=str(error))
            raise JoinRefused(refusals.NO_DATABASE) from None
        if isinstance(rights, str):
            raise JoinRefused(rights)
        if (refusal := _replay_refused(request, rights)) is not None:
            raise JoinRefused(refusal)
        try:
            bindings = tuple(endpoint.parse_bindings(request.postgres_changes))
        except BindingsRejected as error:
            raise JoinRefused(error.reason) from None
        if bindings and endpoint.no_changes is not None:
            raise JoinRefused(endpoint.no_changes)
        channel = Channel(
            topic=request.topic,
            join_ref=request.channel_ref,
            raw_token=raw_token,
            token=token,
            private=request.private,
            self_broadcast=request.self_broadcast,
            ack=request.ack,
            presence_key=request.presence_key,
            legacy=request.legacy,
            may_read_broadcast=rights.broadcast,
            may_read_presence=rights.presence,
        )
        older = await self._older_messages(request, channel, member)
        refused = await self._subscribe(request, token, bindings, member, on_error)
        channel.bindings = bindings if refused is None else ()
        return Joined(channel, bindings, older, refused)

    def abandon(self, member: ChannelMember) -> None:
        """The join came to nothing: leave nothing of it behind."""
        if member.attached:
            self._endpoint.hub.leave(member)
        if member.subscription is not None:
            self._endpoint.unsubscribe_soon(member.subscription)
        member.detach()

    async def _token_for(self, request: JoinRequest) -> tuple[str, VerifiedToken]:
        session = self._session
        if request.token is not None and request.token != session.raw_token:
            return request.token, await self._endpoint.verifier.verify(request.token)
        if (expired := session.token.expired(self._endpoint.clock())) is not None:
            raise expired
        return session.raw_token, session.token

    async def _read_rights(self, request: JoinRequest, claims: Mapping[str, Any]) -> ChannelRights | str:
        """The rights to receive on the topic, or the text with which the join is refused."""
        if not request.private:
            return refusals.PRIVATE_ONLY if self._endpoint.private_only else EVERY_RIGHT
        rights = await self._endpoint.policies.may_read(request.name, claims)
        return rights if rights.any else f"Unauthorized: {refusals.cannot_read(request.name)}"

    async def _older_messages(
        self, request: JoinRequest, channel: Channel, member: ChannelMember
    ) -> list[StoredMessage]:
        """The messages to replay. What is sent from now on waits in the member, so that none falls in between."""
        if not isinstance(request.replay, Replay):
            return []
        member.attach(channel)
        self._endpoint.hub.enter(member)
        try:
            older = await self._endpoint.messages.latest(request.name, request.replay.since_ms, request.replay.limit)
        except ValueError:
            raise JoinRefused(refusals.REPLAY_INVALID) from None
        except MessagesUnavailable as error:
            log.warning("messages could not be replayed", topic=request.topic, error=str(error))
            raise JoinRefused(refusals.REPLAY_FAILED) from None
        member.replayed = frozenset(message.id for message in older)
        return older

    async def _subscribe(
        self,
        request: JoinRequest,
        token: VerifiedToken,
        bindings: Sequence[JoinBinding],
        member: ChannelMember,
        on_error: Callable[[str], None],
    ) -> str | None:
        """Make the member's subscription live; the text for a `system` message when the bindings cannot be served."""
        if not bindings:
            return None
        wait_s, loop = request.wait_for_changes, asyncio.get_running_loop()
        until = loop.time() + (self._endpoint.limits.subscribe_s if wait_s is None else wait_s)
        while True:
            try:
                async with asyncio.timeout(max(until - loop.time(), FIRST_ATTEMPT_S)):
                    member.subscription = await self._endpoint.feed.subscribe(
                        bindings,
                        token.claims,
                        member.change,
                        on_error=on_error,
                        client=self._session,
                    )
                return None
            except FeedAway as error:  # an error reply makes clients try again, a system message only some
                reason = f"{refusals.NO_DATABASE}: {error.message}"
            except SubscribeRefused as error:
                if wait_s is None:
                    return error.message
                raise JoinRefused(refusals.changes_refused(error.message)) from None
            except Exception as error:  # noqa: BLE001 whatever the database did, the client must hear of it
                log.warning("subscription failed", topic=request.topic, error=repr(error))
                reason = refusals.NO_DATABASE
            if wait_s is None:
                raise JoinRefused(reason)
            if loop.time() >= until:
                raise JoinRefused(refusals.changes_late(wait_s))
            await asyncio.sleep(min(RETRY_CHANGES_S, max(until - loop.time(), 0)))


def _replay_refused(request: JoinRequest, rights: ChannelRights) -> str | None:
    """Why a replay that is asked for is refused, if it is."""
    if request.replay is None:
        return None
    if not request.private:
        return refusals.REPLAY_PUBLIC
    if not rights.broadcast:
        return f"Unauthorized: {refusals.cannot_read(request.name)}"
    refused = isinstance(request.replay, BadReplay) and request.replay.refused
    return refusals.REPLAY_INVALID if refused else None
