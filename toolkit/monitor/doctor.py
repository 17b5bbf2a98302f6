"""The doctor: gathers all facts, runs all checks, and makes one report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from toolkit.checks import ALL
from toolkit.checks.absent import Absent
from toolkit.checks.facts import Delivery, Facts, Settings
from toolkit.environment import HOW_TO_GET
from toolkit.errors import EnvironmentError_
from toolkit.monitor.api_facts import api_facts, key_fact
from toolkit.monitor.database_facts import database_facts
from toolkit.monitor.probe_users import probe_users
from toolkit.monitor.realtime_facts import realtime_facts
from toolkit.report.record import Distribution, Measurement, Report, Verdict, tool_version, worst
from toolkit.targets.target import Target

PROBE_DEADLINE_S = 10.0
# Seconds; more than the sum of all deadlines within.
_WHOLE_DEADLINE_S = 900.0
_OPTIONAL = frozenset({"SUPABASE_JWKS_URL", "SUPABASE_USERS_FILE"})


async def gather(
    target: Target,
    *,
    may_write: bool,
    deadline_s: float = PROBE_DEADLINE_S,
    say: Callable[[str], None] = lambda _: None,
) -> Facts:
    """Gather all facts about `target`.

    `may_write`: a process of a probe user is written and removed; without it nothing is changed, and facts that need an
    event stay absent. `deadline_s` bounds each wait for Realtime.
    """
    say("looking at the database")
    database = await database_facts(target)
    async with probe_users(target, may_write=may_write) as users:
        say("asking the API")
        api = await api_facts(target, users)
        say("trying Realtime")
        realtime = await realtime_facts(target, users, may_write=may_write, deadline_s=deadline_s)
    return Facts(
        now=time.time(),
        settings=Settings({name: how for name, how in HOW_TO_GET.items() if _lacks(target, name)}),
        anon_key=key_fact(target, "SUPABASE_ANON_KEY"),
        service_key=key_fact(target, "SUPABASE_SERVICE_ROLE_KEY"),
        server=database.server,
        session=database.session,
        database_clock=database.database_clock,
        slots=database.slots,
        migrations=database.migrations,
        schema=database.schema,
        log=database.log,
        tasks=database.tasks,
        processes=database.processes,
        api=api,
        realtime=realtime,
    )


def diagnose(facts: Facts, target: str, started_at: datetime) -> Report:
    """The report on gathered facts. Pure, except for the time of its end."""
    checks = tuple(check.run(facts) for check in ALL)
    verdict = worst(check.verdict for check in checks)
    wrong = sum(check.verdict is Verdict.FAIL for check in checks)
    open_ = sum(check.verdict is Verdict.UNKNOWN for check in checks)
    title = f"{wrong} of {len(checks)} checks found something wrong" if wrong else "Nothing wrong was found"
    if not wrong and open_:
        title = f"Nothing wrong was found, but {open_} of {len(checks)} checks could not look"
    return Report(
        name="doctor",
        title=title,
        verdict=verdict,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        target=target,
        tool_version=tool_version(),
        checks=checks,
        measurements=_measurements(facts),
        distributions=_distributions(facts),
        notes=tuple(f"warning: {check.id}: {one.fact}" for check in checks for one in check.evidence),
    )


async def doctor(
    target: Target,
    *,
    may_write: bool,
    deadline_s: float = PROBE_DEADLINE_S,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Gather the facts and make the report. Raises EnvironmentError_ when that takes too long."""
    started = datetime.now(UTC)
    try:
        async with asyncio.timeout(_WHOLE_DEADLINE_S):
            facts = await gather(target, may_write=may_write, deadline_s=deadline_s, say=say)
    except TimeoutError:
        raise EnvironmentError_(
            f"The target was not looked through within {_WHOLE_DEADLINE_S:g} s.",
            "Look for locks and long transactions in the database, and give a shorter --deadline.",
        ) from None
    return diagnose(facts, target.describe(), started)


def _lacks(target: Target, name: str) -> bool:
    if name in _OPTIONAL or (name == "SUPABASE_JWT_SECRET" and target.users_file):
        return False
    values = {
        "DATABASE_URL": target.database_url,
        "API_URL": target.api_url,
        "SUPABASE_URL": target.supabase_url,
        "SUPABASE_ANON_KEY": target.anon_key,
        "SUPABASE_SERVICE_ROLE_KEY": target.service_role_key,
        "SUPABASE_JWT_SECRET": target.jwt_secret,
    }
    return not values[name]


def _delivery(facts: Facts) -> Delivery | None:
    found = facts.realtime.delivery
    return None if isinstance(found, Absent) or not found.latencies_ms else found


def _measurements(facts: Facts) -> tuple[Measurement, ...]:
    found = []
    if (delivery := _delivery(facts)) is not None:
        found.append(Measurement("delivery, write to callback, slowest", max(delivery.latencies_ms), "ms", "Realtime"))
    subscription = facts.realtime.subscription
    if not isinstance(subscription, Absent) and subscription.live_after_ms is not None:
        found.append(Measurement("subscription live after", subscription.live_after_ms, "ms", "Realtime"))
    if not isinstance(facts.database_clock, Absent):
        found.append(Measurement("database clock ahead of ours", facts.database_clock.ahead_s, "s", "Database"))
    return tuple(found)


def _distributions(facts: Facts) -> tuple[Distribution, ...]:
    delivery = _delivery(facts)
    return () if delivery is None else (Distribution("Delivery", "ms", delivery.latencies_ms, "Realtime"),)
