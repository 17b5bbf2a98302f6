"""Facts that could not be determined: the reason, and how a check deals with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Absent:
    """A fact that could not be determined: the reason, and how to make it available."""

    reason: str
    remedy: str = ""


class Undetermined(Exception):
    """Raised when a check needs a fact that is absent."""

    def __init__(self, absent: Absent) -> None:
        super().__init__(absent.reason)
        self.absent = absent


def known(fact: T | Absent) -> T:
    """The fact itself. Raises Undetermined when it is absent."""
    if isinstance(fact, Absent):
        raise Undetermined(fact)
    return fact
