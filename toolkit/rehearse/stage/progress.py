"""Live progress on stderr: a spinner with the current step on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import IO, Protocol

from rich.console import Console
from rich.status import Status
from rich.text import Text

from toolkit.rehearse.stage.diary import PhaseResult
from toolkit.report.as_terminal import is_live, wants_colour
from toolkit.report.record import Verdict

_MARKS = {Verdict.PASS: ("✔", "green"), Verdict.FAIL: ("✘", "bold red"), Verdict.UNKNOWN: ("?", "yellow")}


class Progress(Protocol):
    """Receives the progress of a rehearsal."""

    def phase(self, number: int, total: int, title: str) -> None:
        """A phase begins."""

    def say(self, text: str) -> None:
        """Show what is being done now."""

    def ended(self, result: PhaseResult) -> None:
        """A phase is over."""

    def close(self) -> None:
        """End the display."""


def summary(result: PhaseResult) -> str:
    """One line about a finished phase."""
    good = sum(check.verdict is Verdict.PASS for check in result.checks)
    counts = f"{good} of {len(result.checks)} checks passed" if result.checks else "no checks"
    match result.outcome:
        case "not_run":
            return f"{result.title}: not run: {result.error}"
        case "aborted":
            return f"{result.title}: cut short after {result.end - result.start:.1f} s, {counts}: {result.error}"
        case _:
            return f"{result.title}: {counts} in {result.end - result.start:.1f} s"


class PlainLines:
    """One line for each step, with the seconds since the beginning."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._origin = time.monotonic()

    def phase(self, number: int, total: int, title: str) -> None:
        self._line(f"[{number}/{total}] {title}")

    def say(self, text: str) -> None:
        self._line(f"  {text}")

    def ended(self, result: PhaseResult) -> None:
        self._line(f"  {_MARKS[result.verdict][0]} {summary(result)}")

    def close(self) -> None:
        pass

    def _line(self, text: str) -> None:
        print(f"{time.monotonic() - self._origin:6.1f} s {text}", file=self._out, flush=True)


class Live:
    """A spinner with the current step, and a line for each finished phase."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._heading = ""
        self._origin = time.monotonic()

    def phase(self, number: int, total: int, title: str) -> None:
        self._heading = f"[{number}/{total}] {title}"
        self._show(self._heading)

    def say(self, text: str) -> None:
        self._show(f"{self._heading}: {text}" if self._heading else text)

    def ended(self, result: PhaseResult) -> None:
        self.close()
        mark, style = _MARKS[result.verdict]
        self._console.print(Text.assemble((f"{mark} ", style), summary(result)), soft_wrap=True)

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _show(self, text: str) -> None:
        line = Text(f"{time.monotonic() - self._origin:5.1f} s  {text}", overflow="ellipsis", no_wrap=True)
        if self._status is None:
            self._status = self._console.status(line)
            self._status.start()
        else:
            self._status.update(line)


def progress_on(stream: IO[str] = sys.stderr) -> Progress:
    """Live on a terminal, PlainLines on any other stream."""
    if not is_live(stream):
        return PlainLines(stream)
    return Live(Console(file=stream, color_system="auto" if wants_colour(stream) else None))
