"""The phases in their order, and what each needs to have been done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from toolkit.rehearse.phases import faults, legacy, migrate, realtime, rollback
from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.stage import Stage


@dataclass(frozen=True)
class Phase:
    """`needs`: phases that must have come to their end; whether their checks passed does not matter."""

    id: str
    title: str
    run: Callable[[Stage, Findings], Awaitable[None]]
    needs: tuple[str, ...] = ()


PHASES: tuple[Phase, ...] = (
    Phase("legacy", "The legacy system, populated and at work", legacy.run),
    Phase("migrate", "The migration under live traffic", migrate.run, ("legacy",)),
    Phase("realtime", "Realtime on, and the four scenarios", realtime.run, ("migrate",)),
    Phase("faults", "The scenarios again, with a cut network and a killed worker", faults.run, ("realtime",)),
    Phase("flag", "Immediate rollback: the flag back to WebSocket", rollback.run_flag, ("realtime",)),
    Phase("rollback", "Database rollback", rollback.run_database, ("migrate",)),
    Phase("again", "The migration once more", rollback.run_again, ("rollback",)),
)
