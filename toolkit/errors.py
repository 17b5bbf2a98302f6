"""Every error the toolkit shows to a person: what went wrong, and what to do next.

ToolkitError
├── UsageError         exit 2: the request itself is wrong
├── EnvironmentError_  exit 4: a machine, a server or a permission is missing
└── RefusalError       exit 1: the toolkit will not do this, and says why
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The stable exit codes of every command."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    UNKNOWN = 3
    ENVIRONMENT = 4


class ToolkitError(Exception):
    """What went wrong (`what`) and what to do next (`remedy`); shown without a traceback."""

    exit_code = ExitCode.FAIL

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}\n{remedy}")
        self.what = what
        self.remedy = remedy


class UsageError(ToolkitError):
    """The request cannot be understood or is incomplete."""

    exit_code = ExitCode.USAGE


class EnvironmentError_(ToolkitError):
    """Something outside the toolkit is missing or does not answer."""

    exit_code = ExitCode.ENVIRONMENT


class RefusalError(ToolkitError):
    """The toolkit understood and will not do it."""

    exit_code = ExitCode.FAIL
