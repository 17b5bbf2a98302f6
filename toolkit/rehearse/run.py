"""The rehearsal: every phase in its order, whatever the verdicts of the others; one report; nothing is left running."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from toolkit.errors import EnvironmentError_, ExitCode, ToolkitError
from toolkit.migrate.folder.files import read_folder
from toolkit.rehearse.order import PHASES, Phase
from toolkit.rehearse.report import keep_logs, make_report, save
from toolkit.rehearse.stage.chosen import choose
from toolkit.rehearse.stage.diary import Clock, Findings, Options, PhaseResult
from toolkit.rehearse.stage.progress import Progress
from toolkit.rehearse.stage.scenario_runs import read_all
from toolkit.rehearse.stage.stage import Stage
from toolkit.report.record import Report, Verdict
from toolkit.resources import migrations_dir
from toolkit.targets.data_dir import DataDir
from toolkit.targets.embedded import EmbeddedTarget

STOPPED = "stopped from outside"


async def rehearse(options: Options, progress: Progress, phases: tuple[Phase, ...] = PHASES) -> tuple[Report, ExitCode]:
    """Run every phase and save the report in `options.run_dir`.

    The exit code is that of the report, but ENVIRONMENT when nothing failed and a phase could not do its work for
    reasons outside the migration. Raises ToolkitError when the embedded system itself cannot be had, and lets a
    cancellation through after everything has ended and what was found is saved.
    """
    started_at = datetime.now(UTC)
    chosen = choose(read_folder(options.migrations), read_folder(migrations_dir()))
    read_all()
    data = DataDir(options.data_dir)
    _refuse_busy(data)
    if data.path.exists():
        data.delete()
    _make(data.path, "--data")
    _make(options.run_dir, "--reports-dir")
    stage: Stage | None = None
    try:
        progress.say("starting Postgres")
        async with EmbeddedTarget(options.data_dir, schema="bare", throwaway=True) as embedded:
            stage = Stage(options, chosen, embedded, progress, Clock())
            try:
                await _run_phases(stage, phases)
            finally:
                if stage.traffic is not None:
                    await stage.traffic.aclose()
    finally:
        progress.close()
        keep_logs(data.logs, options.run_dir)
        if stage is not None:
            report = make_report(stage, started_at)
            save(report, options.run_dir)
        elif not any(options.run_dir.iterdir()):
            options.run_dir.rmdir()
        if not options.keep and data.path.exists():
            data.delete()
    return report, exit_code(report, stage.results)


def exit_code(report: Report, results: list[PhaseResult]) -> ExitCode:
    """FAIL before ENVIRONMENT before UNKNOWN: the machine is blamed only when the migration did not fail."""
    if report.verdict is not Verdict.FAIL and any(result.environment for result in results):
        return ExitCode.ENVIRONMENT
    return report.exit_code


async def _run_phases(stage: Stage, phases: tuple[Phase, ...]) -> None:
    try:
        await _run_in_order(stage, phases)
    except asyncio.CancelledError:
        known = {result.id for result in stage.results}
        now = stage.clock.now()
        stage.results += [
            PhaseResult(phase.id, phase.title, "not_run", now, now, error=STOPPED)
            for phase in phases
            if phase.id not in known
        ]
        raise


async def _run_in_order(stage: Stage, phases: tuple[Phase, ...]) -> None:
    for number, phase in enumerate(phases, 1):
        done = {result.id for result in stage.results if result.outcome == "done"}
        missing = [need for need in phase.needs if need not in done]
        if missing:
            result = PhaseResult(
                phase.id,
                phase.title,
                "not_run",
                stage.clock.now(),
                stage.clock.now(),
                error=f"it needs what the phase `{missing[0]}` would have left",
            )
        else:
            stage.progress.phase(number, len(phases), phase.title)
            result = await _run_phase(stage, phase)
        stage.results.append(result)
        stage.progress.ended(result)


async def _run_phase(stage: Stage, phase: Phase) -> PhaseResult:
    found = Findings(phase.title, phase.id)
    began = stage.clock.now()

    def result(error: str = "", environment: bool = False) -> PhaseResult:
        return PhaseResult(
            phase.id,
            phase.title,
            "aborted" if error else "done",
            began,
            stage.clock.now(),
            tuple(found.checks),
            tuple(found.measurements),
            tuple(found.tables),
            tuple(found.links),
            error,
            environment,
        )

    try:
        await phase.run(stage, found)
    except asyncio.CancelledError:
        stage.results.append(result(STOPPED))
        raise
    except ToolkitError as error:
        # Nothing about the migration can have failed before there was a legacy system.
        return result(f"{error.what} → {error.remedy}", isinstance(error, EnvironmentError_) and phase.id == "legacy")
    except Exception as error:  # noqa: BLE001 - the next phases are still worth running
        return result(f"{type(error).__name__}: {error}")
    return result()


def _make(folder: Path, option: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentError_(
            f"{folder} cannot be made: {error.strerror or error}.", f"Choose another folder with {option}."
        ) from error


def _refuse_busy(data: DataDir) -> None:
    """Raises EnvironmentError_ when a process uses the folder, since it is about to be emptied."""
    if data.path.exists():
        with data:
            pass
