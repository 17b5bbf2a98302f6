"""What is attached to Locust's events: the messages between workers and master, and the report at the end.

A worker process makes its Worker when the test starts. When every user has finished, or the run ends otherwise, the
master asks the workers to settle: each judges its own history and sends the outcome. Only then may they quit.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust import events as _events
from locust.html import get_html_report
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from toolkit.errors import ExitCode
from toolkit.load import report as reports
from toolkit.load.outcome import Outcome, from_plain
from toolkit.load.settings import LoadSettings
from toolkit.load.worker import SETTLE_DEADLINE_S, USER_FINISHED, Worker
from toolkit.report.files import PAGE, new_folder, write
from toolkit.report.record import Report, Verdict
from toolkit.targets.settings import load_settings
from toolkit.targets.target import Target

# Locust's own types leave much open.
events: Any = _events
Environment = Any

SETTLE = "load_settle"
OUTCOME = "load_outcome"
PROGRESS_S = 2.0
# Added to ramp and deadlines: the time in which a worker notices that its users are done.
MARGIN_S = 60.0


@dataclass
class _Test:
    """One test in the master (or in the only process)."""

    folder: Path
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    users: int = 0
    workers: set[str] = field(default_factory=set)
    finished: set[tuple[str, int]] = field(default_factory=set)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    told: Event = field(default_factory=Event)
    settled: bool = False
    report: Report | None = None


class LocustHooks:
    """Listeners for Locust's events, in a master, a worker or a single process. Raises UsageError for wrong
    settings."""

    def __init__(self, settings: LoadSettings) -> None:
        self.settings = settings
        self.target = Target.from_settings(load_settings())
        if settings.embedded:
            # For reports only: the caller starts and stops this target.
            self.target = replace(self.target, kind="embedded")
        self._environment: Environment | None = None
        self._worker: Worker | None = None
        self._test: _Test | None = None

    def listen(self) -> None:
        """Add the listeners to Locust's events."""
        events.init.add_listener(self._init)
        events.test_start.add_listener(self._test_start)
        events.spawning_complete.add_listener(self._spawning_complete)
        events.test_stopping.add_listener(self._test_stopping)
        events.test_stop.add_listener(self._test_stop)
        events.quitting.add_listener(self._quitting)

    # -- Locust's events ----------------------------------------------------------------------

    def _init(self, environment: Environment, runner: Any, **_: Any) -> None:
        self._environment = environment
        if isinstance(runner, WorkerRunner):
            runner.register_message(SETTLE, self._asked_to_settle, concurrent=True)
        else:
            runner.register_message(USER_FINISHED, self._user_finished)
            runner.register_message(OUTCOME, self._outcome)
            gevent.spawn(self._progress)
        # A worker of `--processes` is a child of the master, which tells it when to end.
        if self.settings.parent_pid is not None and os.getppid() == self.settings.parent_pid:
            gevent.spawn(self._end_with_parent, self.settings.parent_pid)

    def _test_start(self, environment: Environment, **_: Any) -> None:
        runner = environment.runner
        if not isinstance(runner, WorkerRunner):
            folder = self.settings.run_dir or new_folder(self.settings.reports_dir, f"load-{self.settings.transport}")
            folder.mkdir(parents=True, exist_ok=True)
            # Options that Locust does not know itself travel to the workers with the order to start.
            environment.parsed_options.load_run_dir = str(folder)
            workers = set(runner.clients) if isinstance(runner, MasterRunner) else {"local"}
            self._test = _Test(folder, users=runner.target_user_count, workers=workers)
            self._backstop(environment)
        if not isinstance(runner, MasterRunner):
            folder = Path(environment.parsed_options.load_run_dir)
            folder.mkdir(parents=True, exist_ok=True)
            index = getattr(runner, "worker_index", 0)
            self._worker = Worker(environment, self.settings, self.target, folder, str(max(index, 0)))
            gevent.spawn(self._worker.open)

    def _spawning_complete(self, **_: Any) -> None:
        self._maybe_over()

    def _test_stopping(self, environment: Environment, **_: Any) -> None:
        self._settle(environment)

    def _test_stop(self, environment: Environment, **_: Any) -> None:
        if self._test is not None and self._test.report is None and not isinstance(environment.runner, WorkerRunner):
            self._write(environment)

    def _quitting(self, environment: Environment, **_: Any) -> None:
        """Set the exit code, as the last of all listeners. Without a report nothing was shown, which is not a pass."""
        if isinstance(environment.runner, WorkerRunner):
            environment.process_exit_code = 0  # the master alone sets the run's exit code
            return
        if self._test is not None and self._test.report is None:
            self._settle(environment)
            self._write(environment)
        if self._test is None or self._test.report is None:
            _say("No test was run, so nothing is known of the target.")
            environment.process_exit_code = int(ExitCode.UNKNOWN)
            return
        ill = any(outcome.environment for outcome in self._test.outcomes.values())
        code = self._test.report.exit_code
        if ill and code is not ExitCode.FAIL:
            code = ExitCode.ENVIRONMENT
        environment.process_exit_code = int(code)

    # -- between workers and master -----------------------------------------------------------

    def _user_finished(self, environment: Environment, msg: Any, **_: Any) -> None:
        if self._test is not None:
            self._test.finished.add((msg.node_id, int(msg.data["user"])))
            self._maybe_over()

    def _maybe_over(self) -> None:
        environment, test = self._environment, self._test
        if environment is None or environment.runner is None or test is None or test.settled:
            return
        test.users = max(test.users, environment.runner.target_user_count)
        if test.users and len(test.finished) >= test.users:
            self._end(environment)

    def _end(self, environment: Environment) -> None:
        # Spawned, since this handler must return before the outcomes can be received.
        runner = environment.runner
        gevent.spawn(runner.quit if environment.web_ui is None else runner.stop)

    def _settle(self, environment: Environment) -> None:
        """Ask every worker for its outcome; returns when all have sent it, or after the deadline."""
        runner, test = environment.runner, self._test
        if isinstance(runner, WorkerRunner):
            if self._worker is not None:
                self._worker.settle()  # the master did not ask, so nobody takes the outcome
            return
        if test is None or test.settled:
            return
        test.settled = True
        test.users = max(test.users, runner.target_user_count)
        if isinstance(runner, LocalRunner):
            if self._worker is not None:
                test.outcomes["local"] = self._worker.settle()
            return
        test.workers |= set(runner.clients)
        for worker in list(runner.clients):
            runner.send_message(SETTLE, None, worker)
        with gevent.Timeout(SETTLE_DEADLINE_S, False):
            while not test.workers <= test.outcomes.keys() and any(w in runner.clients for w in _missing(test)):
                test.told.clear()
                test.told.wait(1)

    def _asked_to_settle(self, environment: Environment, msg: Any, **_: Any) -> None:
        if self._worker is None:
            outcome = Outcome(worker=str(getattr(environment.runner, "worker_index", 0)))
        else:
            outcome = self._worker.settle()
        environment.runner.send_message(OUTCOME, outcome.plain())

    def _outcome(self, environment: Environment, msg: Any, **_: Any) -> None:
        if self._test is not None:
            self._test.outcomes[msg.node_id] = from_plain(msg.data)
            self._test.told.set()

    # -- the report ---------------------------------------------------------------------------

    def _write(self, environment: Environment) -> None:
        test = self._test
        assert test is not None
        planned = reports.Planned(
            self.settings.transport, test.users, self.settings.generations, len(test.workers), self.target.describe()
        )
        outcomes = [test.outcomes[name] for name in sorted(test.outcomes)]
        test.report = reports.report(planned, outcomes, self.settings.thresholds, began=test.began)
        write(test.report, test.folder)
        if getattr(environment.parsed_options, "html_file", None) is None and environment.web_ui is None:
            _write_locusts_page(environment, test.folder / reports.LOCUST_PAGE)
        bad = [check for check in test.report.checks if check.verdict is not Verdict.PASS]
        _say(f"{test.report.title}: {test.report.verdict.upper()}; report: {test.folder / PAGE}")
        for check in bad:
            _say(f"  {check.verdict}: {check.title}: {check.detail}")

    # -- watching -----------------------------------------------------------------------------

    def _progress(self) -> None:
        said = ""
        while True:
            gevent.sleep(PROGRESS_S)
            environment, test = self._environment, self._test
            if environment is None or environment.runner is None or test is None or test.settled:
                continue
            stats, kind = environment.stats, self.settings.transport.upper()
            line = (
                f"{self.settings.transport}: {environment.runner.user_count} users, "
                f"{stats.get('start', kind).num_requests} started, "
                f"{stats.get('generation', kind).num_requests} completed, {stats.total.num_failures} failed"
            )
            if line != said:
                said = line
                _say(line)

    def _backstop(self, environment: Environment) -> None:
        """End a run with a given number of generations after its time limit, should a worker never report that it is
        done."""
        options = environment.parsed_options
        if not self.settings.generations or environment.web_ui is not None:
            return
        ramp_s = (options.num_users or 1) / (options.spawn_rate or 1)
        limit_s = ramp_s + self.settings.generations * self.settings.generation_deadline_s + MARGIN_S

        def end() -> None:
            if self._test is not None and not self._test.settled:
                _say(f"Not over within {limit_s:g} s; it is ended.")
                self._end(environment)

        gevent.spawn_later(limit_s, end)

    def _end_with_parent(self, parent: int) -> None:
        """End this process when its parent was killed: nobody else would stop it, and nobody reads its report."""
        while os.getppid() == parent:
            gevent.sleep(1)
        if self._environment is not None and self._environment.runner is not None:
            self._environment.runner.quit()


def _missing(test: _Test) -> set[str]:
    return test.workers - test.outcomes.keys()


def _write_locusts_page(environment: Environment, path: Path) -> None:
    page: Any = get_html_report
    path.write_text(page(environment, show_download_link=False))


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
