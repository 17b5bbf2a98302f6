"""Runs one scenario against a target: the steps, the faults, the history, and the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from toolkit.accounts import Accounts, accounts_on
from toolkit.client.recovery import RecoveryLimits
from toolkit.client.stream import ProcessEventStream
from toolkit.errors import EnvironmentError_, ToolkitError, UsageError
from toolkit.report.files import new_folder, write
from toolkit.report.record import Link, Report, Verdict
from toolkit.scenarios import verdicts
from toolkit.scenarios.actions import Stop, perform, title_of
from toolkit.scenarios.caller import Caller, NoAnswer
from toolkit.scenarios.faults.control import Control
from toolkit.scenarios.faults.network import Links, open_links
from toolkit.scenarios.faults.schedule import Schedule
from toolkit.scenarios.model.conditions import Condition
from toolkit.scenarios.model.scenario_file import Scenario, Until
from toolkit.scenarios.recorded.facts import Facts, gather
from toolkit.scenarios.recorded.history import History
from toolkit.scenarios.running_scenario import RunningProcess, RunningScenario
from toolkit.scenarios.settle import settle
from toolkit.scenarios.witness import ApiWitness, SqlWitness, Witness
from toolkit.targets.target import Target

OBSERVE_S = 0.05
MARGIN_S = 180.0
LINKS = (
    Link("History", "history.jsonl"),
    Link("Scenario as it was run", "scenario.yaml"),
    Link("Page", "report.html"),
)
# Shorter than a client's default of ten seconds of silence, so that every scenario with a cut takes less time.
CLIENT_LIMITS = RecoveryLimits(silence_s=4.0, connect_cap_s=3.0, stalled_s=30.0)


NEEDED = {
    "realtime": ("API_URL", "SUPABASE_URL", "SUPABASE_ANON_KEY"),
    "websocket": ("API_URL",),
}


@dataclass(frozen=True)
class ScenarioResult:
    """The result of one run. `folder` holds history.jsonl, scenario.yaml and the report's files."""

    scenario: Scenario
    transport: str
    seed: int
    folder: Path
    report: Report
    facts: Facts

    @property
    def verdict(self) -> Verdict:
        """The worst of all checks."""
        return self.report.verdict


def must_fit(scenario: Scenario, transport: str) -> None:
    """Raises UsageError when the scenario is not written for the transport."""
    if transport not in scenario.transports:
        raise UsageError(
            f"{scenario.scenario} is not written for the {transport} transport.",
            f"Use --transport {' or '.join(scenario.transports)}.",
        )


async def run_scenario(
    scenario: Scenario,
    target: Target,
    *,
    runs_dir: Path,
    transport: str = "realtime",
    control: Control | None = None,
    seed: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    limits: RecoveryLimits | None = None,
    make_stream: Callable[..., ProcessEventStream] = ProcessEventStream,
) -> ScenarioResult:
    """Run `scenario` once, judge it, and leave its folder under `runs_dir`.

    `control` kills and starts the target's processes; without it a scenario that needs that is unknown. `make_stream`
    makes the application's stream; any class with the interface of ProcessEventStream will do. Raises UsageError when
    the transport or a setting does not fit, EnvironmentError_ when the target cannot be reached. Failures during the
    run are in the result, never raised.
    """
    must_fit(scenario, transport)
    target.require(*NEEDED[transport])
    accounts = accounts_on(target, secrets.token_hex(4))
    await _reach(target)
    folder = new_folder(runs_dir, f"{scenario.scenario}-{transport}")
    seed = scenario.seed if seed is None else seed
    scenario = _resolved(scenario, seed)
    resolved = scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    (folder / "scenario.yaml").write_text(yaml.safe_dump(_sentences(resolved), allow_unicode=True, sort_keys=False))
    history = History(folder / "history.jsonl")
    history.add(
        "note",
        "run",
        "scenario",
        value={
            "name": scenario.scenario,
            "seed": seed,
            "transport": transport,
            "limits": scenario.limits,
            "target": target.describe(),
        },
    )
    say(f"{scenario.scenario} ({transport}), seed {seed}: {folder}")
    try:
        async with asyncio.timeout(_deadline(scenario)):
            await _run(
                scenario, target, history, transport, control, seed, say, limits or CLIENT_LIMITS, make_stream, accounts
            )
    except TimeoutError:
        history.add("note", "run", "stopped", error=f"the whole run took longer than {_deadline(scenario):g} s")
    except (EnvironmentError_, OSError) as error:
        history.add("note", "run", "stopped", error=str(error))
    finally:
        history.close()
    report = verdicts.report(scenario, history.records, target=target.describe(), links=LINKS)
    write(report, folder)
    return ScenarioResult(scenario, transport, seed, folder, report, gather(history.records))


