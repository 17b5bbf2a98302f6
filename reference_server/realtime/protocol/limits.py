"""Limits of the endpoint, and the meters that watch rates. Defaults are Supabase's documented ones."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations in seconds, sizes in bytes. Rates are means over at most the last 60 s."""

    users: int = 200  # sockets that hold at least one channel
    channels_per_socket: int = 100
    bindings_per_channel: int = 100
    conditions_per_channel: int = 200  # of the filters of postgres_changes bindings
    conditions_per_socket: int = 1_000
    joins_per_second: float = 100
    events_per_second: float = 100  # broadcasts and presence calls of all clients
    user_share: float = 0.5  # of joins_per_second and events_per_second that one user may take; refused ones count
    address_share: float = 0.8  # the same for an address
    headers_s: float = 15  # until the headers of a request must have arrived
    presence_calls: int = 5  # of one channel, within presence_window_s
    presence_window_s: float = 30
    broadcast_bytes: int = 3_000_000
    frame_bytes: int = 5_000_000
    idle_s: float = 60  # without any frame from the client
    channelless_s: float = 600  # a socket that holds no channel
    refusal_delay_s: float = 5  # before a refused join is answered
    upgrade_refusal_delay_s: float = 2
    subscribe_s: float = 10  # until a subscription must be live
    replication_ready_s: float = 60  # until a client that waits for it must have been told that messages are streamed
    policy_s: float = 5  # until the database must have answered about a private channel
    send_s: float = 10  # a client that takes no bytes for so long is disconnected
    queue_frames: int = 2_000  # to one client
    queue_bytes: int = 8_000_000
    congestion_s: float = 1  # that the stream of messages waits for a client whose queue is half full
    waiting_frames: int = 200  # of one client, behind joins of their own topics; waiting bytes end at frame_bytes

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value < 0 or (value == 0 and not name.endswith("delay_s")):
                raise ValueError(f"limit {name} must be positive, got {value}")


class RateMeter:
    """Events a second: the mean over the last `window_s`, or since the first event if that is shorter; at least 1 s."""

    def __init__(self, window_s: int = 60) -> None:
        self._window_s = window_s
        self._buckets: deque[tuple[int, int]] = deque()
        self._total = 0
        self._since: float | None = None

    def add(self, now: float, count: int = 1) -> None:
        if self._since is None:
            self._since = now
        second = int(now)
        if self._buckets and self._buckets[-1][0] == second:
            self._buckets[-1] = (second, self._buckets[-1][1] + count)
        else:
            self._buckets.append((second, count))
        self._total += count
        self._forget(now)

    def mean(self, now: float, *, with_more: int = 0) -> float:
        """The mean at `now`, or what it would be after `with_more` further events."""
        self._forget(now)
        since = now if self._since is None else self._since
        return (self._total + with_more) / min(max(now - since, 1.0), self._window_s)

    def _forget(self, now: float) -> None:
        while self._buckets and self._buckets[0][0] <= now - self._window_s:
            self._total -= self._buckets.popleft()[1]
        if not self._buckets:
            self._since = None
