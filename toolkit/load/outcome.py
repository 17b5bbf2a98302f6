"""What one Locust worker found: sent to the master as plain data, and merged there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from toolkit.report.record import Check, worst

MAX_FAILURES_TOLD = 20


@dataclass(frozen=True)
class Outcome:
    """The outcome of one worker, or of all workers merged.

    `users`: how many began a generation; `finished_users`: how many ran all of theirs. `samples`: milliseconds by
    figure; `moments`: the time of each sample, in seconds since the epoch. `counts`: everything that is counted, by
    name. `environment`: why the worker could not begin, None when it could.
    """

    worker: str
    users: int = 0
    finished_users: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    stopped: int = 0
    failures: tuple[str, ...] = ()
    samples: dict[str, list[float]] = field(default_factory=dict)
    moments: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    histories: tuple[str, ...] = ()
    environment: str | None = None

    def plain(self) -> dict[str, Any]:
        """As plain values, for a message between processes."""
        return asdict(self)


_OUTCOME = TypeAdapter(Outcome)


def from_plain(data: Mapping[str, Any]) -> Outcome:
    """The outcome from what `plain` made. Raises pydantic's ValidationError for anything else."""
    return _OUTCOME.validate_python(data)


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcomes of all workers merged into one."""
    if len(outcomes) == 1:
        return outcomes[0]
    samples: dict[str, list[float]] = {}
    moments: dict[str, list[float]] = {}
    counts: dict[str, float] = {}
    for outcome in outcomes:
        for name, values in outcome.samples.items():
            samples.setdefault(name, []).extend(values)
        for name, values in outcome.moments.items():
            moments.setdefault(name, []).extend(values)
        for name, value in outcome.counts.items():
            counts[name] = counts.get(name, 0) + value
    ill = [outcome.environment for outcome in outcomes if outcome.environment]
    return Outcome(
        worker="all",
        users=sum(outcome.users for outcome in outcomes),
        finished_users=sum(outcome.finished_users for outcome in outcomes),
        started=sum(outcome.started for outcome in outcomes),
        completed=sum(outcome.completed for outcome in outcomes),
        failed=sum(outcome.failed for outcome in outcomes),
        stopped=sum(outcome.stopped for outcome in outcomes),
        failures=tuple(line for outcome in outcomes for line in outcome.failures)[:MAX_FAILURES_TOLD],
        samples=samples,
        moments=moments,
        counts=counts,
        checks=_merged(outcomes),
        notes=tuple(dict.fromkeys(note for outcome in outcomes for note in outcome.notes)),
        histories=tuple(path for outcome in outcomes for path in outcome.histories),
        environment=ill[0] if ill else None,
    )


def _merged(outcomes: Iterable[Outcome]) -> tuple[Check, ...]:
    """One check for each rule: the worst verdict, the detail of each worker, the witness of the first failure."""
    by_id: dict[str, list[tuple[str, Check]]] = {}
    for outcome in outcomes:
        for check in outcome.checks:
            by_id.setdefault(check.id, []).append((outcome.worker, check))
    found = []
    for id, said in by_id.items():
        verdict = worst(check.verdict for _, check in said)
        decisive = next(check for _, check in said if check.verdict is verdict)
        detail = "; ".join(f"worker {worker}: {check.detail}" for worker, check in said)
        found.append(Check(id, decisive.title, verdict, detail, decisive.remedy, decisive.group, decisive.witness))
    return tuple(found)
