"""`toolkit monitor`: the guide's monitoring queries and key metrics, once or again and again."""

from __future__ import annotations

import asyncio
import itertools
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import click
import orjson

from toolkit.checks.absent import Absent
from toolkit.commands._options import TargetChoice, target_options
from toolkit.commands._output import shown
from toolkit.commands._run import run_async
from toolkit.commands.doctor import may_probe
from toolkit.errors import ExitCode
from toolkit.monitor import report as reports
from toolkit.monitor.figures import Sample
from toolkit.monitor.sample import GROUPS, take
from toolkit.monitor.thresholds import Thresholds
from toolkit.monitor.watch import OLDEST_S, RealtimeWatch, realtime_sample, watching
from toolkit.report import as_json, as_terminal
from toolkit.report.record import Report, Verdict, worst
from toolkit.targets.target import Target
from toolkit.tokens import parse_duration

_DEFAULT = Thresholds()
_CLEAR = "\x1b[H\x1b[2J"


@click.command("monitor")
@target_options
@click.option("--once", is_flag=True, help="One sample, then end with its verdict.")
@click.option("--count", type=click.IntRange(1), default=None, help="End after so many samples.")
@click.option("--interval", default="10s", show_default=True, help="Between samples: 10s, 5m.")
@click.option("--window", default="1h", show_default=True, help="How far back events, tasks and steps are counted.")
@click.option("--only", "only", type=click.Choice(GROUPS), multiple=True, help="Only this group; may be repeated.")
@click.option(
    "--probe/--no-probe",
    "probe",
    default=None,
    help="Write events to a process of its own, which is removed afterwards, and time their delivery. "
    "Default: yes on the embedded target; elsewhere when you say so or give --yes.",
)
@click.option("--probe-events", type=click.IntRange(1, 1000), default=20, show_default=True, help="Events a sample.")
@click.option(
    "--connections",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="Fresh Realtime connections tried in each sample.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0.5, 120),
    default=10.0,
    show_default=True,
    help="Seconds within which Realtime has to answer and to deliver.",
)
@click.option(
    "--max-pending-age",
    default=_DEFAULT.pending_age_s,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds a due task may wait.",
)
@click.option(
    "--max-failed-rate",
    default=_DEFAULT.failed_rate,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the tasks of the window that may have failed.",
)
@click.option(
    "--max-delivery-p95",
    default=_DEFAULT.delivery_p95_ms,
    show_default=True,
    type=click.FloatRange(0),
    help="Milliseconds from write to callback.",
)
@click.option(
    "--max-slot-retained",
    default=_DEFAULT.slot_retained_mib,
    show_default=True,
    type=click.FloatRange(0),
    help="MiB of WAL that an inactive slot may keep.",
)
@click.option(
    "--max-connection-failures",
    default=_DEFAULT.connection_failures,
    show_default=True,
    type=click.IntRange(0),
    help="Of the connections tried in a sample.",
)
@click.option(
    "--max-dead-rows",
    default=_DEFAULT.dead_rows_rate,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of a table's rows that may be dead.",
)
@click.option("--json", "as_data", is_flag=True, help="The report as JSON; one line a sample when repeated.")
def command(choice: TargetChoice, once: bool, count: int | None, interval: str, window: str, **options: Any) -> None:
    """Show processes, events, queue, Realtime and step times, and judge them by thresholds.

    Exit code: the worst sample's (0 within, 1 beyond, 3 not all is known). What cannot be had is unknown, never 0.
    """
    if once and count is not None:
        raise click.UsageError("--once is --count 1; give one of them.")
    last = 1 if once else count
    pause, window_s = parse_duration(interval), parse_duration(window)
    limits = Thresholds(
        pending_age_s=options["max_pending_age"],
        failed_rate=options["max_failed_rate"],
        delivery_p95_ms=options["max_delivery_p95"],
        slot_retained_mib=options["max_slot_retained"],
        connection_failures=options["max_connection_failures"],
        dead_rows_rate=options["max_dead_rows"],
    )
    seen: dict[Verdict, ExitCode] = {}

    async def work() -> None:
        async with choice.open() as target:
            monitor = _Monitor(target, may_probe(target, choice.yes, options["probe"]), window_s, limits, options)
            try:
                for number in itertools.count(1):
                    report = await monitor.sample()
                    seen[report.verdict] = report.exit_code
                    _show(report, once=once, as_data=options["as_data"])
                    if number == last:
                        return
                    await asyncio.sleep(pause)
            finally:
                await monitor.aclose()

    run_async(work())
    raise click.exceptions.Exit(int(seen[worst(seen)]))


class _Monitor:
    """Keeps what lasts from sample to sample: the last one, and the subscription."""

    def __init__(
        self, target: Target, may_write: bool, window_s: float, limits: Thresholds, options: dict[str, Any]
    ) -> None:
        self._target = target
        self._may_write = may_write
        self._window_s = window_s
        self._limits = limits
        self._options = options
        self._groups = frozenset(options["only"] or GROUPS)
        self._before: Sample | None = None
        self._stack = AsyncExitStack()
        self._watch: RealtimeWatch | Absent | None = None

    async def sample(self) -> Report:
        started = datetime.now(UTC)
        realtime = None
        if "realtime" in self._groups:
            await self._keep_watch()
            assert self._watch is not None
            realtime = await realtime_sample(
                self._target,
                self._watch,
                connections=self._options["connections"],
                events=self._options["probe_events"],
                deadline_s=self._options["deadline"],
            )
        now = await take(self._target, window_s=self._window_s, groups=self._groups, realtime=realtime)
        report = reports.of(now, self._before, self._limits, target=self._target.describe(), started_at=started)
        self._before = now
        return report

    async def _keep_watch(self) -> None:
        """A watch that never came to be is tried again; one that grows old is replaced."""
        if isinstance(self._watch, RealtimeWatch) and self._watch.age_s < OLDEST_S:
            return
        await self.aclose()
        opened = watching(self._target, may_write=self._may_write, deadline_s=self._options["deadline"])
        self._watch = await self._stack.enter_async_context(opened)

    async def aclose(self) -> None:
        await self._stack.aclose()
        self._watch = None


def _show(report: Report, *, once: bool, as_data: bool) -> None:
    if as_data:
        text = as_json.render(report)
        click.echo(text if once else orjson.dumps(orjson.loads(text)).decode() + "\n", nl=False)
    elif once or as_terminal.is_live(sys.stdout):
        click.echo(("" if once else _CLEAR) + shown(report), nl=False)
    else:
        click.echo(reports.line(report))
    sys.stdout.flush()
