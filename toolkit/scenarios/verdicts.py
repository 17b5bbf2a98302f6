"""Makes a report of a scenario and its history. Pure, so that a stored run can be judged again at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from toolkit.report.pictures import percentile
from toolkit.report.record import Check, Link, Measurement, Report, Verdict, tool_version, worst
from toolkit.scenarios import pictures
from toolkit.scenarios.judges import BY_ID, describe, judge, sometimes
from toolkit.scenarios.judges.recovery import recovery_seconds
from toolkit.scenarios.model.scenario_file import Ruling, Scenario
from toolkit.scenarios.recorded.facts import DATABASE, Facts, gather
from toolkit.scenarios.recorded.history import Record


def report(scenario: Scenario, records: Sequence[Record], *, target: str, links: Sequence[Link] = ()) -> Report:
    """The report: every expectation and every judge's check; the verdict is the worst of them."""
    facts = gather(records)
    transport = str(facts.scenario.get("transport", "realtime"))
    group = f"{scenario.scenario} ({transport})"
    checks = _expectations(facts, group)
    if facts.stopped is None or facts.processes:
        checks += _rulings(scenario, facts, transport, group)
        checks += [sometimes(facts, guard, group=group) for guard in scenario.sometimes]
        checks += [*_faults(scenario, facts, group), *_limits(scenario, facts, transport, group)]
    if facts.stopped is not None:
        verdict, title = Verdict.UNKNOWN, "The run came to its end"
        checks.append(Check("completed", title, verdict, facts.stopped, facts.stop_remedy, group))
    begun = datetime.fromisoformat(records[0].wall) if records else datetime.now(UTC)
    ended = datetime.fromisoformat(records[-1].wall) if records else begun
    samples = pictures.latencies(facts)
    store = facts.store.removeprefix("the ")
    return Report(
        name="scenarios",
        title=scenario.title,
        verdict=worst(check.verdict for check in checks),
        started_at=begun,
        finished_at=ended,
        target=target,
        tool_version=tool_version(),
        checks=tuple(checks),
        measurements=tuple(_measurements(facts, samples, group)),
        timelines=(pictures.timeline(facts, title=f"{group}: {store}, live, backfill", group=group),),
        distributions=(pictures.distribution(facts, group=group),) if samples else (),
        links=tuple(links),
        notes=tuple(_notes(scenario, facts, len(records), group)),
    )


def _expectations(facts: Facts, group: str) -> list[Check]:
    found = []
    for record in facts.expectations:
        value = record.value or {}
        verdict = Verdict(value["verdict"])
        witness = (describe(facts, record),) if verdict is Verdict.FAIL else ()
        found.append(
            Check(
                str(value["id"]),
                str(value["title"]),
                verdict,
                str(value.get("detail", "")),
                str(value.get("remedy", "")),
                group,
                witness,
            )
        )
    return found


def _rulings(scenario: Scenario, facts: Facts, transport: str, group: str) -> list[Check]:
    found = []
    for name, rulings in scenario.check.items():
        for ruling in rulings:
            rule = BY_ID[ruling.judge]
            if transport not in rule.transports or (rule.needs_log and not facts.event_log):
                continue
            check = judge(facts, rule, facts.named(name), group=group)
            found.append(_named(check, ruling, name))
    return found


def _notes(scenario: Scenario, facts: Facts, records: int, group: str) -> list[str]:
    found = [f"{group}: seed {facts.scenario.get('seed')}, {records} records in the history"]
    asked = {ruling.judge for rulings in scenario.check.values() for ruling in rulings}
    if facts.store != DATABASE:
        found.append(f"{group}: events were read from {facts.store}, the database itself was not (give DATABASE_URL)")
    unlogged = [rule.id for rule in BY_ID.values() if rule.id in asked and rule.needs_log]
    if not facts.event_log and unlogged:
        found.append(
            f"{group}: the database has no event log (before the migration), so not judged: {', '.join(unlogged)}"
        )
    return found


def _named(check: Check, ruling: Ruling, name: str) -> Check:
    title = check.title
    if ruling.point:
        # A point may have the same words as the judge's title, which then stands once.
        title = ruling.point if ruling.point.endswith(check.title) else f"{ruling.point}: {check.title}"
    return replace(check, id=f"{check.id}:{name}", title=f"{title} ({name})")


def _faults(scenario: Scenario, facts: Facts, group: str) -> list[Check]:
    """A check for each planned fault: it must have begun, hit something and healed, or the run proved nothing."""
    found = []
    by_number = {fault.number: fault for fault in facts.faults}
    for number, planned in enumerate(scenario.faults):
        fault = by_number.get(number)
        title = f"The fault took effect: {planned.op} {planned.target} after {planned.after}"
        if fault is None:
            verdict, detail = Verdict.UNKNOWN, "it never began: its anchor was not reached, or the target refuses it"
        elif not fault.confirmed:
            verdict, detail = Verdict.UNKNOWN, "it began, and nothing shows that it hit anything"
        elif fault.healed is None:
            verdict, detail = Verdict.UNKNOWN, "it was never healed"
        else:
            seconds = facts.seconds(fault.healed) - facts.seconds(fault.begun)
            verdict, detail = Verdict.PASS, f"lasted {seconds:.1f} s"
        remedy = "Move the fault to an event that the process certainly reaches while it is being watched."
        found.append(Check(f"fault-{number}", title, verdict, detail, remedy, group))
    return found


def _limits(scenario: Scenario, facts: Facts, transport: str, group: str) -> list[Check]:
    found = []
    for name, bound in scenario.limits.items():
        if name == "recovery":
            continue  # the judge `recovers_in_time` has this bound
        if name == "duration":
            value: float | None = facts.seconds(facts.records[-1]) if facts.records else None
        elif transport != "realtime":
            continue
        else:
            samples = sorted(pictures.latencies(facts))
            value = percentile(samples, 0.5 if name == "delivery_p50" else 0.95) / 1000 if samples else None
        title = f"{name.replace('_', ' ')} is at most {bound:g} s"
        if value is None:
            found.append(Check(name, title, Verdict.UNKNOWN, "nothing was measured", "Run it again.", group))
        else:
            verdict = Verdict.PASS if value <= bound else Verdict.FAIL
            remedy = "Look at the distribution and at what else the machine did."
            found.append(Check(name, title, verdict, f"{value:.3f} s", remedy, group))
    return found


def _measurements(facts: Facts, samples: tuple[float, ...], group: str) -> list[Measurement]:
    found = [
        Measurement(f"events in {facts.store}", float(sum(len(p.events) for p in facts.processes)), "events", group),
        Measurement("delivered", float(sum(len(p.delivered) for p in facts.processes)), "events", group),
        Measurement(
            "recovered by backfill",
            float(sum(1 for p in facts.processes for record in p.delivered if record.via == "backfill")),
            "events",
            group,
        ),
    ]
    ordered = sorted(samples)
    if ordered:
        found += [
            Measurement(f"delivery {name}", round(percentile(ordered, share), 3), "ms", group)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        ]
    recoveries = [
        seconds
        for process in facts.processes
        for fault in facts.faults
        if (seconds := recovery_seconds(process, fault)) is not None
    ]
    if recoveries:
        found.append(Measurement("slowest recovery after a heal", round(max(recoveries), 3), "s", group))
    return found
