"""The attacks of the campaign, a file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.redteam.attacks.floods import Floods
from tests.redteam.attacks.hostile_filters import HostileFilters
from tests.redteam.attacks.protocol_fuzz import ProtocolFuzz
from tests.redteam.attacks.slow_readers import SlowReaders
from tests.redteam.attacks.token_shapes import TokenShapes

if TYPE_CHECKING:
    from tests.redteam.campaign import Attack

ATTACKS: tuple[Attack, ...] = (TokenShapes(), ProtocolFuzz(), HostileFilters(), Floods(), SlowReaders())
