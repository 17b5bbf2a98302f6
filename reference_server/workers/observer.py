"""What a worker counts; the process that runs it decides where the numbers go."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol


class Observer(Protocol):
    """Called from the event loop; must not block or raise."""

    def task_claimed(self, task_type: str) -> None: ...

    def task_ended(self, outcome: str) -> None:
        """`completed`, `retried`, `failed`, `rescued`, `released`, or `discarded`: a write that came too late."""
        ...

    def step_done(self, step: str, seconds: float) -> None: ...

    def claim_failed(self) -> None:
        """The queue could not be read."""
        ...


@dataclass
class Counts:
    """The observer that just counts."""

    claimed: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    step_seconds: dict[str, float] = field(default_factory=dict)
    claim_failures: int = 0

    def task_claimed(self, task_type: str) -> None:
        self.claimed += 1

    def task_ended(self, outcome: str) -> None:
        self.ended[outcome] += 1

    def step_done(self, step: str, seconds: float) -> None:
        self.steps[step] += 1
        self.step_seconds[step] = self.step_seconds.get(step, 0.0) + seconds

    def claim_failed(self) -> None:
        self.claim_failures += 1
