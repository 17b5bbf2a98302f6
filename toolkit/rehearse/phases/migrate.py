"""Phase 2: plan, apply under traffic, verify; what was there is unchanged, what ran finishes, stalls are measured."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from uuid import UUID

from toolkit.errors import RefusalError
from toolkit.migrate.run.api import migrate_plan, migrate_up
from toolkit.migrate.run.api import snapshot as take_catalog
from toolkit.migrate.run.plan import Up
from toolkit.migrate.run.run_model import OnProgress, Progress, RunResult
from toolkit.migrate.run.run_model import Options as MigrateOptions
from toolkit.migrate.verify.run import migrate_verify, verify_alone
from toolkit.postgres.connection import connected
from toolkit.probes.chosen import probes_of
from toolkit.rehearse.phases.proofs import compare_catalog, compare_rows
from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.populate import Population
from toolkit.rehearse.stage.rows import Rows, read_rows
from toolkit.rehearse.stage.stage import APPLIED, Stage
from toolkit.rehearse.traffic.latencies import Sample, during, summary_of
from toolkit.rehearse.traffic.legacy_traffic import LegacyTraffic
from toolkit.rehearse.traffic.user_generation import UserGeneration
from toolkit.rehearse.traffic.writer import stored_values
from toolkit.report.record import Band, Check, Table, Tone, Verdict
from toolkit.signoff.criteria import STALL_LIMIT_MS
from toolkit.sql import rehearsal as sql

IN_FLIGHT_DEADLINE_S = 60.0
FINISH_DEADLINE_S = 120.0
# The check of the legacy verify file that fails on purpose: the population contains what it looks for.
UNUPDATABLE = "LEG-6"
STATE = "public.generated_articles_state"


async def run(stage: Stage, found: Findings) -> None:
    """Migrate under traffic. Leaves the migrated schema, with the legacy server and its traffic still at work on it."""
    traffic = stage.traffic
    assert traffic is not None
    assert stage.population is not None
    await _precheck(stage, found)
    stage.catalog_before = await take_catalog(stage.dsn)

    plan = await migrate_plan(stage.dsn, stage.migrations, Up())
    found.check(
        "plan",
        "There is a plan",
        bool(plan.steps),
        ", ".join(step.script.path.name for step in plan.steps),
        "Look at `toolkit migrate status`.",
    )

    await traffic.until(lambda: bool(traffic.in_flight()), "a process is under way", IN_FLIGHT_DEADLINE_S)
    stage.rows_before = await _rows_at_rest(stage, traffic, stage.population)
    in_flight = traffic.in_flight()

    began = stage.clock.now()
    result = await apply(stage, found)
    ended = stage.clock.now()
    if result.ok:
        await verify_applied(stage, found)
        stage.applied(found)
        stage.catalog_after = await take_catalog(stage.dsn)
    elif not any(step.outcome == "applied" for step in result.steps):
        compare_catalog(
            found,
            "catalog",
            "A migration that fails leaves the catalog as it was",
            stage.catalog_before,
            await take_catalog(stage.dsn),
        )

    for gate in stage.held:
        gate.open.set()
    settled = stage.clock.now() + stage.options.size.settle_s
    await traffic.until(lambda: stage.clock.now() >= settled, "the traffic after the migration", 60)
    await _finished(stage, found, traffic, in_flight)
    await compare_rows(stage, found, "rows", "Every row that existed is unchanged", stage.rows_before)
    await _acknowledged(stage, found, traffic)
    if result.ok:
        await _observed(stage, found, traffic)
    _stalls(stage, found, traffic, (began, ended), result)
    if not result.ok:
        raise RefusalError(
            "The migration is not applied.", "Correct the file that failed; the checks show the statement."
        )


async def _precheck(stage: Stage, found: Findings) -> None:
    """Correct what the legacy schema's verify file finds, as its remedy says, before anything is migrated."""
    stage.say("verifying what is about to be migrated")
    checks = await _verify_legacy(stage)
    bad = [check for check in checks if check.verdict is not Verdict.PASS]
    seen = [f"{check.id}: {check.title}: {check.seen}" for check in bad]
    if any(check.id == UNUPDATABLE for check in bad):
        async with connected(stage.dsn, "toolkit rehearse") as conn:
            await conn.execute(sql.PROGRESS_IN_RANGE, timeout=30)
        checks = await _verify_legacy(stage)
        bad = [check for check in checks if check.verdict is not Verdict.PASS]
    found.check(
        "before",
        "What the migration's rules would refuse is found before it, and put right",
        not bad,
        f"{len(checks)} checks hold; found and put right by its remedy: {'; '.join(seen) or 'nothing'}",
        bad[0].remedy if bad else "",
        [f"{check.id}: {check.title}: {check.seen}" for check in bad],
    )


