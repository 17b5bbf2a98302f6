"""The refusals of the use cases: typed, so that the API only has to choose the HTTP status."""

from __future__ import annotations

from uuid import UUID

from toolkit.contract.prompts import InputType
from toolkit.contract.statuses import Action, Status


class GenerationError(Exception):
    """`code` is stable and machine-readable; `remedy` says what to do next."""

    code = "generation_error"
    remedy = "Read the process's state and try again."


class NotFound(GenerationError):
    code = "not_found"
    remedy = "Check the id."

    def __init__(self, kind: str, wanted: UUID) -> None:
        super().__init__(f"There is no {kind} {wanted}.")


class OrganizationNotFound(GenerationError):
    """The organization does not exist, or the caller is not a member of it: the answer does not tell which."""

    code = "organization_not_found"
    remedy = "Leave organization_id out, or ask to be added to the organization."

    def __init__(self, wanted: UUID | None) -> None:
        super().__init__(f"There is no organization {wanted} that you may use.")


class StyleTemplateNotFound(GenerationError):
    """The template does not exist, or the caller may not use it: the answer does not tell which."""

    code = "style_template_not_found"
    remedy = "Leave style_template_id out, or name a template of your own or of an organization you belong to."

    def __init__(self, wanted: UUID | str) -> None:
        super().__init__(f"There is no style template {wanted} that you may use.")


class ActionNotAllowed(GenerationError):
    """The transition table does not allow the action in the present status."""

    code = "illegal_transition"

    def __init__(self, status: Status, action: Action, allowed: frozenset[Status]) -> None:
        super().__init__(f"Cannot {action} a process that is {status}.")
        self.status = status
        self.action = action
        self.allowed = sorted(allowed)
        self.remedy = f"To {action} is possible while it is {' or '.join(self.allowed)}."


class NotWaiting(GenerationError):
    code = "not_waiting_for_input"
    remedy = "Wait for the next user_input_required event; a prompt takes one answer."

    def __init__(self, status: Status, *, expired: bool = False) -> None:
        """`expired`: the prompt's time is over, and no worker has paused the process yet."""
        super().__init__(
            "The prompt's time is over: nobody answered it."
            if expired
            else f"The process is {status} and has no open prompt."
        )
        if expired:
            self.remedy = "Wait until the process is paused, in a moment, and resume it: it asks again."
        self.status = status


class UnexpectedResponse(GenerationError):
    code = "unexpected_response_type"

    def __init__(self, input_type: InputType, given: str, allowed: frozenset[str]) -> None:
        super().__init__(f"The open prompt is {input_type}: expected {input_type}, got {given}.")
        self.input_type = input_type
        self.given = given
        self.allowed = sorted(allowed)
        self.remedy = f"Answer with one of: {', '.join(self.allowed)}."


class AnswerRefused(GenerationError):
    """The answer fits the prompt but its payload does not; nothing has changed, the prompt is still open."""

    remedy = "Correct the payload and send it again; the prompt is still open."

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class IdempotencyKeyReused(GenerationError):
    code = "idempotency_key_reused"
    remedy = "Use a new Idempotency-Key for a new request."

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used before with another request.")


class ProcessUnreadable(GenerationError):
    """The stored row is not of a format this version knows."""

    code = "process_unreadable"
    remedy = "Start a new process; this one was saved by another version of the server."


class InvalidCursor(GenerationError):
    code = "invalid_cursor"
    remedy = "Use next_cursor of the page before as it was given, or leave it out for the first page."

    def __init__(self) -> None:
        super().__init__("The cursor is not one that was given out.")


class StaleClaim(Exception):
    """A worker's write came too late: it no longer holds the task, or the process no longer runs.

    Its work is discarded.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
