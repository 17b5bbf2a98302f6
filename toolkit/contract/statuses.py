"""The statuses of a process and the one table that says which action leads where."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Values of the enum `generation_status`."""

    IN_PROGRESS = "in_progress"
    USER_INPUT_REQUIRED = "user_input_required"
    PAUSED = "paused"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"
    RESUMING = "resuming"
    AUTO_PROGRESSING = "auto_progressing"


class Action(StrEnum):
    """The actions that can change a status."""

    ADVANCE = "advance"  # a worker finished a step and goes on with the next
    ASK = "ask"  # a worker reached a gate
    ANSWER = "answer"  # the user answered the open prompt
    PAUSE = "pause"
    EXPIRE = "expire"  # nobody answered in time
    RESUME = "resume"  # back to work
    REOPEN = "reopen"  # resumed at a gate: the prompt is put again
    CANCEL = "cancel"
    COMPLETE = "complete"
    FAIL = "fail"


# Statuses in which a worker may work on the process.
RUNNING = frozenset({Status.IN_PROGRESS, Status.AUTO_PROGRESSING, Status.RESUMING})
# Final statuses: no action leads out of them.
FINAL = frozenset({Status.COMPLETED, Status.CANCELLED})
# Statuses in which the process no longer moves by itself; an error can be resumed.
ENDED = FINAL | {Status.ERROR}


def _table() -> dict[tuple[Status, Action], Status]:
    table: dict[tuple[Status, Action], Status] = {}
    for status in RUNNING:
        # Resuming ends with the first step taken; auto mode keeps its own name for "in progress".
        table[status, Action.ADVANCE] = Status.IN_PROGRESS if status is Status.RESUMING else status
        table[status, Action.ASK] = Status.USER_INPUT_REQUIRED
        table[status, Action.COMPLETE] = Status.COMPLETED
        table[status, Action.FAIL] = Status.ERROR
        table[status, Action.PAUSE] = Status.PAUSED
        table[status, Action.CANCEL] = Status.CANCELLED
    table[Status.USER_INPUT_REQUIRED, Action.ANSWER] = Status.IN_PROGRESS
    table[Status.USER_INPUT_REQUIRED, Action.PAUSE] = Status.PAUSED
    table[Status.USER_INPUT_REQUIRED, Action.EXPIRE] = Status.PAUSED
    table[Status.USER_INPUT_REQUIRED, Action.CANCEL] = Status.CANCELLED
    table[Status.PAUSED, Action.RESUME] = Status.RESUMING
    table[Status.PAUSED, Action.REOPEN] = Status.USER_INPUT_REQUIRED
    table[Status.PAUSED, Action.CANCEL] = Status.CANCELLED
    table[Status.ERROR, Action.RESUME] = Status.RESUMING
    return table


TRANSITIONS: dict[tuple[Status, Action], Status] = _table()


class IllegalTransition(Exception):
    """The action is not allowed in the status the process has."""

    def __init__(self, status: Status, action: Action) -> None:
        self.status = status
        self.action = action
        self.allowed = allowed_from(action)
        super().__init__(f"cannot {action} a process that is {status}")


def advance(status: Status, action: Action) -> Status:
    """The status that `action` leads to. Raises IllegalTransition."""
    try:
        return TRANSITIONS[status, action]
    except KeyError:
        raise IllegalTransition(status, action) from None


def allowed_from(action: Action) -> frozenset[Status]:
    """The statuses in which `action` is allowed."""
    return frozenset(status for status, candidate in TRANSITIONS if candidate is action)


def legal_status_changes() -> frozenset[tuple[Status, Status]]:
    """Every (from, to) pair of statuses that a recorded history may contain."""
    pairs = {(status, to) for (status, _), to in TRANSITIONS.items() if status is not to}
    # Auto mode resumes into its own running status.
    pairs.add((Status.RESUMING, Status.AUTO_PROGRESSING))
    pairs.add((Status.USER_INPUT_REQUIRED, Status.AUTO_PROGRESSING))
    return frozenset(pairs)
