"""A load run from outside: starts the target, and Locust on it, or compares two transports on it in rounds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.accounts import read_users, way_of
from toolkit.errors import EnvironmentError_, ExitCode, UsageError
from toolkit.load import report as reports
from toolkit.load.compare import compare, report_of
from toolkit.load.figures import Thresholds
from toolkit.load.processor import cpu_seconds
from toolkit.load.rounds import RoundsPlan, Say, run_rounds, sides_of
from toolkit.load.settings import Client, Transport
from toolkit.load.worker_loop import must_offer, reach
from toolkit.postgres.cluster import free_port
from toolkit.postgres.throwaway import throwaway_folder
from toolkit.redact import redact
from toolkit.report import as_json
from toolkit.report.files import PAGE, REPORT_FILE, new_folder, write
from toolkit.report.record import Measurement, Report
from toolkit.server_process import server_environment
from toolkit.targets.embedded import EmbeddedTarget
from toolkit.targets.target import Target

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
STOP_DEADLINE_S = 60.0
START_MARGIN_S = 240.0
TAIL_LINES = 30
# Latency of a fast language model: with steps that take no time, only the transports' CPU time would be compared.
STEP_LATENCY_MS = 1000.0
_STEP = "A step of the writer took {:g} ms."


@dataclass(frozen=True)
class Plan:
    """What Locust is to run. `ramp_s` 0: all users start at once. `step_latency_ms`: how long a step of
    the embedded target takes."""

    users: int = 10
    transport: Transport = "realtime"
    client: Client = "light"
    ramp_s: float = 0.0
    generations: int = 1
    processes: int = 1
    generation_deadline_s: float = 120.0
    step_latency_ms: float = STEP_LATENCY_MS
    thresholds: Thresholds = field(default_factory=Thresholds)
    locustfile: Path = LOCUSTFILE

    @property
    def spawn_rate(self) -> float:
        """How many users start per second."""
        return self.users / self.ramp_s if self.ramp_s else float(self.users)

    @property
    def limit_s(self) -> float:
        """Seconds after which one transport's run must have ended by itself."""
        return self.ramp_s + self.generations * self.generation_deadline_s + START_MARGIN_S


@dataclass(frozen=True)
class LoadResult:
    """`folder` holds report.json, report.html and junit.xml, and each transport's histories and Locust's page."""

    report: Report
    folder: Path
    exit_code: ExitCode


async def run_load(
    plan: Plan, target: Target | None, *, reports_dir: Path = Path("reports"), say: Say = lambda _: None
) -> LoadResult:
    """Run the plan on `target` or, when it is None, on an embedded target.

    Raises UsageError when the target lacks a setting, EnvironmentError_ when it does not answer, does not offer the
    transport, or Locust does not run.
    """
    async with _system(plan.transport, server_settings(plan.users, plan.step_latency_ms), target, say) as system:
        await _ready(system.target, (plan.transport,))
        _must_have_users(plan, system.target)
        folder = new_folder(reports_dir, f"load-{plan.transport}-{plan.users}")
        before = system.cpu()
        report, code = await _locust(plan, system.target, folder, say)
        report = _with_cpu(report, plan.transport, before, system.cpu())
    if target is None:
        report = replace(report, notes=(*report.notes, _STEP.format(plan.step_latency_ms)))
    write(report, folder)
    if code is not ExitCode.ENVIRONMENT or report.exit_code is ExitCode.FAIL:
        code = report.exit_code
    return LoadResult(report, folder, code)


