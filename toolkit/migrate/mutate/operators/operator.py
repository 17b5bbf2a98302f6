"""What a mutation operator is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from toolkit.migrate.mutate.operators.places import Change, Place


@dataclass(frozen=True)
class Operator:
    """One way in which a migration can be wrong. `sentence` says which mistake it stands for; `changes` gives, for a
    node of one of the kinds `of`, every such change."""

    id: str
    kind: str
    title: str
    sentence: str
    of: tuple[str, ...]
    changes: Callable[[Place], Iterator[Change]]
