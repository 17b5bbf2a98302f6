"""What the recovery machine asks its shell to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from toolkit.client.events import ProcessEvent


@dataclass(frozen=True)
class Connect:
    """Open a connection, join, and report with this `epoch`."""

    epoch: int


@dataclass(frozen=True)
class Disconnect:
    """Drop the connection of `epoch`."""

    epoch: int
    reason: str


@dataclass(frozen=True)
class Fetch:
    """Read one page of events after `since`, and report with this `ticket`."""

    ticket: int
    since: int


@dataclass(frozen=True)
class Deliver:
    """Hand the event to the application."""

    event: ProcessEvent


@dataclass(frozen=True)
class HistoryExpired:
    """Tell the application: these events (inclusive) existed and are no longer stored."""

    first: int
    last: int


@dataclass(frozen=True)
class HistoryRestarted:
    """Tell the application: sequences begin anew. It knew events up to `known`, the log ends at `last` below that.

    What was delivered before belongs to a log that is gone; what follows begins at its first event.
    """

    known: int
    last: int


@dataclass(frozen=True)
class Stalled:
    """Tell the application: nothing could be heard or read for `seconds`."""

    seconds: float


@dataclass(frozen=True)
class End:
    """The process is over and everything was delivered."""

    event: ProcessEvent


Effect: TypeAlias = Connect | Disconnect | Fetch | Deliver | HistoryExpired | HistoryRestarted | Stalled | End
