"""Makes a report of a sample: thresholds as checks, figures as measurements and tables, unknown figures by name.
Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from toolkit.checks.absent import Absent
from toolkit.checks.facts import Fact
from toolkit.monitor.figures import Application, Database, Realtime, Rows, Sample, StepOutcome, StepTimes, TableSize
from toolkit.monitor.thresholds import Thresholds, judge, percentile
from toolkit.report.record import Check, Distribution, Measurement, Report, Table, Verdict, tool_version, worst

T = TypeVar("T")
_MIB = 1024**2
DATABASE, REALTIME, APPLICATION = "Database", "Realtime", "Application"
# Sequential scans that read fewer rows each do not point to a missing index.
_FEW_ROWS_A_SCAN = 1000
_WIDEN = "Widen it: --window 1d."


@dataclass
class _Page:
    measurements: list[Measurement] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)
    unknown: list[tuple[str, str, str, str]] = field(default_factory=list)

    def figure(self, group: str, name: str, value: float | None, unit: str) -> None:
        if value is not None:
            self.measurements.append(Measurement(name, round(value, 4), unit, group))

    def table(self, group: str, title: str, columns: tuple[str, ...], rows: Rows) -> None:
        if rows:
            self.tables.append(Table(title, columns, rows, group))

    def show(self, group: str, name: str, fact: Fact[T], show: Callable[[T], None]) -> None:
        """Show `fact` when it is known; else list its name among the unknown."""
        if isinstance(fact, Absent):
            self.unknown.append((group, name, fact.reason, fact.remedy))
        else:
            show(fact)

    def missing(self, group: str, name: str, reason: str, remedy: str) -> None:
        self.unknown.append((group, name, reason, remedy))


def of(sample: Sample, before: Sample | None, limits: Thresholds, *, target: str, started_at: datetime) -> Report:
    """The report of one sample; with the sample `before`, growth is measured between the two."""
    page = _Page()
    if sample.database is not None:
        _database(page, sample, sample.database, before)
    if sample.realtime is not None:
        _realtime(page, sample.realtime)
    if sample.application is not None:
        _application(page, sample.application)
    checks = judge(sample, limits)
    verdict = worst(check.verdict for check in checks)
    if page.unknown:
        page.table("", "Unknown", ("group", "figure", "because", "remedy"), tuple(page.unknown))
    return Report(
        name="monitor",
        title=_title(checks, verdict),
        verdict=verdict,
        started_at=started_at,
        finished_at=datetime.now(started_at.tzinfo),
        target=target,
        tool_version=tool_version(),
        checks=checks,
        measurements=tuple(page.measurements),
        tables=tuple(page.tables),
        distributions=tuple(page.distributions),
        notes=(f"Rates and times are over the last {sample.window_s:g} s.",),
    )


def line(report: Report) -> str:
    """One plain line: when, the verdict, the figures the thresholds are about, and what is beyond them."""
    values = {m.name: m for m in report.measurements}
    shown = []
    for short, name in (
        ("pending", "tasks pending"),
        ("running", "tasks running"),
        ("oldest_due", "oldest due task"),
        ("events", "events appended"),
        ("delivery_p95", "delivery p95"),
        ("connected", "connection success rate"),
        ("reconnects", "reconnections"),
        ("failed_tasks", "task failure rate"),
    ):
        found = values.get(name)
        if found is None:
            shown.append(f"{short}=?")
        elif found.unit == "ratio":
            shown.append(f"{short}={found.value:.1%}")
        else:
            shown.append(f"{short}={found.value:g}{found.unit}")
    beyond = [f"{c.id}: {c.detail}" for c in report.checks if c.verdict is Verdict.FAIL]
    stamp = report.finished_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{stamp} {report.verdict} {' '.join(shown)}{' | ' + '; '.join(beyond) if beyond else ''}"


def _title(checks: tuple[Check, ...], verdict: Verdict) -> str:
    if verdict is Verdict.FAIL:
        return "Beyond its thresholds: " + ", ".join(c.id for c in checks if c.verdict is Verdict.FAIL)
    if verdict is Verdict.UNKNOWN:
        return "Not all is known: " + (", ".join(c.id for c in checks if c.verdict is Verdict.UNKNOWN) or "nothing")
    return "Within its thresholds"


def _database(page: _Page, sample: Sample, seen: Database, before: Sample | None) -> None:
    page.show(
        DATABASE,
        "active processes",
        seen.active,
        lambda found: page.table(
            DATABASE, "Active processes", ("status", "processes"), tuple((k, str(v)) for k, v in found.items())
        ),
    )
    page.show(
        DATABASE,
        "recent events",
        seen.recent_events,
        lambda rows: page.table(DATABASE, "Recent events", ("type", "events", "processes", "last"), rows),
    )
    page.show(
        DATABASE,
        "task queue",
        seen.queue_health,
        lambda rows: page.table(DATABASE, "Task queue", ("status", "priority", "tasks", "mean age", "oldest"), rows),
    )
    page.show(
        DATABASE,
        "failed processes",
        seen.failed,
        lambda rows: page.table(DATABASE, "Failed processes", ("process", "step", "message", "at (UTC)"), rows),
    )

    def queue(found: object) -> None:
        assert not isinstance(seen.queue, Absent)
        page.figure(DATABASE, "tasks pending", seen.queue.pending, "")
        page.figure(DATABASE, "tasks running", seen.queue.running, "")
        # No task is due, so the wait is 0.
        page.figure(DATABASE, "oldest due task", seen.queue.oldest_due_s or 0.0, "s")

    page.show(DATABASE, "queue length", seen.queue, queue)

    def growth(found: object) -> None:
        assert not isinstance(seen.growth, Absent)
        hours = sample.window_s / 3600
        page.figure(DATABASE, "events appended", seen.growth.events, "")
        page.figure(DATABASE, "event log growth", seen.growth.events / hours, "events/h")
        page.figure(DATABASE, "event log growth, rows alone", seen.growth.bytes / hours / _MIB, "MiB/h")

    page.show(DATABASE, "event log growth", seen.growth, growth)
    page.show(DATABASE, "table sizes", seen.tables, lambda tables: _tables(page, tables, sample, before))
    page.show(
        DATABASE,
        "index use",
        seen.indexes,
        lambda indexes: page.table(
            DATABASE,
            "Indexes",
            ("table", "index", "scans", "size"),
            tuple((i.on_table, i.name, str(i.scans), f"{i.bytes / 1024:.0f} KiB") for i in indexes),
        ),
    )
    page.show(
        DATABASE,
        "replication slots",
        seen.slots,
        lambda slots: page.table(
            DATABASE,
            "Replication slots",
            ("slot", "active", "not confirmed", "WAL kept", "WAL status"),
            tuple(
                (
                    s.slot.name,
                    "yes" if s.slot.active else "no",
                    "unknown" if s.lag_bytes is None else f"{s.lag_bytes / 1024:.0f} KiB",
                    f"{s.slot.retained_bytes / 1024:.0f} KiB",
                    s.slot.wal_status,
                )
                for s in slots
            ),
        ),
    )


def _tables(page: _Page, tables: tuple[TableSize, ...], sample: Sample, before: Sample | None) -> None:
    rows = []
    for table in tables:
        scans = table.seq_scans + table.index_scans
        share = f"{table.index_scans / scans:.1%}" if scans else "no scan yet"
        a_scan = f"{table.seq_rows / table.seq_scans:.0f}" if table.seq_scans else ""
        rows.append(
            (
                table.name,
                f"{table.bytes / _MIB:.2f} MiB",
                str(table.live),
                str(table.dead),
                share,
                a_scan,
                f"{table.vacuumed_at:%Y-%m-%d %H:%M}" if table.vacuumed_at else "never",
            )
        )
        page.figure(DATABASE, f"size of {table.name}", table.bytes / _MIB, "MiB")
        if scans:
            page.figure(DATABASE, f"index scans of {table.name}", table.index_scans / scans, "ratio")
        if table.seq_scans and table.seq_rows / table.seq_scans > _FEW_ROWS_A_SCAN:
            page.figure(
                DATABASE, f"rows read by each sequential scan of {table.name}", table.seq_rows / table.seq_scans, "rows"
            )
    page.table(
        DATABASE,
        "Tables",
        ("table", "size", "live", "dead", "index scans", "rows a seq. scan", "vacuumed"),
        tuple(rows),
    )
    earlier = before.database.tables if before is not None and before.database is not None else None
    if before is None or earlier is None or isinstance(earlier, Absent):
        page.missing(
            DATABASE, "growth between samples", "this is the first sample", "Leave out --once, or use --count 2."
        )
        return
    seconds = sample.at_s - before.at_s
    known = {table.name: table for table in earlier}
    for table in tables:
        if table.name in known:
            was = known[table.name]
            page.figure(DATABASE, f"growth of {table.name}", (table.bytes - was.bytes) / seconds * 3600 / _MIB, "MiB/h")
            page.figure(DATABASE, f"rows added to {table.name}", (table.inserted - was.inserted) / seconds, "rows/s")


def _realtime(page: _Page, seen: Realtime) -> None:
    if isinstance(seen.connections, Absent):
        page.missing(REALTIME, "connection success rate", seen.connections.reason, seen.connections.remedy)
    else:
        found = seen.connections
        page.figure(REALTIME, "connection success rate", found.live / found.tried if found.tried else None, "ratio")
        page.figure(REALTIME, "connections tried", found.tried, "")
        if found.live_after_ms:
            page.figure(REALTIME, "live after, p50", percentile(found.live_after_ms, 0.5), "ms")
    if isinstance(seen.delivered, Absent):
        page.missing(REALTIME, "event delivery latency", seen.delivered.reason, seen.delivered.remedy)
    else:
        times = seen.delivered.latencies_ms
        page.figure(REALTIME, "events written", seen.delivered.written, "")
        page.figure(REALTIME, "events delivered", len(times), "")
        if times:
            for name, share in (("p50", 0.5), ("p95", 0.95)):
                page.figure(REALTIME, f"delivery {name}", percentile(times, share), "ms")
            page.distributions.append(Distribution("Delivery, write to callback", "ms", times, REALTIME))
    if isinstance(seen.reconnections, Absent):
        page.missing(REALTIME, "reconnections", seen.reconnections.reason, seen.reconnections.remedy)
    else:
        page.figure(REALTIME, "reconnections", seen.reconnections.count, "")
        page.figure(REALTIME, "watched for", seen.reconnections.watched_s, "s")
        if seen.reconnections.watched_s >= 60:
            page.figure(
                REALTIME,
                "reconnection frequency",
                seen.reconnections.count / seen.reconnections.watched_s * 3600,
                "1/h",
            )
        else:
            page.missing(
                REALTIME,
                "reconnection frequency",
                "it was watched for less than a minute",
                "Leave out --once: the subscription is then kept from sample to sample.",
            )
    page.show(
        REALTIME,
        "Realtime's health",
        seen.health,
        lambda answer: page.table(REALTIME, "Health", ("status", "body"), ((str(answer.status), answer.body),)),
    )
    page.show(
        REALTIME,
        "the server's metrics",
        seen.server,
        lambda metrics: page.table(
            REALTIME, "Server metrics", ("metric", "value"), tuple((k, f"{v:g}") for k, v in sorted(metrics.items()))
        ),
    )


def _application(page: _Page, seen: Application) -> None:
    if isinstance(seen.tasks, Absent):
        page.missing(APPLICATION, "task execution times", seen.tasks.reason, seen.tasks.remedy)
    else:
        ended, bad = sum(t.completed + t.failed for t in seen.tasks), sum(t.failed for t in seen.tasks)
        if ended:
            page.figure(APPLICATION, "task failure rate", bad / ended, "ratio")
        else:
            page.missing(APPLICATION, "task execution times", "no task ended within the window", _WIDEN)
        page.table(
            APPLICATION,
            "Task execution times",
            ("type", "completed", "failed", "p50", "p95"),
            tuple(
                (t.task_type, str(t.completed), str(t.failed), _seconds(t.p50_s), _seconds(t.p95_s)) for t in seen.tasks
            ),
        )
        for task in seen.tasks:
            page.figure(APPLICATION, f"{task.task_type} p50", task.p50_s, "s")
            page.figure(APPLICATION, f"{task.task_type} p95", task.p95_s, "s")
    page.show(APPLICATION, "step durations", seen.durations, lambda steps: _durations(page, steps))
    page.show(APPLICATION, "step completion and error rates", seen.steps, lambda steps: _steps(page, steps))


def _durations(page: _Page, steps: tuple[StepTimes, ...]) -> None:
    rows = tuple((s.step, str(s.processes), _seconds(s.p50_s), _seconds(s.p95_s)) for s in steps)
    page.table(APPLICATION, "Step durations", ("step", "processes", "p50", "p95"), rows)
    for step in steps:
        page.figure(APPLICATION, f"{step.step} p50", step.p50_s, "s")
        page.figure(APPLICATION, f"{step.step} p95", step.p95_s, "s")
    if not steps:
        page.missing(APPLICATION, "step durations", "no step ended within the window", _WIDEN)


def _steps(page: _Page, steps: tuple[StepOutcome, ...]) -> None:
    rows = tuple(
        (
            s.step,
            str(s.began),
            str(s.completed),
            str(s.failed),
            str(s.running),
            _share(s.completion_rate),
            _share(s.error_rate),
        )
        for s in steps
    )
    columns = ("step", "began", "completed", "failed", "at it", "completion rate", "error rate")
    page.table(APPLICATION, "Steps", columns, rows)
    for step in steps:
        page.figure(APPLICATION, f"completion rate of {step.step}", step.completion_rate, "ratio")
        page.figure(APPLICATION, f"error rate of {step.step}", step.error_rate, "ratio")
    if not steps:
        page.missing(APPLICATION, "step completion and error rates", "no step began within the window", _WIDEN)


def _seconds(value: float | None) -> str:
    return "none completed" if value is None else f"{value:.3f} s"


def _share(value: float | None) -> str:
    return "none decided" if value is None else f"{value:.1%}"