async def _verify_legacy(stage: Stage) -> tuple[Check, ...]:
    chosen = stage.chosen
    if not chosen.legacy_is_applied:  # the project makes these tables by files of its own
        return await verify_alone(stage.dsn, chosen.legacy_schema)
    to = chosen.legacy_schema.version
    return (await migrate_verify(stage.dsn, chosen.ours, to=to, generic=not chosen.among_others)).checks


async def apply(stage: Stage, found: Findings, label: str = APPLIED) -> RunResult:
    """Apply the pending migrations."""
    result = await migrate_up(stage.dsn, stage.migrations, options=MigrateOptions(), on_progress=teller(stage, label))
    retries = sum(step.attempts - 1 for step in result.steps if step.attempts)
    found.check(
        "apply",
        "Every migration is applied",
        result.ok and bool(result.steps),
        f"{len(result.steps)} files in {sum(step.seconds for step in result.steps):.2f} s, "
        f"{retries} retries for a lock that was not free",
        "Read the failed statement; nothing of a transactional file is left behind.",
        [str(step.failure) for step in result.steps if step.failure],
    )
    for step in result.steps:
        found.measure(f"apply {step.version}", step.seconds, "s")
        found.measure(f"attempts {step.version}", step.attempts, "")
    return result


def teller(stage: Stage, label: str) -> OnProgress:
    """A callback for the migration runner's progress: it tells the viewer, and draws a band for each file and a tick
    for each retry."""
    begun: dict[str, float] = {}
    numbers = itertools.count(1)

    def tell(progress: Progress) -> None:
        at = stage.clock.now()
        if progress.phase == "file":
            begun[progress.label] = at
        elif progress.phase == "retry":
            stage.diary.tick("migration", at, progress.message, "warn")
        elif progress.phase in {"done", "failed"}:
            tone: Tone = "bad" if progress.phase == "failed" else "warn"
            stage.diary.bands.append(Band(begun.get(progress.label, at), at, f"{label} {next(numbers)}", tone))
        if progress.phase != "statement":
            stage.say(progress.message)

    return tell


async def verify_applied(stage: Stage, found: Findings) -> None:
    """Run every verify file and probe."""
    result = await migrate_verify(
        stage.dsn,
        stage.chosen.ours,
        probes=probes_of(stage.chosen.ours),
        generic=not stage.chosen.among_others,
        on_progress=lambda progress: stage.say(progress.message),
    )
    bad = [check for check in result.checks if check.verdict is not Verdict.PASS]
    witness = [f"{check.id}: {check.title}: {check.seen}" for check in bad]
    found.check(
        "verify",
        "What was applied has the shape and the behaviour it should have",
        result.verdict,
        f"{len(result.checks) - len(bad)} of {len(result.checks)} checks hold",
        bad[0].remedy if bad else "",
        witness,
    )
    found.measure("verify checks", len(result.checks), "")


async def _rows_at_rest(stage: Stage, traffic: LegacyTraffic, population: Population) -> Rows:
    """Every row except those of processes under way: these change, and are checked one by one."""
    rest = {str(row["id"]) for row in population.rows["generated_articles_state"]} - set(map(str, population.owned))
    rest -= set(map(str, (*population.paused, *population.abandoned)))  # the next phase resumes them
    rest |= {
        generation.process_id
        for generation in traffic.generations
        if generation.process_id and generation.ended is not None
    }
    async with connected(stage.dsn, "toolkit rehearse") as conn:
        rows = await read_rows(conn)
    busy = {key for key, _ in rows.tables[STATE].rows if key is not None and key not in rest}
    return rows.without({STATE: busy})


async def _finished(stage: Stage, found: Findings, traffic: LegacyTraffic, in_flight: Sequence[UserGeneration]) -> None:
    stage.say(f"waiting for {len(in_flight)} processes that were under way")
    await traffic.until(
        lambda: all(generation.ended is not None for generation in in_flight),
        "the processes under way finished",
        FINISH_DEADLINE_S,
    )
    ids = [UUID(generation.process_id) for generation in in_flight if generation.process_id]
    async with connected(stage.dsn, "toolkit rehearse") as conn:
        stored = {row["id"]: row for row in await conn.fetch(sql.PROCESSES, ids, timeout=30)}
    bad = [str(generation) for generation in in_flight if not generation.good]
    for process in map(str, ids):
        row = stored.get(process)
        if row is None or row["status"] != "completed" or not row["article"] or not row["content"]:
            bad.append(f"process {process} is {dict(row) if row else 'gone'}")
    found.check(
        "inflight",
        "Processes that were under way finish, with their article",
        Verdict.UNKNOWN if not in_flight else not bad,
        f"{len(ids) - len(bad)} of {len(in_flight)} processes that were under way completed, {len(stage.held)} of "
        "them asked before the migration and answered after it, one by a user who had left and come back",
        "Read the legacy server's log around the migration.",
        bad,
    )


