"""What the protocol needs of the database half: subscriptions to committed changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from reference_server.realtime.protocol.channel import Binding


class RowChange(Protocol):
    """One change as one subscription sees it; `data` is the JSON object of `payload["data"]`."""

    @property
    def ids(self) -> tuple[int, ...]: ...
    @property
    def data(self) -> bytes: ...


Sink: TypeAlias = Callable[[Any], None]  # called with a RowChange, on the event loop, and must not wait
ParseBindings: TypeAlias = Callable[[object], Sequence[Binding]]


class Feed(Protocol):
    """`state` is one of starting, live, lost, stopped; `on_state` reports each change of it."""

    @property
    def state(self) -> str: ...
    async def start(self, deadline_s: float = 30) -> None: ...
    async def stop(self) -> None: ...
    async def subscribe(
        self, bindings: Any, claims: Mapping[str, Any], sink: Sink, *, on_error: Callable[[str], None] | None = None
    ) -> Any: ...
    async def update_claims(self, subscription: Any, claims: Mapping[str, Any]) -> None: ...
    async def unsubscribe(self, subscription: Any) -> None: ...
    def on_state(self, callback: Callable[[str], None]) -> None: ...


class SubscribeRefused(Exception):
    """The bindings can never be served as they are; `message` is the text for the client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class FeedAway(SubscribeRefused):
    """Not the bindings' fault: the database or the stream does not answer. The same join may succeed later."""
