"""The order of the phases, what becomes of those that depend on a broken one, and the exit code."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from toolkit.errors import EnvironmentError_, ExitCode
from toolkit.rehearse.order import PHASES, Phase
from toolkit.rehearse.report import make_report
from toolkit.rehearse.run import _run_phases, exit_code
from toolkit.rehearse.stage.diary import Clock, Findings, Options, PhaseResult
from toolkit.rehearse.stage.progress import PlainLines, summary
from toolkit.rehearse.stage.stage import Stage
from toolkit.report.record import Verdict

START = datetime(2026, 11, 23, tzinfo=UTC)


def stage(tmp_path: Path) -> Stage:
    options = Options(tmp_path / "data", tmp_path / "run")
    return Stage(options, cast(Any, None), cast(Any, None), PlainLines(io.StringIO()), Clock())


async def fine(_: Stage, found: Findings) -> None:
    found.check("seen", "Something was seen", True, "it was")


async def broken(_: Stage, found: Findings) -> None:
    found.check("seen", "Something was seen", True)
    raise EnvironmentError_("The server is gone.", "Read its log.")


async def undecided(_: Stage, found: Findings) -> None:
    found.check("seen", "Something was seen", Verdict.UNKNOWN, "nobody looked")


async def defective(_: Stage, found: Findings) -> None:
    raise ValueError("not foreseen")


def test_every_phase_comes_after_what_it_needs():
    for number, phase in enumerate(PHASES):
        assert set(phase.needs) <= {earlier.id for earlier in PHASES[:number]}
    assert len({phase.id for phase in PHASES}) == len(PHASES)


async def test_a_broken_phase_keeps_what_it_found_and_hides_no_other(tmp_path):
    here = stage(tmp_path)
    await _run_phases(
        here,
        (
            Phase("a", "A", fine),
            Phase("b", "B", broken, ("a",)),
            Phase("c", "C", fine, ("b",)),
            Phase("d", "D", defective, ("a",)),
            Phase("e", "E", fine, ("a",)),
        ),
    )
    assert [(result.id, result.outcome) for result in here.results] == [
        ("a", "done"),
        ("b", "aborted"),
        ("c", "not_run"),
        ("d", "aborted"),
        ("e", "done"),
    ]
    report = make_report(here, START)
    verdicts = {check.id: check.verdict for check in report.checks}
    assert verdicts == {
        "a.seen": Verdict.PASS,
        "b.seen": Verdict.PASS,
        "b.phase": Verdict.FAIL,
        "c.phase": Verdict.UNKNOWN,
        "d.phase": Verdict.FAIL,
        "e.seen": Verdict.PASS,
    }
    details = {check.id: check.detail for check in report.checks}
    assert "Read its log" in details["b.phase"]
    assert "`b`" in details["c.phase"]
    assert "ValueError: not foreseen" in details["d.phase"]
    assert exit_code(report, here.results) is ExitCode.FAIL


@pytest.mark.parametrize(("run", "code"), [(broken, ExitCode.ENVIRONMENT), (undecided, ExitCode.UNKNOWN)])
async def test_exit_codes_without_a_failure(tmp_path, run, code):
    here = stage(tmp_path)
    await _run_phases(here, (Phase("legacy", "L", run),))
    report = make_report(here, START)
    assert report.verdict is Verdict.UNKNOWN
    assert exit_code(report, here.results) is code


async def test_what_was_not_reached_is_named_when_a_run_is_stopped(tmp_path):
    here = stage(tmp_path)
    begun = asyncio.Event()

    async def endless(_: Stage, found: Findings) -> None:
        found.check("seen", "Something was seen", True)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(_run_phases(here, (Phase("a", "A", endless), Phase("b", "B", fine))))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(r.id, r.outcome, len(r.checks)) for r in here.results] == [("a", "aborted", 1), ("b", "not_run", 0)]


def test_a_failure_is_worse_than_the_machine(tmp_path):
    here = stage(tmp_path)
    failed = Findings("M", "migrate")
    failed.check("rows", "Rows", False)
    here.results = [
        PhaseResult("legacy", "L", "aborted", environment=True, error="no disk"),
        PhaseResult("migrate", "M", "done", checks=tuple(failed.checks)),
    ]
    assert exit_code(make_report(here, START), here.results) is ExitCode.FAIL


def test_criteria_without_evidence_are_unknown_in_the_report_itself(tmp_path):
    report = make_report(stage(tmp_path), START)
    assert {check.verdict for check in report.criteria} == {Verdict.UNKNOWN}
    assert report.verdict is Verdict.UNKNOWN
    assert len(report.criteria) == 10


def test_findings_keep_few_lines_of_many():
    found = Findings("G", "p")
    assert not found.check("x", "X", False, witness=[str(n) for n in range(50)])
    assert found.checks[0].witness[-1] == "… and 38 more"
    assert found.verdict_of("x") is Verdict.FAIL
    assert found.verdict_of("y") is Verdict.UNKNOWN


def test_summaries_say_how_it_ended():
    assert "not run: it needs" in summary(PhaseResult("a", "A", "not_run", error="it needs b"))
    assert "cut short after 2.0 s" in summary(PhaseResult("a", "A", "aborted", 1.0, 3.0, error="gone"))
