"""Which of the package's extras are installed, read from its own metadata.

The base is `toolkit.client` and the contract. What needs more (a Postgres, the server, Locust) is an extra, and whoever
lacks one is told which, not shown an ImportError.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version

from toolkit.errors import EnvironmentError_
from toolkit.report.record import shortened

PACKAGE = "realtime-migration-toolkit"
_MOST_NAMES = 4
# `name>=1; extra == 'load'`: the build writes out what an extra takes from other extras. A requirement with any further
# condition (a platform) need not be there.
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)[^;]*;\s*extra\s*==\s*['\"](?P<extra>[\w-]+)['\"]\s*")


def install_command(extra: str) -> str:
    """What a person types to get `extra`."""
    return f"pip install '{PACKAGE}[{extra}]'"


def require(extra: str, what: str) -> None:
    """Return when everything of `extra` is installed. Raises EnvironmentError_: `what` needs it, and how to get it."""
    lacking = missing(extra)
    if not lacking:
        return
    raise EnvironmentError_(
        f"{what} needs packages that are not installed: {', '.join(shortened(lacking, _MOST_NAMES))}.",
        f"Install the extra `{extra}`: {install_command(extra)}",
    )


@cache
def missing(extra: str) -> tuple[str, ...]:
    """The distributions of `extra` that are not installed, in the order of their names."""
    try:
        stated = requires(PACKAGE) or []
    except PackageNotFoundError:
        return ()  # run from its source without being installed: an ImportError will have to do
    return tuple(name for name in distributions(extra, stated) if not _installed(name))


def distributions(extra: str, requirements: list[str]) -> tuple[str, ...]:
    """The names that `extra` brings by `requirements` (`Requires-Dist` lines of metadata), each once."""
    found = (match for line in requirements if (match := _REQUIREMENT.fullmatch(line.strip())))
    return tuple(sorted({match["name"] for match in found if match["extra"] == extra}))


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
