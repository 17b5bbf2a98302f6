"""What the sockets need of the half that reads changes from the database, so that neither half imports the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from reference_server.realtime.protocol.channel import JoinBinding


@dataclass(frozen=True, slots=True)
class Change:
    """What one subscription receives of one changed row.

    `ids` are the ids of the bindings that match; `data` is the JSON object of `payload["data"]`, shared by all
    subscriptions that receive the same columns.
    """

    ids: tuple[int, ...]
    data: bytes


# Called on the event loop for each change, in commit order; it must not wait.
Sink: TypeAlias = Callable[[Change], None]
# Reads `config.postgres_changes` of a join. Raises BindingsRejected.
ParseBindings: TypeAlias = Callable[[object], Sequence[JoinBinding]]


class Feed(Protocol):
    """A stream of committed changes. `subscribe` returns an opaque subscription, which the other methods take.

    `state` is one of starting, live, lost, stopped; `on_state` callbacks are called at each change of it.
    """

    @property
    def state(self) -> str: ...
    async def start(self, deadline_s: float = 30) -> None: ...
    async def stop(self) -> None: ...
    async def subscribe(
        self,
        bindings: Any,
        claims: Mapping[str, Any],
        sink: Sink,
        *,
        on_error: Callable[[str], None] | None = None,
        client: object = None,
    ) -> Any: ...
    async def update_claims(self, subscription: Any, claims: Mapping[str, Any]) -> None: ...
    async def unsubscribe(self, subscription: Any) -> None: ...
    def on_state(self, callback: Callable[[str], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A row of `realtime.messages`. `payload` is JSON if `is_json`, else any bytes; `inserted_at` is text as in SQL."""

    id: str
    topic: str
    event: str
    private: bool
    payload: bytes
    is_json: bool
    inserted_at: str


class MessagesUnavailable(Exception):
    """`realtime.messages` cannot be asked or streamed; the text says why and what to do."""


# Called on the event loop for each message, in commit order; it must not wait. Returns how many received it.
MessageSink: TypeAlias = Callable[[StoredMessage], int]
# Whether receivers are behind, so that it is better to wait with what follows.
Congested: TypeAlias = Callable[[], bool]


class StoredMessages(Protocol):
    """The messages that the database sends. `state` is one of starting, live, lost, stopped; `problem` says why
    it is not live."""

    @property
    def state(self) -> str: ...
    @property
    def problem(self) -> str | None: ...
    async def start(
        self, sink: MessageSink, congested: Congested, on_live: Callable[[], None], deadline_s: float = 30
    ) -> None:
        """Returns after the first attempt: a database without the table is served nonetheless."""

    async def stop(self) -> None: ...
    async def latest(self, topic: str, since_ms: int, limit: int) -> list[StoredMessage]:
        """The newest private messages of a topic, oldest first. Raises MessagesUnavailable, ValueError."""
        ...


class BindingsRejected(ValueError):
    """An entry of `config.postgres_changes` is not an object: the join itself is refused with `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SubscribeRefused(Exception):
    """The bindings can never be served as they are; `message` is the text for the client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class FeedAway(SubscribeRefused):
    """The database or the replication stream does not answer: the same join may succeed later."""
