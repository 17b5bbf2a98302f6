"""What an exception of a step means for its task. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from reference_server.generation.context import ContextUnreadable
from reference_server.generation.steps import StepImpossible
from reference_server.generation.writer import WriterError


@dataclass(frozen=True)
class Failure:
    """`message` is shown to the process's owner, `details` go to the task row. A failure that is not `expected` is
    logged with its traceback."""

    message: str
    retryable: bool
    details: dict[str, Any] = field(default_factory=dict)
    expected: bool = True


def failure_of(error: Exception, step: str) -> Failure:
    """How the attempt at `step` failed. An unforeseen error is retried, and its text is not shown to users."""
    details = {"type": type(error).__name__, "step": step}
    if isinstance(error, WriterError):
        return Failure(str(error), error.retryable, details)
    if isinstance(error, StepImpossible | ContextUnreadable):
        return Failure(str(error), retryable=False, details=details)
    if isinstance(error, TimeoutError):
        return Failure(f"{step} took longer than it may", retryable=True, details=details)
    return Failure(
        f"{step} failed unexpectedly ({type(error).__name__}); the server's log has the details",
        retryable=True,
        details=details,
        expected=False,
    )
