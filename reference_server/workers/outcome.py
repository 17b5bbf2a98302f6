"""What an exception of a step means for its task. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import asyncpg

from reference_server.generation.context import ContextUnreadable
from reference_server.generation.steps import StepImpossible
from reference_server.generation.writer import WriterError
from reference_server.store.articles import ForeignArticle

_SMALL_EVENT = "process_events_small"


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
    if isinstance(error, StepImpossible | ContextUnreadable | ForeignArticle):
        return Failure(str(error), retryable=False, details=details)
    if isinstance(error, asyncpg.CheckViolationError) and error.constraint_name == _SMALL_EVENT:
        # The same answer would be as long again, and another one most likely too.
        message = f"what {step} made is larger than an event may be (262,144 bytes): resume it, or ask for less"
        return Failure(message, retryable=False, details=details)
    if isinstance(error, TimeoutError):
        return Failure(f"{step} took longer than it may", retryable=True, details=details)
    return Failure(
        f"{step} failed unexpectedly ({type(error).__name__}); the server's log has the details",
        retryable=True,
        details=details,
        expected=False,
    )
