"""The ten success criteria of the migration guide: pure functions over evidence.

A criterion passes when everything that it needs passed, fails when anything that it needs failed, and is unknown in
every other case: missing evidence is never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from toolkit.report.record import Check, Verdict, worst
from toolkit.report.record import Evidence as Fact
from toolkit.signoff.evidence import COMPARISON, Evidence, Item

# Criterion 9: at most one in a thousand operations during the migration may fail, and too few operations prove nothing.
ERROR_LIMIT = 0.001
LEAST_OPERATIONS = 200
# Criterion 10: what a user notices. First event and reaction are compared with the legacy transport by the rule of
# `toolkit load compare`, and no request may have stalled for longer than this during the migration.
STALL_LIMIT_MS = 2000.0
REHEARSE_AGAIN = "Run `toolkit rehearse` again with this version: what is saved is no evidence any more."
# The rehearsal judges these in their short form, on whatever machine it runs, so they do not make its own verdict.
NOT_COUNTED_BY_THE_REHEARSAL = frozenset({"criterion-7"})


@dataclass(frozen=True)
class Criterion:
    """`title` is the guide's wording; `judge` returns the verdict with the facts that decided."""

    id: str
    title: str
    remedy: str
    judge: Callable[[Evidence], Check]


def judge_all(evidence: Evidence) -> tuple[Check, ...]:
    """The ten, in the guide's order."""
    return tuple(_judge(criterion, evidence) for criterion in CRITERIA)


def _judge(criterion: Criterion, evidence: Evidence) -> Check:
    found = criterion.judge(evidence)
    stale = found.verdict is Verdict.UNKNOWN and evidence.objections
    remedy = criterion.remedy if not stale or criterion.id in NOT_COUNTED_BY_THE_REHEARSAL else REHEARSE_AGAIN
    return replace(
        found, id=criterion.id, title=criterion.title, remedy="" if found.verdict is Verdict.PASS else remedy
    )


def _of_facts(verdict: Verdict, facts: Iterable[Fact]) -> Check:
    evidence = tuple(facts)
    return Check("", "", verdict, "; ".join(one.fact for one in evidence), evidence=evidence)


def _needs(*ids: str, also: tuple[str, ...] = ()) -> Callable[[Evidence], Check]:
    """All of `ids` must be present and pass; `also` must pass where it is present."""

    def judge(evidence: Evidence) -> Check:
        return _of_items(evidence, (*ids, *(name for name in also if name in evidence.items)))

    return judge


def _of_items(evidence: Evidence, ids: Sequence[str]) -> Check:
    missing = [name for name in ids if name not in evidence.items]
    present = {name: evidence.items[name] for name in ids if name in evidence.items}
    verdict = worst([item.verdict for item in present.values()] + [Verdict.UNKNOWN] * len(missing))
    if verdict is Verdict.PASS:
        return _of_facts(verdict, (_fact(f"{name}: {item.detail or 'good'}", item) for name, item in present.items()))
    bad = {name: item for name, item in present.items() if item.verdict is not Verdict.PASS}
    facts = [_fact(f"{name} is {item.verdict}: {item.detail}", item) for name, item in bad.items()]
    return _of_facts(verdict, (*facts, *(Fact(f"no evidence of {name}") for name in missing)))


def _fact(text: str, item: Item) -> Fact:
    """The fact with its files: the report, then the files it was judged from, which the report names relative to its
    folder."""
    return Fact(text, (item.source, *(str(PurePath(item.source).parent / file) for file in item.files)))


def _with_figures(
    ids: Sequence[str], names: Sequence[str], rule: Callable[[list[float]], tuple[Verdict, str]]
) -> Callable[[Evidence], Check]:
    """Judges the items first, then a rule over figures that must all be present."""

    def judge(evidence: Evidence) -> Check:
        items = _of_items(evidence, ids) if ids else _of_facts(Verdict.PASS, ())
        missing = [name for name in names if name not in evidence.figures]
        if missing:
            ruled = Verdict.UNKNOWN, f"not measured: {', '.join(missing)}"
        else:
            ruled = rule([evidence.figures[name] for name in names])
        return _of_facts(worst((items.verdict, ruled[0])), (Fact(ruled[1], evidence.reports), *items.evidence))

    return judge


