"""The endpoint's budget of joins or messages a second, of which no user and no address takes all. Pure.

What is refused counts for its sender alone: it costs nobody else anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from reference_server.realtime.protocol.limits import RateMeter

# Meters of senders that were quiet for their whole window are dropped when there are so many.
MOST_SENDERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Sender:
    """Who asks: the address of the connection, and the user of its token (None for one without `sub`)."""

    address: str
    user: str | None


@dataclass
class SharedBudget:
    """`per_second` for all; a user may take `user_share` of it and an address `address_share` (0 to 1)."""

    per_second: float
    user_share: float
    address_share: float
    _all: RateMeter = field(default_factory=RateMeter)
    _senders: dict[tuple[str, str], RateMeter] = field(default_factory=dict)

    def take(self, now: float, sender: Sender, count: int = 1) -> bool:
        """Count what a sender asks for, and say whether it may have it. Of several it has all or none."""
        own = [
            (self._meter(now, kind, name), self.per_second * share)
            for kind, name, share in (
                ("user", sender.user, self.user_share),
                ("address", sender.address, self.address_share),
            )
            if name is not None
        ]
        for meter, most in own:
            if meter.mean(now, with_more=count) > most:
                meter.add(now)  # the user's, not that of its neighbours at the same address
                return False
        if self._all.mean(now, with_more=count) > self.per_second:
            own[0][0].add(now)
            return False
        for meter in (*(meter for meter, _ in own), self._all):
            meter.add(now, count)
        return True

    def spent(self, now: float, sender: Sender) -> bool:
        """Whether everybody together, this address or this user has had its share and asked for more."""
        if self._all.mean(now) > self.per_second:
            return True
        own = ("address", sender.address, self.address_share), ("user", sender.user or "", self.user_share)
        meters = ((self._senders.get((kind, name)), share) for kind, name, share in own)
        return any(meter is not None and meter.mean(now) > self.per_second * share for meter, share in meters)

    def _meter(self, now: float, kind: str, name: str) -> RateMeter:
        meter = self._senders.get((kind, name))
        if meter is None:
            if len(self._senders) >= MOST_SENDERS:
                self._senders = {key: known for key, known in self._senders.items() if known.mean(now) > 0}
            meter = self._senders[kind, name] = RateMeter()
        return meter