async def _run(  # noqa: PLR0917 - one call, in one place
    scenario: Scenario,
    target: Target,
    history: History,
    transport: str,
    control: Control | None,
    seed: int,
    say: Callable[[str], None],
    limits: RecoveryLimits,
    make_stream: Callable[..., ProcessEventStream],
    accounts: Accounts,
) -> None:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_close, accounts, history)
        users = {user: await accounts.of(user) for user in scenario.users}

        def token(user: str) -> str:
            return users[user].token

        links = await open_links(stack, scenario, target, transport, seed)
        api_url = links["http"].url if "http" in links else target.get("API_URL")
        caller = Caller(api_url, token, history)
        stack.push_async_callback(caller.close)
        owners: dict[str, str] = {}
        witness = await _witness(stack, target, token, owners)
        running = RunningScenario(
            scenario,
            target,
            transport=transport,
            history=history,
            caller=caller,
            witness=witness,
            control=control,
            api_url=api_url,
            events_url=_events_url(target, links, transport),
            users=users,
            say=say,
            limits=limits,
            make_stream=make_stream,
        )
        running.owners = owners
        stack.push_async_callback(running.close)
        if scenario.breaks_processes and control is None:
            reason = "this scenario kills or restarts processes, and the target is not ours to do that"
            remedy = "Run it on --target embedded; its faults of the network alone can be broken from here."
            history.add("note", "run", "stopped", error=reason, value={"remedy": remedy})
            say(f"? {reason}")
            return
        if transport == "realtime":
            await running.watch_everything()
        schedule = Schedule(
            scenario.faults,
            history,
            reached=lambda condition: _reached(running, condition),
            links=links,
            control=control,
            say=say,
        )
        stack.push_async_callback(schedule.abandon)
        async with _observer(running, bool(scenario.faults)):
            schedule.start()
            await _steps(running)
            await schedule.finish()
        for problem in schedule.problems:
            history.add("note", "run", "stopped", error=problem)
        await settle(running)


async def _close(accounts: Accounts, history: History) -> None:
    await accounts.aclose()
    for left in accounts.left_behind:
        history.add("note", "run", "left behind", error=left)


async def _witness(
    stack: AsyncExitStack, target: Target, token: Callable[[str], str], owners: dict[str, str]
) -> Witness:
    """A witness over SQL where there is a DATABASE_URL, otherwise over the API, past the proxies of the network
    faults."""
    if target.database_url:
        witness: Witness = SqlWitness(target.database_url)
    else:
        caller = Caller(target.get("API_URL"), token, History())
        stack.push_async_callback(caller.close)
        witness = ApiWitness(caller, owners)
    stack.push_async_callback(witness.close)
    return witness


def _events_url(target: Target, links: Links, transport: str) -> str:
    """The URL from which an application's events come: Realtime, or the API with its legacy WebSocket."""
    if "websocket" in links:
        return links["websocket"].url
    return target.get("SUPABASE_URL" if transport == "realtime" else "API_URL")


def _resolved(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with every random choice made from its seed, so that the stored copy runs the same again."""
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    faults = [fault.model_copy(update={"after": fault.after.resolved(rng)}) for fault in scenario.faults]
    return scenario.model_copy(update={"faults": faults, "seed": seed})


async def _reach(target: Target) -> None:
    """Return when the API gives any answer. Raises EnvironmentError_ when it gives none."""
    caller = Caller(target.get("API_URL"), lambda _: "", History())
    try:
        await caller.quietly("GET", "/health/live", None)
    except NoAnswer as error:
        raise EnvironmentError_(
            f"The API at {target.api_url} does not answer: {error}", "Start it, or correct API_URL."
        ) from error
    finally:
        await caller.close()


async def _steps(running: RunningScenario) -> None:
    steps = running.scenario.steps
    for number, step in enumerate(steps):
        running.history.add("note", "run", "step", value={"number": number, "step": title_of(step)})
        try:
            await perform(running, step)
        except (Stop, ToolkitError) as error:
            if isinstance(error, ToolkitError):
                running.expectation(title_of(step), Verdict.UNKNOWN, error.what, remedy=error.remedy)
            for missed in steps[number + 1 :]:
                running.expectation(title_of(missed), Verdict.UNKNOWN, f"not reached: stopped at {title_of(step)}")
            return


@asynccontextmanager
async def _observer(running: RunningScenario, needed: bool) -> AsyncIterator[None]:
    """Reads what the database appends, so that faults depend on the database and not on what a client received."""
    if not needed:
        yield
        return
    task = asyncio.create_task(_observe(running), name="observer")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _observe(running: RunningScenario) -> None:
    async def look(process: RunningProcess, process_id: str) -> None:
        with contextlib.suppress(EnvironmentError_):  # a fault may have broken the database just now
            for event in await running.witness.events(process_id, process.stored.last_sequence):
                process.stored.event(event.sequence, event.type, event.data)

    while True:
        # All at once: one after the other, the last of many processes would be read long after it moved on.
        known = [(process, process.id) for process in running.processes.values() if process.id is not None]
        await asyncio.gather(*(look(process, process_id) for process, process_id in known))
        await asyncio.sleep(OBSERVE_S)


async def _reached(running: RunningScenario, condition: Condition) -> None:
    while True:
        processes = [process for process in running.of(condition.who) if process.id is not None]
        held = [_shown(process, condition) for process in processes]
        if held and (all(held) if condition.every else any(held)):
            return
        await asyncio.sleep(OBSERVE_S / 2)


def _shown(process: RunningProcess, condition: Condition) -> bool:
    """Whether the store or the application shows it: on a busy machine the application may be given an event before it
    is read from the store. Whether a stream is live only the application knows."""
    return process.stored.holds(condition) or process.tracker.holds(condition)


def _deadline(scenario: Scenario) -> float:
    waits = sum(step.within for step in scenario.steps if isinstance(step, Until))
    return waits + sum(fault.lasting for fault in scenario.faults) + MARGIN_S


def _sentences(value: object) -> object:
    """Conditions and durations in the form of a scenario file, so that a stored scenario can be read again."""
    if isinstance(value, dict):
        if "text" in value and "kind" in value and "who" in value:
            return value["text"]
        return {
            key: f"{item:g}s"
            if key in ("within", "lasting", "latency") and isinstance(item, int | float)
            else {name: f"{bound:g}s" for name, bound in item.items()}
            if key == "limits" and isinstance(item, dict)
            else _sentences(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_sentences(item) for item in value]
    return value
