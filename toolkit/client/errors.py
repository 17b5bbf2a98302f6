"""What can go wrong between an application and the generation system.

ClientError
├── ApiError        the server answered with an error
├── NotReached      no answer; `definite` says whether the request certainly had no effect
├── HistoryGap      events existed and are no longer stored
├── HistoryRestart  the log ends below what was read from it: it was replaced by a new one
└── StreamFailed    the stream cannot go on: the server refuses to let us read
"""

from __future__ import annotations

from typing import Any

from toolkit.errors import ToolkitError


class ClientError(ToolkitError):
    """Base of every error of `toolkit.client`."""


class ApiError(ClientError):
    """The server answered with an error: HTTP `status`, stable `code`, `message`, `remedy`, and the `request_id` in its
    logs."""

    def __init__(
        self, status: int, code: str, message: str, remedy: str, *, request_id: str | None = None, details: Any = None
    ) -> None:
        super().__init__(f"{message} ({status} {code})", remedy)
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.details = details


class NotReached(ClientError):
    """The server gave no answer. `definite`: the request certainly had no effect; otherwise it may have had one."""

    def __init__(self, what: str, *, definite: bool) -> None:
        super().__init__(
            what,
            "Nothing was changed; check the address and whether the server runs."
            if definite
            else "It may or may not have taken effect: read the state before sending it again.",
        )
        self.definite = definite


class HistoryGap(ClientError):
    """Events `first` to `last` (inclusive) were deleted by the clean-up before this client read them."""

    def __init__(self, process_id: str, first: int, last: int) -> None:
        super().__init__(
            f"Events {first} to {last} of process {process_id} are no longer stored.",
            "Read the process' state instead; iterating on continues with what is stored.",
        )
        self.process_id = process_id
        self.first = first
        self.last = last


class HistoryRestart(ClientError):
    """The log ends at `last`, but this client had read it up to `known`: it was replaced by another."""

    def __init__(self, process_id: str, known: int, last: int) -> None:
        super().__init__(
            f"The events of process {process_id} begin anew: {known} was read before, and the last one now is {last}.",
            "Forget what you made of the earlier events (and a cursor you stored); iterating on delivers the new "
            "log from its beginning.",
        )
        self.process_id = process_id
        self.known = known
        self.last = last


class StreamFailed(ClientError):
    """The stream ended for good; the cause is in `__cause__`."""