async def run_compare(
    plan: RoundsPlan,
    target: Target | None,
    *,
    step_latency_ms: float = STEP_LATENCY_MS,
    reports_dir: Path = Path("reports"),
    say: Say = lambda _: None,
) -> LoadResult:
    """Compare the plan's two transports in interleaved rounds, on `target` or on an embedded target.

    Raises UsageError and EnvironmentError_ as `run_load` does.
    """
    offered = plan.transports[0] if plan.transports[0] == plan.transports[1] else "both"
    async with _system(offered, server_settings(plan.users, step_latency_ms), target, say) as system:
        await _ready(system.target, plan.transports)
        if way_of(system.target) == "file":
            raise UsageError(
                "Users of SUPABASE_USERS_FILE cannot be on two transports at once.",
                "Leave it out and give SUPABASE_SERVICE_ROLE_KEY: then users are made for the run.",
            )
        folder = new_folder(reports_dir, f"load-compare-{plan.users}")
        sides = sides_of(plan, system.target, folder)
        try:
            await run_rounds(plan, system.target, folder, sides=sides, cpu=system.cpu, say=say)
        except asyncio.CancelledError:
            if all(side.report is not None for side in sides):
                note = f"Stopped from outside after {len(sides[0].costs)} of {plan.rounds} rounds."
                write(report_of(sides, compare(sides), [note]), folder)
                say(f"{note} Report: {folder / PAGE}")
            raise
    notes = [f"seed {plan.seed}; load of the machine (1, 5, 15 min): " + ", ".join(f"{n:.1f}" for n in os.getloadavg())]
    notes += [_STEP.format(step_latency_ms)] if target is None else []
    report = report_of(sides, compare(sides), notes)
    write(report, folder)
    return LoadResult(report, folder, report.exit_code)


async def _ready(target: Target, transports: Sequence[Transport]) -> None:
    """Raises UsageError when the target lacks a setting, EnvironmentError_ when it does not answer or does not offer
    one of the transports."""
    needs = ["API_URL"]
    needs += ["SUPABASE_URL", "SUPABASE_ANON_KEY"] if "realtime" in transports else []
    target.require(*needs)
    await reach(target)
    for transport in dict.fromkeys(transports):
        await must_offer(target, transport)


def _must_have_users(plan: Plan, target: Target) -> None:
    """Raises UsageError when the target gives too few users to act as: one more than work is needed, as the
    stranger."""
    if way_of(target) != "file":
        return
    assert target.users_file is not None
    listed, needed = len(read_users(Path(target.users_file))), plan.users + 1
    other = "or leave it out and give SUPABASE_SERVICE_ROLE_KEY: then users are made for the run."
    if plan.processes > 1:
        raise UsageError(
            "Users of SUPABASE_USERS_FILE cannot be shared out between several Locust workers.",
            f"Use --processes 1, {other}",
        )
    if listed < needed:
        raise UsageError(
            f"{target.users_file} lists {listed} users, and {needed} are needed: one of them must hear nothing.",
            f"Add users to it, {other}",
        )


# -- the target -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _System:
    target: Target
    embedded: EmbeddedTarget | None = None

    def cpu(self) -> dict[str, float]:
        """CPU seconds used so far; None for processes that are not ours."""
        if self.embedded is None:
            return {}
        postmaster = (self.embedded.postgres.data_dir / "postmaster.pid").read_text().split(maxsplit=1)[0]
        found = {
            "CPU of the servers": cpu_seconds([server.pid for server in self.embedded.servers.values()]),
            "CPU of the database": cpu_seconds([int(postmaster)], with_children=True),
        }
        return {name: value for name, value in found.items() if value is not None}


@asynccontextmanager
async def _system(
    transport: str, settings: Mapping[str, str], target: Target | None, say: Say
) -> AsyncIterator[_System]:
    if target is not None:
        yield _System(target)
        return
    with throwaway_folder("toolkit-load-") as folder:
        say("starting an embedded system: API with Realtime, and a worker of its own")
        async with EmbeddedTarget(folder, throwaway=True) as embedded:
            for name, roles in (("api", ("api", "realtime")), ("worker", ("worker",))):
                await embedded.start_server(name, roles=roles, transport=transport, env=settings)
            yield _System(embedded.target, embedded)


def server_settings(users: int, step_latency_ms: float) -> dict[str, str]:
    """Settings of the embedded servers under which their own limits do not distort a run of this size.

    A step mostly waits, so a worker takes as many tasks at a time as there are users.
    """
    return {
        "WRITER_STEP_LATENCY_MS": f"{step_latency_ms:g}",
        "WORKER_CONCURRENCY": str(min(256, max(4, users))),
        "REALTIME_MAX_USERS": str(max(200, 2 * users)),
        "REALTIME_MAX_JOINS_PER_SECOND": str(max(100, 4 * users)),
        "REALTIME_MAX_ADDRESS_SHARE": "1",  # every user comes from this machine
    }


