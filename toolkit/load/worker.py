"""The part of a Locust worker that runs in greenlets: it passes users' work to the event loop, and the outcome back."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from gevent.event import Event

from toolkit.load.bridge import Bridge
from toolkit.load.outcome import Outcome
from toolkit.load.settings import LoadSettings
from toolkit.load.worker_loop import WorkerLoop
from toolkit.targets.target import Target

OPEN_DEADLINE_S = 60.0
SETTLE_DEADLINE_S = 300.0
STUCK_S = 60.0
USER_FINISHED = "load_user_finished"
_log = logging.getLogger(__name__)


class Worker:
    """A worker's side of one test. Made when the test starts, never at import, since `--processes` forks in between."""

    _current: ClassVar[Worker | None] = None

    def __init__(self, environment: Any, settings: LoadSettings, target: Target, folder: Path, worker: str):
        self.settings = settings
        self.stopping = False
        self._environment = environment
        self._opened = Event()
        self._outcome: Outcome | None = None
        self.bridge = Bridge()
        self.loop_side = WorkerLoop(target, settings.transport, folder, worker, measure=self._measure)
        Worker._current = self

    @classmethod
    def current(cls) -> Worker:
        """The worker of the test that is running."""
        assert cls._current is not None, "users run between test_start and test_stop"
        return cls._current

    def open(self) -> None:
        """Reach the target; `generate` waits for that."""
        self.bridge.call(self.loop_side.open, OPEN_DEADLINE_S)
        self._opened.set()

    def generate(self, user: int, number: int, make_stream: Any) -> None:
        """Run one generation of one user to its end. Raises TimeoutError when the target is not ready."""
        if not self._opened.wait(OPEN_DEADLINE_S):
            raise TimeoutError(f"the target was not ready within {OPEN_DEADLINE_S:g} s")
        deadline_s = self.settings.generation_deadline_s
        self.bridge.call(lambda: self.loop_side.generate(user, number, make_stream, deadline_s), deadline_s + STUCK_S)
        if not self.loop_side.able:
            self.stopping = True

    def finished(self, user: int) -> None:
        """Tell the master that this user is done; the run ends when all users are."""
        self.loop_side.finished(user)
        self._environment.runner.send_message(USER_FINISHED, {"user": user})

    def settle(self) -> Outcome:
        """End everything, judge, and return the outcome; a second call returns the same one."""
        if self._outcome is None:
            self.stopping = True
            outcome = self.bridge.call(self.loop_side.settle, SETTLE_DEADLINE_S)
            self.bridge.call(self.loop_side.close, OPEN_DEADLINE_S)
            self.bridge.close()
            self._outcome = outcome
        return self._outcome

    def _measure(self, figure: str, ms: float, error: str | None = None) -> None:
        """Called on the event loop: pass a figure on to Locust's own statistics."""
        kind = self.settings.transport.upper()
        self.bridge.post(
            lambda: self._environment.events.request.fire(
                request_type=kind,
                name=figure,
                response_time=ms,
                response_length=0,
                context={},
                exception=None if error is None else GenerationError(error),
            )
        )


class GenerationError(Exception):
    """The exception under which Locust counts a failed generation."""
