"""Row changes that wait to be delivered. The queue is bounded: a burst waits in Postgres, not in our memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from reference_server.replication.pgoutput import Begin, Delete, Insert, Relation, Update

# Above the first number the stream is paused, at or below the second it is resumed.
CHANGES = (5_000, 1_000)
BYTES = (64 << 20, 16 << 20)


@dataclass(frozen=True, slots=True)
class Queued:
    """A row message with the relation and the transaction it belongs to."""

    relation: Relation
    message: Insert | Update | Delete
    begin: Begin


@dataclass
class Backlog:
    """A queue that knows its size in bytes of row values."""

    _queue: deque[tuple[Queued, int]] = field(default_factory=deque)
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether the stream has to be paused."""
        return len(self._queue) >= CHANGES[0] or self._bytes >= BYTES[0]

    @property
    def low(self) -> bool:
        """Whether the stream may be resumed."""
        return len(self._queue) <= CHANGES[1] and self._bytes <= BYTES[1]

    @property
    def oldest(self) -> Queued | None:
        """The change that has waited longest."""
        return self._queue[0][0] if self._queue else None

    def append(self, queued: Queued) -> None:
        """Add the latest change."""
        size = _size(queued.message)
        self._queue.append((queued, size))
        self._bytes += size

    def take(self, most: int) -> list[Queued]:
        """The oldest changes, at most so many."""
        taken = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        self._bytes -= sum(size for _, size in taken)
        return [queued for queued, _ in taken]

    def clear(self) -> None:
        """Forget everything."""
        self._queue.clear()
        self._bytes = 0


def _size(message: Insert | Update | Delete) -> int:
    match message:
        case Insert():
            rows = [message.new]
        case Update():
            rows = [message.key or (), message.old or (), message.new]
        case Delete():
            rows = [message.key or (), message.old or ()]
    return sum(len(value) for row in rows for value in row if isinstance(value, bytes))
