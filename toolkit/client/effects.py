"""The effects that the recovery machine asks the stream to carry out."""

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
    """Tell the application that the events `first` to `last` (inclusive) existed and are no longer stored."""

    first: int
    last: int


@dataclass(frozen=True)
class HistoryRestarted:
    """Tell the application that sequences begin anew: it knew events up to `known`, but the log now ends at `last`.

    Events delivered before belong to a log that is gone; delivery continues at the first event of the new one.
    """

    known: int
    last: int


@dataclass(frozen=True)
class Stalled:
    """Tell the application that neither a change nor a page has arrived for `seconds`."""

    seconds: float


@dataclass(frozen=True)
class End:
    """The process is over and everything was delivered."""

    event: ProcessEvent


Effect: TypeAlias = Connect | Disconnect | Fetch | Deliver | HistoryExpired | HistoryRestarted | Stalled | End