async def _acknowledged(stage: Stage, found: Findings, traffic: LegacyTraffic) -> None:
    await traffic.rest()
    async with connected(stage.dsn, "toolkit rehearse") as conn:
        missing = traffic.acknowledged_writes.missing(await stored_values(conn, traffic.owned))
    found.check(
        "writes",
        "Every acknowledged write of another application is stored",
        Verdict.UNKNOWN if not traffic.acknowledged_writes.count else not missing,
        f"{traffic.acknowledged_writes.count} acknowledged writes to {len(traffic.owned)} rows are stored",
        "",
        missing,
    )


async def _observed(stage: Stage, found: Findings, traffic: LegacyTraffic) -> None:
    async with connected(stage.dsn, "toolkit rehearse") as conn:
        events = await conn.fetchrow(sql.EVENTS_OF, list(traffic.owned), timeout=30)
    assert events is not None
    found.check(
        "observed",
        "Writes of an application that knows nothing of events leave events, without gaps",
        bool(events["events"]) and events["gapless"],
        f"{events['events']} events of {events['processes']} processes",
        "Look at trigger_publish_process_event on generated_articles_state.",
    )


def _stalls(
    stage: Stage, found: Findings, traffic: LegacyTraffic, window: tuple[float, float], result: RunResult
) -> None:
    origin = stage.clock.origin
    start, end = origin + window[0], origin + window[1]
    rows, worst = [], {}
    for name, meter in (("worst request", traffic.requests), ("worst write", traffic.writes)):
        waits = meter.waits
        parts = (
            ("before", [sample for sample in waits if sample.end <= start]),
            ("during", during(waits, start, end)),
            ("after", [sample for sample in waits if sample.at >= end]),
        )
        for part, samples in parts:
            seen = summary_of(samples)
            if seen is not None:
                rows.append(
                    (
                        name.removeprefix("worst "),
                        part,
                        str(seen.count),
                        *(f"{value:.1f}" for value in (seen.p50, seen.p95, seen.p99, seen.worst)),
                    )
                )
            if seen is not None and part == "during":
                worst[name] = seen.worst
                found.measure(name, seen.worst, "ms")
                stage.diary.tick(
                    "stalls",
                    stage.clock.of(seen.worst_at),
                    f"{name} {seen.worst:.0f} ms",
                    "bad" if seen.worst > STALL_LIMIT_MS else "warn",
                )
    found.tables.append(
        Table(
            "Times in ms around the migration, with what a wait kept from being sent",
            ("", "", "count", "p50", "p95", "p99", "worst"),
            tuple(rows),
            found.group,
        )
    )
    found.check(
        "stalls",
        "The worst stall is measured and bearable",
        Verdict.UNKNOWN if len(worst) < 2 else all(value <= STALL_LIMIT_MS for value in worst.values()),
        ", ".join(f"{name} {value:.0f} ms" for name, value in worst.items()) + f" (limit {STALL_LIMIT_MS:.0f} ms), "
        f"while {len(result.steps)} files were applied in {window[1] - window[0]:.2f} s",
        "Which statement held its lock longest? Lower --lock-timeout, or split the file.",
    )
    operations = traffic.operations()
    failed = [sample for sample in operations if sample.error]
    found.measure("operations", len(operations), "")
    found.measure("failed operations", len(failed), "")
    found.check(
        "requests",
        "No request, write or generation failed",
        _failures(operations, failed),
        f"{len(traffic.requests.samples)} requests, {len(traffic.writes.samples)} writes, "
        f"{sum(generation.ended is not None for generation in traffic.generations)} generations; {len(failed)} failed",
        "The witness shows when (seconds since the beginning) and what the server said.",
        [f"{stage.clock.of(sample.at):.2f} s: {sample.error}" for sample in failed],
    )


def _failures(operations: Sequence[Sample], failed: Sequence[Sample]) -> Verdict:
    if not operations:
        return Verdict.UNKNOWN
    return Verdict.FAIL if failed else Verdict.PASS
