"""The part of a Locust worker that runs on the event loop: its users' generations, their history and its checks."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import asyncpg
import httpx

from toolkit.accounts import Account, Accounts, accounts_on
from toolkit.client.errors import ClientError
from toolkit.errors import EnvironmentError_, ToolkitError
from toolkit.load import generation
from toolkit.load.figures import GENERATION, START, Samples
from toolkit.load.generation import Generation, GenerationFailed, MakeStream, Measure
from toolkit.load.history_checks import check_history
from toolkit.load.outcome import MAX_FAILURES_TOLD, Outcome
from toolkit.load.settings import Transport
from toolkit.report.record import Check
from toolkit.scenarios.caller import Caller
from toolkit.scenarios.recorded.facts import gather
from toolkit.scenarios.recorded.history import History
from toolkit.scenarios.sessions import BareSubscription
from toolkit.scenarios.witness import ApiWitness, SqlWitness, Witness
from toolkit.sql import clock
from toolkit.targets.target import Target

REACH_DEADLINE_S = 10.0
READ_AT_ONCE = 4
CLOCK_TRIES = 5
WRITE_EVERY_S = 0.25
WRITTEN_AT_ONCE = 25
_OFFERS: dict[str, tuple[Transport, ...]] = {
    "both": ("realtime", "websocket"),
    "realtime": ("realtime",),
    "websocket": ("websocket",),
}
Ending = Literal["completed", "failed", "stopped"]


@dataclass(frozen=True)
class Habits:
    """How a user behaves in one generation: see `Generation`."""

    think_s: Callable[[], float] = generation.answers_at_once
    comes_back: bool = False


class WorkerLoop:
    """A worker's generations and history; made, used and closed on the event loop.

    `measure` receives every figure as it is taken.
    """

    def __init__(self, target: Target, transport: Transport, folder: Path, worker: str, *, measure: Measure) -> None:
        self.target = target
        self.transport = transport
        self.worker = worker
        self.path = folder / f"history-{transport}-{worker}.jsonl"
        self.samples: dict[str, Samples] = {}
        self.failures: list[str] = []
        self.count = {"started": 0, "completed": 0, "failed": 0, "stopped": 0}
        self._measure = measure
        self._accounts: Accounts | None = None
        self._users: dict[str, Account] = {}
        self._begun_users: set[int] = set()
        self._finished_users: set[int] = set()
        self._cut_off: set[int] = set()  # users whose last start was cut off before its answer
        self._owners: dict[str, str] = {}
        self._reconnects = 0
        self._missed_live = 0
        self._clock_offset_s: float | None = None
        self._history: History | None = None
        self._witness: Witness | None = None
        self._bystander: BareSubscription | None = None
        self._stack = AsyncExitStack()
        self._environment: str | None = None
        self._tasks: set[asyncio.Task[Ending]] = set()
        self._writer: asyncio.Task[None] | None = None
        self.writes_while_users_work = True
        self._ending = False
        self._cpu_at_begin_s = 0.0

    # -- life cycle ---------------------------------------------------------------------------

    async def open(self) -> None:
        """Reach the target and open the history. Without a target no user starts, and the outcome says what is missing.

        A missing target makes the run end with the environment's exit code: it is no failure of the system under load.
        """
        try:
            await self._open()
        except ToolkitError as error:
            self._environment = f"{error.what} {error.remedy}"
        except (OSError, TimeoutError) as error:
            self._environment = f"{type(error).__name__}: {error}"

    async def _open(self) -> None:
        needs = ["API_URL"]
        needs += ["SUPABASE_URL", "SUPABASE_ANON_KEY"] if self.transport == "realtime" else []
        self.target.require(*needs)
        self._accounts = accounts_on(self.target, f"load-{secrets.token_hex(4)}")
        self._stack.push_async_callback(self._accounts.aclose)
        await reach(self.target)
        self._verify = ssl.create_default_context()
        self._history = History(self.path, at_once=False)
        value = {"name": "load", "transport": self.transport, "target": self.target.describe(), "worker": self.worker}
        self._history.add("note", "run", "scenario", value=value)
        if self.target.database_url:
            self._witness = SqlWitness(self.target.database_url)
            self._clock_offset_s = await clock_offset(self.target.database_url)
        else:
            caller = Caller(self.target.get("API_URL"), self._token, History())
            self._stack.push_async_callback(caller.close)
            self._witness = ApiWitness(caller, self._owners)
            self._clock_offset_s = 0.0 if self.target.kind == "embedded" else None
        self._stack.push_async_callback(self._witness.close)
        if self.transport == "realtime":
            # A user without processes who subscribes to everything: any event that reaches them is a leak.
            self._bystander = BareSubscription(
                self._history,
                actor="watch:bystander",
                user="bystander",
                url=self.target.get("SUPABASE_URL"),
                key=self.target.get("SUPABASE_ANON_KEY"),
                token=(await self._user("bystander")).token,
                process=None,
            )
            self._stack.push_async_callback(self._bystander.close)
            await self._bystander.open()
        self._writer = asyncio.create_task(self._write_history(), name="writer of the history")
        self._cpu_at_begin_s = time.process_time()

    async def _write_history(self) -> None:
        """Write what waits in small portions, so that no user waits for it, unless the rounds do that in between."""
        while self.writes_while_users_work:
            await asyncio.sleep(WRITE_EVERY_S)
            while self._history is not None and self._history.waiting:
                self._history.write_out(WRITTEN_AT_ONCE)
                await asyncio.sleep(0)

    def write_history(self) -> None:
        """Write what waits, at a moment in which nothing is measured."""
        if self._history is not None:
            self._history.write_out()

    async def close(self) -> None:
        """Close every connection and the history."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        await self._stack.aclose()
        if self._history is not None:
            self._history.close()

    # -- users --------------------------------------------------------------------------------

    @property
    def environment(self) -> str | None:
        """Why the target was not reached; None when it was."""
        return self._environment

    @property
    def able(self) -> bool:
        """Whether users can run generations: False when the target was not reached."""
        return self._environment is None and self._history is not None and not self._ending

    async def generate(
        self,
        user: int,
        number: int,
        make_stream: MakeStream,
        deadline_s: float,
        habits: Habits | None = None,
    ) -> Ending:
        """Run one whole generation of one user. Never raises: failures are in the outcome of `settle`."""
        if not self.able:
            return "stopped"
        work = self._generate(user, number, make_stream, deadline_s, habits or Habits())
        task = asyncio.create_task(work, name=f"user {user}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise

    def finished(self, user: int) -> None:
        """Note that this user has run all their generations."""
        self._finished_users.add(user)

    async def _generate(
        self, user: int, number: int, make_stream: MakeStream, deadline_s: float, habits: Habits
    ) -> Ending:
        assert self._history is not None
        self._begun_users.add(user)
        self.count["started"] += 1
        label = f"user-{user}"
        try:
            account = await self._user(label)
        except ToolkitError as error:
            self.count["failed"] += 1
            if len(self.failures) < MAX_FAILURES_TOLD:
                self.failures.append(f"{label}: {self.target.redact(error.what)}")
            return "failed"
        session = Generation(
            self.target,
            self._history,
            self._take,
            label,
            account,
            number,
            self._verify,
            make_stream,
            self._clock_offset_s or 0.0,
            habits.think_s,
            habits.comes_back,
        )
        begun = time.perf_counter()
        problem: str | None = None
        drive = generation.realtime if self.transport == "realtime" else generation.websocket
        try:
            async with asyncio.timeout(deadline_s):
                await drive(session)
        except asyncio.CancelledError:
            self.count["stopped"] += 1
            return "stopped"
        except TimeoutError:
            problem = f"not finished within {deadline_s:g} s, after {session.events} events"
        except (ClientError, GenerationFailed) as error:
            problem = error.what if isinstance(error, ClientError) else str(error)
        except OSError as error:
            problem = f"{type(error).__name__}: {error}"
        finally:
            self._reconnects += session.reconnects
            self._missed_live += session.missed_live
            if session.start_cut_off:
                self._cut_off.add(user)
            if session.process is not None:
                self._owners[session.process] = label
        if problem is None:
            self.count["completed"] += 1
            return "completed"
        self._fail(session, (time.perf_counter() - begun) * 1000, problem)
        return "failed"

    def _fail(self, session: Generation, ms: float, problem: str) -> None:
        self.count["failed"] += 1
        problem = self.target.redact(problem)
        if len(self.failures) < MAX_FAILURES_TOLD:
            self.failures.append(f"{session.name} ({session.process or 'never started'}): {problem}")
        session.history.add("note", f"user:{session.user}", "failed", process=session.process, error=problem)
        self._measure(GENERATION if session.process else START, ms, problem)

    def _take(self, figure: str, ms: float, error: str | None = None) -> None:
        self.samples.setdefault(figure, Samples()).add(ms, time.time())
        self._measure(figure, ms, error)

    async def _user(self, label: str) -> Account:
        assert self._accounts is not None, "open first"
        self._users[label] = await self._accounts.of(label)
        return self._users[label]

    def _token(self, label: str) -> str:
        return self._users[label].token

    # -- the end ------------------------------------------------------------------------------

    async def settle(self) -> Outcome:
        """Cancel what still runs, read what the database holds, judge it, and return the outcome."""
        self._ending = True
        cpu_s = round(time.process_time() - self._cpu_at_begin_s, 2)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        checks: tuple[Check, ...] = ()
        counts: dict[str, float] = {}
        notes: list[str] = []
        if self._history is not None and self._environment is None:
            if self._bystander is not None:
                await self._bystander.close()
            try:
                await self._read()
            except EnvironmentError_ as error:
                self._history.add("note", "run", "stopped", error=f"{error.what} {error.remedy}")
            facts = gather(self._history.records)
            checks, counts, notes = check_history(
                facts, self.transport, sql=self.target.database_url is not None, clock_known=self._clock_known
            )
            if self._clock_offset_s:
                counts["clock offset"] = round(self._clock_offset_s * 1000, 3)
        if self._accounts is not None:
            await self._accounts.aclose()
            notes += self._accounts.left_behind
        counts["CPU of the load generator"] = cpu_s
        counts["reconnects"] = self._reconnects
        counts["missed live"] = self._missed_live
        return Outcome(
            worker=self.worker,
            users=len(self._begun_users),
            finished_users=len(self._finished_users),
            started=self.count["started"],
            completed=self.count["completed"],
            failed=self.count["failed"],
            stopped=self.count["stopped"],
            failures=tuple(self.failures),
            samples={name: samples.kept for name, samples in self.samples.items()},
            moments={name: samples.moments for name, samples in self.samples.items()},
            counts=counts,
            checks=checks,
            notes=tuple(notes),
            histories=(self.path.name,) if self._history is not None else (),
            environment=self._environment,
        )

    @property
    def _clock_known(self) -> bool:
        return self._clock_offset_s is not None

    async def _read(self) -> None:
        """Add to the history what the database holds of every process, and processes that no start was answered
        with."""
        assert self._history is not None
        witness = self._witness
        assert witness is not None
        history = self._history
        history.add("note", "run", "store", value={"read": witness.store})
        if not await witness.has_log():
            history.add("note", "database", "no-event-log")
        gate = asyncio.Semaphore(READ_AT_ONCE)

        async def one(process: str) -> None:
            async with gate:
                for event in await witness.events(process):
                    history.add(
                        "db",
                        "database",
                        "event",
                        process=process,
                        seq=event.sequence,
                        event_id=event.id,
                        value=event.value,
                    )
                rows = await witness.rows(process)
                if rows.state is not None:
                    history.add("db", "database", "state", process=process, value=rows.state)
                if rows.articles is not None:
                    kept = [{key: value for key, value in row.items() if key != "content"} for row in rows.articles]
                    history.add("db", "database", "articles", process=process, value={"rows": kept})
                if rows.tasks is not None:
                    history.add("db", "database", "tasks", process=process, value={"rows": rows.tasks})

        async def strays(user: int) -> None:
            label = f"user-{user}"
            async with gate:
                account = self._users.get(label)  # None for a user who could not be signed in
                for process in await witness.processes_of(label, account.subject) if account else ():
                    if process not in self._owners:
                        history.add("db", f"user:{label}", "stray", process=process)

        await asyncio.gather(*(one(process) for process in list(self._owners)))
        await asyncio.gather(*(strays(user) for user in sorted(self._begun_users - self._cut_off)))


async def reach(target: Target) -> None:
    """Return when the API gives any answer at all. Raises EnvironmentError_ when it gives none."""
    url = f"{target.get('API_URL')}/health/live"
    try:
        async with asyncio.timeout(REACH_DEADLINE_S), httpx.AsyncClient(timeout=REACH_DEADLINE_S) as http:
            await http.get(url)
    except (httpx.HTTPError, TimeoutError, OSError) as error:
        raise EnvironmentError_(
            f"The API at {target.api_url} does not answer: {type(error).__name__}: {error}",
            "Start it, or correct API_URL.",
        ) from error


async def must_offer(target: Target, transport: Transport) -> None:
    """Raises EnvironmentError_ when the API says that it does not offer `transport`; one that says nothing is
    believed."""
    try:
        async with asyncio.timeout(REACH_DEADLINE_S), httpx.AsyncClient(timeout=REACH_DEADLINE_S) as http:
            answer = await http.get(f"{target.get('API_URL')}/health/ready")
        offered = answer.json().get("transport")
    except (httpx.HTTPError, TimeoutError, OSError, ValueError, AttributeError):
        return  # an API of another make, which tells its readiness otherwise or not at all
    if offered in _OFFERS and transport not in _OFFERS[offered]:
        raise EnvironmentError_(
            f"The API at {target.api_url} does not offer {transport}: it says that its transport is {offered}.",
            "Start it with GENERATION_TRANSPORT=both, or load the transport that it has.",
        )


async def clock_offset(database_url: str) -> float:
    """Seconds to add to our clock to get the database's, from the quickest of several round trips.

    Raises EnvironmentError_ when the database does not answer.
    """
    try:
        conn = await asyncpg.connect(database_url, timeout=REACH_DEADLINE_S, statement_cache_size=0)
        try:
            best = (float("inf"), 0.0)
            for _ in range(CLOCK_TRIES):
                before = time.time()
                theirs = float(await conn.fetchval(clock.NOW, timeout=REACH_DEADLINE_S))
                after = time.time()
                best = min(best, (after - before, theirs - (before + after) / 2))
        finally:
            await conn.close(timeout=REACH_DEADLINE_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise EnvironmentError_(
            f"The database does not answer: {type(error).__name__}: {error}", "Check DATABASE_URL and the database."
        ) from error
    # An offset within half the round trip is noise: clocks of one machine are not to be corrected by it.
    return best[1] if abs(best[1]) > best[0] / 2 else 0.0