def _error_rate(figures: list[float]) -> tuple[Verdict, str]:
    operations, failed = figures[0] + figures[2], figures[1] + figures[3]
    if operations < LEAST_OPERATIONS:
        return Verdict.UNKNOWN, f"only {operations:.0f} operations were made; at least {LEAST_OPERATIONS} are needed"
    share = failed / operations
    words = (
        f"{failed:.0f} of {operations:.0f} operations failed ({share:.3%}; limit {ERROR_LIMIT:.1%}): "
        f"{figures[1]:.0f} of {figures[0]:.0f} around the migration, {figures[3]:.0f} of {figures[2]:.0f} on Realtime"
    )
    return (Verdict.PASS if share <= ERROR_LIMIT else Verdict.FAIL), words


def _experience(figures: list[float]) -> tuple[Verdict, str]:
    asked, answered, stall = figures
    words = (
        f"{answered:.0f} of {asked:.0f} prompts answered; worst request during the migration {stall:.0f} ms "
        f"(limit {STALL_LIMIT_MS:.0f} ms)"
    )
    if asked < 1:
        return Verdict.UNKNOWN, words
    good = answered == asked and stall <= STALL_LIMIT_MS
    return (Verdict.PASS if good else Verdict.FAIL), words


CRITERIA: tuple[Criterion, ...] = (
    Criterion(
        "criterion-1",
        "All database migrations applied successfully",
        "Read the failed statement in the phase's checks; `toolkit migrate status` shows where the database stands.",
        _needs("migrate.apply", "migrate.verify", "again.apply", "again.verify"),
    ),
    Criterion(
        "criterion-2",
        "New HTTP endpoints are functional",
        "Ask the endpoint that is named for its OpenAPI description at /docs and read the API's log.",
        _needs("realtime.endpoints"),
    ),
    Criterion(
        "criterion-3",
        "Realtime events are received correctly",
        "Open the scenario's history: it names the first event that was lost, doubled or out of order.",
        _needs("realtime.events", "scenario.1", "scenario.4"),
    ),
    Criterion(
        "criterion-4",
        "Background tasks execute without errors",
        "Look at background_tasks.error_message of the failed tasks, and at the workers' logs.",
        _needs("realtime.tasks"),
    ),
    Criterion(
        "criterion-5",
        "End-to-end article generation works",
        "Open the history of the scenario that failed.",
        _needs("scenario.1", "scenario.3", "scenario.4"),
    ),
    Criterion(
        "criterion-6",
        "Process recovery functions correctly",
        "Open the history of the run under faults: it holds the fault, what was missed and what came back.",
        _needs("scenario.2", "faults.2", "faults.4", also=("faults.1", "faults.3")),
    ),
    Criterion(
        "criterion-7",
        "Performance meets or exceeds WebSocket version",
        "Its checks say why; `toolkit load compare websocket realtime` measures it with the users you expect.",
        _needs(COMPARISON),
    ),
    Criterion(
        "criterion-8",
        "No data loss during transition",
        "The witness names table, row and column, or the write that is missing.",
        _needs(
            "migrate.rows",
            "migrate.writes",
            "migrate.inflight",
            "rollback.catalog",
            "rollback.rows",
            "rollback.later-rows",
        ),
    ),
    Criterion(
        "criterion-9",
        "Error rates remain within acceptable limits",
        "The phase's witness lists the first failed operations with their answers.",
        _with_figures(
            (),
            (
                "migrate: operations",
                "migrate: failed operations",
                "realtime: operations",
                "realtime: failed operations",
            ),
            _error_rate,
        ),
    ),
    Criterion(
        "criterion-10",
        "User experience is maintained or improved",
        "Compare first event and reaction of both transports; see the stalls of the migration in the timeline.",
        _with_figures(
            ("scenario.1", "load.compare.first-event", "load.compare.reaction"),
            (
                "realtime: prompts put",
                "realtime: prompts answered",
                "migrate: worst request",
            ),
            _experience,
        ),
    ),
)