def _with_cpu(report: Report, group: str, before: Mapping[str, float], after: Mapping[str, float]) -> Report:
    used = tuple(
        Measurement(name, round(after[name] - before[name], 2), "s", group) for name in after if name in before
    )
    return replace(report, measurements=(*report.measurements, *used))


# -- Locust -----------------------------------------------------------------------------------


def command_line(plan: Plan, place: Path) -> list[str]:
    """The command that starts Locust, without secrets."""
    argv = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(plan.locustfile),
        "--headless",
        "--users",
        str(plan.users),
        "--spawn-rate",
        f"{plan.spawn_rate:g}",
        "--html",
        str(place / reports.LOCUST_PAGE),
        "--only-summary",
        "--json-file",
        str(place / "locust-stats.json"),
        "--logfile",
        str(place / "locust.log"),
        "--loglevel",
        "INFO",
    ]
    if plan.processes == 1:
        return argv
    # Locust's own port (5557) is one for the whole machine, and the workers of two runs would mix. With a port of its
    # own, on loopback, each run has its own master.
    port = str(free_port())
    master = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]
    return [*argv, "--processes", str(plan.processes), *master]


def environment(plan: Plan, target: Target, place: Path) -> dict[str, str]:
    """The environment of Locust's processes, secrets included."""
    settings = {
        "LOAD_TRANSPORT": plan.transport,
        "LOAD_CLIENT": plan.client,
        "LOAD_GENERATIONS": str(plan.generations),
        "LOAD_GENERATION_DEADLINE_S": f"{plan.generation_deadline_s:g}",
        "LOAD_RUN_DIR": str(place.resolve()),
        "LOAD_EMBEDDED": "1" if target.kind == "embedded" else "0",
        "LOAD_PARENT_PID": str(os.getpid()),
        "LOAD_MAX_FAILURES": str(plan.thresholds.max_failures),
    }
    limits = plan.thresholds
    for name in ("p95_start", "p95_first_event", "p95_answer", "p95_delivery", "p95_generation"):
        settings[f"LOAD_{name.upper()}"] = f"{getattr(limits, name) or 0:g}"
    secret = {
        "DATABASE_URL": target.database_url,
        "API_URL": target.api_url,
        "SUPABASE_URL": target.supabase_url,
        "SUPABASE_ANON_KEY": target.anon_key,
        "SUPABASE_JWT_SECRET": target.jwt_secret,
        "SUPABASE_SERVICE_ROLE_KEY": target.service_role_key,
        "SUPABASE_USERS_FILE": target.users_file and str(Path(target.users_file).resolve()),
    }
    kept = {name: value for name, value in server_environment().items() if not name.startswith(("LOAD_", "LOCUST_"))}
    return kept | settings | {name: value for name, value in secret.items() if value}


async def _locust(plan: Plan, target: Target, place: Path, say: Say) -> tuple[Report, ExitCode]:
    say(f"{plan.transport}: {plan.users} users, {plan.generations} generation(s) each: {place}")
    tail: list[str] = []
    with (place / "locust-summary.txt").open("wb") as summary:
        process = await asyncio.create_subprocess_exec(
            *command_line(plan, place),
            env=environment(plan, target, place),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=summary,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(plan.limit_s):
                await _relay(process, tail, target, say)
                await process.wait()
        except TimeoutError:
            tail.append(f"it did not end within {plan.limit_s:g} s")
        finally:
            await _stop(process)
    saved = place / REPORT_FILE
    if not saved.is_file():
        raise EnvironmentError_(
            f"Locust ended with code {process.returncode} and without a report:\n" + "\n".join(tail[-TAIL_LINES:]),
            f"Read {place / 'locust.log'}.",
        )
    report = as_json.load(saved.read_bytes(), source=str(saved))
    if process.returncode == ExitCode.ENVIRONMENT:
        return report, ExitCode.ENVIRONMENT
    return report, report.exit_code


async def _relay(process: asyncio.subprocess.Process, tail: list[str], target: Target, say: Say) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        text = target.redact(redact(line.decode(errors="replace").rstrip()))
        if text:
            tail.append(text)
            say(text)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End Locust and its workers: first by SIGTERM, so that they judge what they saw, then by SIGKILL."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_DEADLINE_S):
                    await process.wait()
        finally:
            _kill_group(process.pid)
        await process.wait()
    _kill_group(process.pid)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
