"""What each verb of a scenario does. Every verb ends in an expectation that can fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from toolkit.contract.prompts import InputType
from toolkit.errors import EnvironmentError_
from toolkit.report.record import Verdict
from toolkit.scenarios.caller import NoAnswer
from toolkit.scenarios.expect import Answer, fill, mismatches, named
from toolkit.scenarios.model import scenario_file as model
from toolkit.scenarios.running_scenario import RunningProcess, RunningScenario

POLL_S = 0.05
# Seconds: events about an end may still be on their way when the status is seen.
HOPELESS_GRACE_S = 3.0
SOCKET_START_S = 20.0


class Stop(Exception):
    """An expectation failed, and the steps after it make no sense."""


async def perform(running: RunningScenario, step: model.AnyStep) -> None:
    """Do one step. Raises Stop when the run cannot go on; the reason is already in the history."""
    action = ACTIONS[type(step)]
    await action(running, step)


def title_of(step: model.AnyStep) -> str:
    """The title of a step in a report: its point of the guide, or a sentence made from the step."""
    verb = next(verb for verb, kind in model.VERBS.items() if isinstance(step, kind))
    words = f"{verb} {getattr(step, verb)}"
    return f"{step.point} ({words})" if step.point else words


# -- verbs ------------------------------------------------------------------------------------


async def _start(running: RunningScenario, step: model.Start) -> None:
    spec = running.scenario.processes[step.start]
    names = [step.start] if spec.count == 1 else [f"{step.start}[{n}]" for n in range(spec.count)]
    started = [running.add(name, step.start, spec) for name in names]
    one = _start_socket if running.transport == "websocket" else _start_realtime
    problems = [problem for problem in await asyncio.gather(*(one(running, p, step) for p in started)) if problem]
    _conclude(running, step, problems, ok=f"{len(started)} started", stop=True)


async def _start_realtime(running: RunningScenario, process: RunningProcess, step: model.Start) -> str | None:
    try:
        answer = await running.caller.command(
            "start", "POST", "/api/articles/generation/start", process.spec.user, body=process.spec.body
        )
    except NoAnswer as error:
        return f"{process.name}: {error}"
    wrong = _unexpected(answer, step.expect)
    if wrong:
        return f"{process.name}: {wrong}"
    if answer.status >= 300:
        return None
    process_id = answer.body.get("process_id") if isinstance(answer.body, dict) else None
    if not process_id:
        return f"{process.name}: the answer names no process_id"
    running.identify(process, str(process_id))
    running.open_session(process)
    await running.watch_process(process)
    return None


async def _start_socket(running: RunningScenario, process: RunningProcess, step: model.Start) -> str | None:
    """The old transport answers a start with its first frame, or by closing the socket."""
    session = running.open_socket(process)
    wait_for_close = bool(step.expect) and any(path.startswith("closed") for path in step.expect)

    def decided() -> bool:
        return (
            session.closed is not None or session.failure is not None or (process.id is not None and not wait_for_close)
        )

    try:
        await _until(running, SOCKET_START_S, decided)
    except TimeoutError:
        return f"{process.name}: neither a first frame nor a close within {SOCKET_START_S:g} s"
    if wait_for_close:
        wrong = mismatches({"closed": session.closed}, step.expect)
        return f"{process.name}: {'; '.join(wrong)}" if wrong else None
    return None if process.id else f"{process.name}: {session.failure or session.closed}"


async def _wait(running: RunningScenario, step: model.Until) -> None:
    processes = _all(running, step, step.until.who)
    if step.until.kind == "is" and step.until.what == "caught up":
        await _catch_up(running, step, processes)
        return
    loop = asyncio.get_running_loop()
    hopeless_since: dict[str, float] = {}

    def decided() -> bool:
        open_ = [p for p in processes if not p.tracker.holds(step.until, step.where)]
        for process in open_:
            if _failure(process) or (
                process.tracker.hopeless(step.until)
                and loop.time() - hopeless_since.setdefault(process.name, loop.time()) > HOPELESS_GRACE_S
            ):
                return True
        return not open_

    begun = loop.time()
    with contextlib.suppress(TimeoutError):
        await _until(running, step.within, decided)
    problems = []
    for process in processes:
        if not process.tracker.holds(step.until, step.where):
            why = _failure(process) or process.tracker.hopeless(step.until) or f"not within {step.within:g} s"
            problems.append(f"{process.name}: {why}; {process.tracker.words}")
    _conclude(running, step, problems, ok=f"after {loop.time() - begun:.1f} s", stop=True)


async def _catch_up(running: RunningScenario, step: model.Until, processes: list[RunningProcess]) -> None:
    """Wait until the applications have the last sequence that the database held when this step began."""
    targets = {process.name: await _last_sequence(running, process) for process in processes}

    def behind() -> list[RunningProcess]:
        return [p for p in processes if p.tracker.last_sequence < targets[p.name]]

    with contextlib.suppress(TimeoutError):
        await _until(running, step.within, lambda: not behind())
    problems = [f"{p.name} has {p.tracker.last_sequence} of {targets[p.name]} events" for p in behind()]
    for process in processes:
        process.tracker.caught_up = process not in behind()
    _conclude(running, step, problems, ok=", ".join(f"{name} at {seq}" for name, seq in targets.items()), stop=False)


async def _answer(running: RunningScenario, step: model.AnswerStep) -> None:
    (process,) = _all(running, step, step.answer)
    prompt = process.tracker.open_prompt
    try:
        got = await running.give(process, InputType(prompt) if prompt else None, step.give)
    except (NoAnswer, ConnectionError) as error:
        _conclude(running, step, [str(error)], stop=True)
        return
    problem = _unexpected(got, step.expect)
    _conclude(running, step, [problem] if problem else [], ok=f"{prompt}: {got.status}", stop=not step.expect)


async def _control(running: RunningScenario, step: model.Pause | model.Resume | model.Cancel) -> None:
    verb = "pause" if isinstance(step, model.Pause) else "resume" if isinstance(step, model.Resume) else "cancel"
    problems = []
    for process in _all(running, step, str(getattr(step, verb))):
        path = f"/api/articles/generation/{process.id}" + ("" if verb == "cancel" else f"/{verb}")
        method = "DELETE" if verb == "cancel" else "POST"
        try:
            answer = await running.caller.call(verb, method, path, process.spec.user, process=process.id)
        except NoAnswer as error:
            problems.append(f"{process.name}: {error}")
            continue
        wrong = _unexpected(answer, step.expect)
        if wrong:
            problems.append(f"{process.name}: {wrong}")
    _conclude(running, step, problems, ok="accepted" if not step.expect else "as expected", stop=False)


async def _request(running: RunningScenario, step: model.Request) -> None:
    facts = {name: process.facts for name, process in running.processes.items()}
    try:
        method, path = fill(step.request, facts).split(" ", 1)
        body, headers = fill(step.body, facts), fill(step.headers, facts)
    except KeyError as error:
        _conclude(running, step, [str(error.args[0])], stop=False)
        return
    try:
        answer = await running.caller.call("request", method, path, step.user, body=body, headers=headers)
    except NoAnswer as error:
        _conclude(running, step, [str(error)], stop=False)
        return
    _conclude(running, step, mismatches(answer.facts, step.expect), ok=f"{answer.status}", stop=False)


async def _disconnect(running: RunningScenario, step: model.Disconnect) -> None:
    for process in _all(running, step, step.disconnect):
        if process.session is not None:
            await process.session.close()
            suffix = f"#{process.sessions}" if process.sessions > 1 else ""
            running.history.add("note", f"watch:{process.name}{suffix}", "unwatch", process=process.id)
            process.session = None
    _conclude(running, step, [], ok="closed", stop=False)


async def _reconnect(running: RunningScenario, step: model.Reconnect) -> None:
    for process in _all(running, step, step.reconnect):
        process.tracker.caught_up = False
        if running.transport == "websocket":
            # The legacy transport has no log to catch up from: a new session knows only what it is sent again.
            process.tracker.forget()
            running.open_socket(process)
        else:
            running.open_session(process)
    _conclude(running, step, [], ok="opened", stop=False)


async def _quiet(running: RunningScenario, step: model.Quiet) -> None:
    (process,) = _all(running, step, step.quiet)
    before = await _last_sequence(running, process)
    await asyncio.sleep(step.lasting)
    after = await _last_sequence(running, process)
    problems = [f"{after - before} events were appended: {before + 1} to {after}"] if after != before else []
    _conclude(running, step, problems, ok=f"still at {before} after {step.lasting:g} s", stop=False)


async def _database(running: RunningScenario, step: model.Database) -> None:
    processes = _all(running, step, step.database)
    deadline = asyncio.get_running_loop().time() + step.within
    problems: list[str] = []
    for process in processes:
        wrong = await _rows_as_expected(running, process, named(step.expect, process.name), deadline)
        if wrong is None:
            reason, remedy = "the database was not given", "Give DATABASE_URL."
            running.expectation(title_of(step), Verdict.UNKNOWN, reason, process=process.id, remedy=remedy)
            return
        problems += [f"{process.name}: {problem}" if len(processes) > 1 else problem for problem in wrong]
    _conclude(running, step, problems, ok=", ".join(step.expect), stop=False)


async def _rows_as_expected(
    running: RunningScenario, process: RunningProcess, expected: model.Expectations, deadline: float
) -> list[str] | None:
    """What still differs at the deadline, a line each; None where there is no database to look at."""
    assert process.id is not None
    while True:
        rows = await running.witness.rows(process.id)
        if rows.state is None and rows.tasks is None:
            return None
        wrong = mismatches(rows.facts | {"events": await running.witness.last_sequence(process.id)}, expected)
        if not wrong or asyncio.get_running_loop().time() > deadline:
            return wrong
        await asyncio.sleep(POLL_S)


async def _reconfigure(running: RunningScenario, step: model.Reconfigure) -> None:
    if running.control is None:
        reason = "this target's workers cannot be restarted from here"
        running.expectation(title_of(step), Verdict.UNKNOWN, reason, remedy="Run it on --target embedded.")
        raise Stop(reason)
    await running.control.reconfigure(step.reconfigure, step.to)
    _conclude(running, step, [], ok=", ".join(f"{name}={value}" for name, value in step.to.items()), stop=False)


# The type of the step decides the type of the function's argument.
ACTIONS: dict[type[model.AnyStep], Callable[[RunningScenario, Any], Awaitable[None]]] = {
    model.Start: _start,
    model.Until: _wait,
    model.AnswerStep: _answer,
    model.Pause: _control,
    model.Resume: _control,
    model.Cancel: _control,
    model.Request: _request,
    model.Disconnect: _disconnect,
    model.Reconnect: _reconnect,
    model.Quiet: _quiet,
    model.Database: _database,
    model.Reconfigure: _reconfigure,
}


# -- shared -----------------------------------------------------------------------------------


async def _until(running: RunningScenario, within: float, decided: Callable[[], bool]) -> None:
    """Return when `decided()` is true; it is tried after each event and at intervals. Raises TimeoutError."""
    async with asyncio.timeout(within), running.changed:
        while not decided():
            try:
                async with asyncio.timeout(POLL_S * 4):
                    await running.changed.wait()
            except TimeoutError:
                if decided():
                    return


def _conclude(running: RunningScenario, step: model.AnyStep, problems: list[str], *, ok: str = "", stop: bool) -> None:
    title = title_of(step)
    if not problems:
        running.expectation(title, Verdict.PASS, ok)
        return
    running.expectation(title, Verdict.FAIL, "; ".join(problems))
    if stop:
        raise Stop(title)


def _all(running: RunningScenario, step: model.AnyStep, name: str) -> list[RunningProcess]:
    found = [process for process in running.of(name) if process.id is not None]
    if not found:
        running.expectation(title_of(step), Verdict.FAIL, f"{name} was never started")
        raise Stop(f"{name} was never started")
    return found


def _unexpected(answer: Answer, expected: dict[str, Any]) -> str | None:
    """Why the answer is not the expected one, a line each; without expectations it must be a 2xx."""
    if expected:
        return "; ".join(mismatches(answer.facts, expected)) or None
    return None if answer.status < 300 else answer.words


def _failure(process: RunningProcess) -> str | None:
    return process.session.failure if process.session is not None else None


async def _last_sequence(running: RunningScenario, process: RunningProcess) -> int:
    assert process.id is not None
    try:
        return await running.witness.last_sequence(process.id)
    except EnvironmentError_:
        # The database may be what is broken just now, so a failed read is tried once more.
        await asyncio.sleep(1)
        return await running.witness.last_sequence(process.id)
