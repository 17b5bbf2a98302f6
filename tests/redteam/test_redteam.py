"""Every attack in its short form, in one process; `make redteam` runs the campaign and prints its figures."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from tests.redteam.attacks import ATTACKS
from tests.redteam.campaign import Attacked, Latency, Outcome, campaign, report
from tests.redteam.target import running_target
from toolkit.report import as_terminal
from toolkit.report.record import Verdict


async def test_attacks_are_held(bare_db: str) -> None:
    started, size = datetime.now(UTC), int(os.environ.get("REDTEAM_SIZE", "1"))
    async with running_target(bare_db) as target:
        found = await campaign(target, ATTACKS, size)
    told = report(found, started, "this checkout")
    print(as_terminal.render(told, width=200))  # noqa: T201 the campaign is read
    assert told.verdict is Verdict.PASS, [check.witness for check in told.checks]


def test_what_does_not_hold_fails_the_campaign() -> None:
    latency = Latency(1.0, 2.0)
    found = [Attacked(ATTACKS[0], Outcome(3, ["role 'none' joined a private channel"]), latency, latency, 100.0)]
    told = report(found, datetime.now(UTC), "this checkout")
    assert told.verdict is Verdict.FAIL
    assert told.checks[0].detail.startswith("3 tried, 2 held")
