"""What whoever knows a schema hands in to be asked of it beside the verify files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from toolkit.report.record import Check


class Probe(Protocol):
    """A behaviour that no single session can show, so that a verify file, which is rolled back, cannot ask for it."""

    @property
    def title(self) -> str:
        """What holds when the probe finds nothing."""
        ...

    async def run(self, dsn: str, version: str) -> Check:
        """Look at the database, in which `version` is applied, and leave it as it was."""
        ...


# The probes of each version, in the order in which they run; a version without any is not among the keys.
Probes = Mapping[str, Sequence[Probe]]
