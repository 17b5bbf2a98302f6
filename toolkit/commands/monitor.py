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
from toolkit.commands._click import LIMITS, Duration, json_option, option, toolkit_command
from toolkit.commands._options import EVERYTHING, TargetChoice, deadline_option, probe_option, target_options
from toolkit.commands._output import shown
from toolkit.commands._run import run_async
from toolkit.commands.doctor import may_probe
from toolkit.errors import ExitCode
from toolkit.monitor import report as reports
from toolkit.monitor.figures import Sample
from toolkit.monitor.sample import GROUPS, take
from toolkit.monitor.screen import on_one_screen
from toolkit.monitor.thresholds import Thresholds
from toolkit.monitor.watch import OLDEST_S, RealtimeWatch, realtime_sample, watching
from toolkit.report import as_json, as_terminal
from toolkit.report.record import Report, Verdict, worst
from toolkit.targets.target import Target

_DEFAULT = Thresholds()
_CLEAR = "\x1b[H\x1b[2J"


@toolkit_command("monitor", examples=("toolkit monitor --once", "toolkit monitor --interval 5m --json"))
@option("--once", is_flag=True, help="Take one sample and end with its verdict.")
@option("--count", type=click.IntRange(1), default=None, metavar="N", help="End after this many samples.")
@option("--interval", type=Duration(0.1), default=10.0, show_default=True, help="Wait this long between samples.")
@option(
    "--window",
    type=Duration(1),
    default=3600.0,
    show_default=True,
    help="Count events, tasks and steps of this last stretch of time.",
)
@option(
    "--only",
    "only",
    type=click.Choice(GROUPS),
    multiple=True,
    metavar="GROUP",
    help="Take only this group (database, realtime or application); may be given repeatedly.",
)
@probe_option
@option(
    "--probe-events",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    metavar="N",
    help="Write this many events in each sample.",
)
@option(
    "--connections",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    metavar="N",
    help="Try this many fresh Realtime connections in each sample.",
)
@deadline_option
@json_option
@option(
    "--max-pending-age",
    type=Duration(0),
    default=_DEFAULT.pending_age_s,
    show_default=True,
    group=LIMITS,
    help="Fail when a due task waits for longer.",
)
@option(
    "--max-failed-rate",
    type=click.FloatRange(0, 1),
    default=_DEFAULT.failed_rate,
    show_default=True,
    group=LIMITS,
    metavar="SHARE",
    help="Fail when a larger share (0 to 1) of the window's tasks failed.",
)
@option(
    "--max-delivery-p95",
    type=Duration(0),
    default=_DEFAULT.delivery_p95_ms / 1000,
    show_default=True,
    group=LIMITS,
    help="Fail when the p95 from write to callback is longer.",
)
@option(
    "--max-slot-retained",
    type=click.FloatRange(0),
    default=_DEFAULT.slot_retained_mib,
    show_default=True,
    group=LIMITS,
    metavar="MIB",
    help="Fail when an inactive slot keeps more MiB of WAL.",
)
@option(
    "--max-connection-failures",
    type=click.IntRange(0),
    default=_DEFAULT.connection_failures,
    show_default=True,
    group=LIMITS,
    metavar="N",
    help="Fail when more of a sample's connections fail.",
)
@option(
    "--max-dead-rows",
    type=click.FloatRange(0, 1),
    default=_DEFAULT.dead_rows_rate,
    show_default=True,
    group=LIMITS,
    metavar="SHARE",
    help="Fail when a larger share (0 to 1) of a table's rows is dead.",
)
@target_options(*EVERYTHING, changes=True)
def command(
    choice: TargetChoice, once: bool, count: int | None, interval: float, window: float, **options: Any
) -> None:
    """Show processes, events, queue, Realtime and step times, and judge them by limits.

    Exit code: the worst sample's (0 within, 1 beyond, 3 not all is known). What cannot be had is unknown, never 0.
    """
    if once and count is not None:
        raise click.UsageError("--once is --count 1; give one of them.")
    last = 1 if once else count
    limits = Thresholds(
        pending_age_s=options["max_pending_age"],
        failed_rate=options["max_failed_rate"],
        delivery_p95_ms=options["max_delivery_p95"] * 1000,
        slot_retained_mib=options["max_slot_retained"],
        connection_failures=options["max_connection_failures"],
        dead_rows_rate=options["max_dead_rows"],
    )
    seen: dict[Verdict, ExitCode] = {}

    async def work() -> None:
        async with choice.open() as target:
            monitor = _Monitor(target, may_probe(target, choice.yes, options["probe"]), window, limits, options)
            try:
                for number in itertools.count(1):
                    report = await monitor.sample()
                    seen[report.verdict] = report.exit_code
                    _show(report, once=once, as_data=options["as_json"])
                    if number == last:
                        return
                    await asyncio.sleep(interval)
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
        click.echo(("" if once else _CLEAR) + on_one_screen(report, shown), nl=False)
    else:
        click.echo(reports.line(report))
    sys.stdout.flush()
