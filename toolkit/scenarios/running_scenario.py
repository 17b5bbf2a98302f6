"""A scenario while it runs: what its steps work with, and the processes they have started."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from toolkit.accounts import Account
from toolkit.client.events import EventPage
from toolkit.client.generation import GenerationClient
from toolkit.client.recovery import RecoveryLimits
from toolkit.client.stream import ProcessEventStream
from toolkit.contract.prompts import InputType
from toolkit.contract.steps import Flow
from toolkit.report.record import Verdict
from toolkit.scenarios.caller import Caller
from toolkit.scenarios.expect import Answer as HttpAnswer
from toolkit.scenarios.expect import named
from toolkit.scenarios.faults.control import Control
from toolkit.scenarios.model.scenario_file import (
    DEFAULT_ANSWERS,
    Answer,
    EditAnswer,
    Process,
    RawAnswer,
    Scenario,
    SelectAnswer,
)
from toolkit.scenarios.recorded.history import History
from toolkit.scenarios.sessions import BareSubscription, Session, SocketSession, StreamSession
from toolkit.scenarios.tracker import Tracker
from toolkit.scenarios.witness import Witness
from toolkit.targets.target import Target


@dataclass
class RunningProcess:
    """One process of the run. `tracker`: what its application was given; `stored`: what was read from the database."""

    name: str
    kind: str
    spec: Process
    id: str | None = None
    tracker: Tracker = field(default_factory=Tracker)
    stored: Tracker = field(default_factory=Tracker)
    session: Session | None = None
    sessions: int = 0
    answered: set[tuple[str, int]] = field(default_factory=set)

    @property
    def facts(self) -> dict[str, Any]:
        """What `{name.…}` in a step stands for."""
        return {
            "id": self.id,
            "article_id": self.tracker.article_id,
            "last_sequence": self.tracker.last_sequence or None,
        }


class RunningScenario:
    """Everything that the verbs of a scenario act on."""

    def __init__(
        self,
        scenario: Scenario,
        target: Target,
        *,
        transport: str,
        history: History,
        caller: Caller,
        witness: Witness,
        control: Control | None,
        api_url: str,
        events_url: str,
        users: Mapping[str, Account],
        say: Callable[[str], None],
        limits: RecoveryLimits | None = None,
        make_stream: Callable[..., ProcessEventStream] = ProcessEventStream,
    ) -> None:
        self.scenario = scenario
        self.target = target
        self.transport = transport
        self.history = history
        self.caller = caller
        self.witness = witness
        self.control = control
        self.api_url = api_url
        self.events_url = events_url
        self.users = users
        self.say = say
        self.limits = limits
        self.make_stream = make_stream
        self.changed = asyncio.Condition()
        self.processes: dict[str, RunningProcess] = {}
        self.owners: dict[str, str] = {}
        self._clients: dict[str, GenerationClient] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._bare: list[BareSubscription] = []
        self._notes = itertools.count(1)

    # -- processes ----------------------------------------------------------------------------

    def of(self, name: str) -> list[RunningProcess]:
        """The processes that a step's name stands for; empty when none was started."""
        return [process for process in self.processes.values() if name in (process.name, process.kind)]

    def add(self, name: str, kind: str, spec: Process) -> RunningProcess:
        """Add a process that is about to be started."""
        process = RunningProcess(name, kind, spec)
        self.processes[name] = process
        return process

    def identify(self, process: RunningProcess, process_id: str) -> None:
        """Record the id of a process; from now on the history contains it."""
        process.id = process_id
        self.owners[process_id] = process.spec.user
        body = process.spec.body
        self.history.add(
            "note",
            "run",
            "process",
            process=process_id,
            value={
                "name": process.name,
                "user": process.spec.user,
                "transport": self.transport,
                "flow": body.get("flow_type", Flow.RESEARCH_FIRST),
                "final_editing": body.get("enable_final_editing", True),
                "auto_mode": body.get("auto_mode", False),
                "readers": process.spec.readers,
            },
        )

    def open_session(self, process: RunningProcess) -> None:
        """Start a session of the owner's application on Realtime; it continues from what the last session was given."""
        assert process.id is not None
        process.sessions += 1
        actor = f"watch:{process.name}" + (f"#{process.sessions}" if process.sessions > 1 else "")
        since = process.tracker.last_sequence
        user, process_id = process.spec.user, process.id

        async def fetch(of: str, after: int) -> EventPage:
            return await self.client(user).events(of, after)

        session = StreamSession(
            self.history,
            process.tracker,
            lambda: self.on_event(process),
            actor=actor,
            user=user,
            process=process_id,
            since=since,
            stream=lambda tap: self.make_stream(
                self.events_url,
                self.target.get("SUPABASE_ANON_KEY"),
                process_id,
                token=self.users[user].tokens,
                fetch=fetch,
                since=since,
                limits=self.limits,
                tap=tap,
            ),
        )
        process.session = session
        session.start()

    def open_socket(self, process: RunningProcess) -> SocketSession:
        """Start a session on the legacy WebSocket, which also starts the process."""
        parts = urlsplit(self.events_url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        process.sessions += 1
        session = SocketSession(
            self.history,
            process.tracker,
            lambda: self.on_event(process),
            actor=f"watch:{process.name}" + (f"#{process.sessions}" if process.sessions > 1 else ""),
            user=process.spec.user,
            url=f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}",
            token=self.users[process.spec.user].token,
            body=process.spec.body,
            process=process.id,
            known=lambda found: self.identify(process, found),
        )
        process.session = session
        session.start()
        return session

    async def watch_everything(self) -> None:
        """Subscribe the users who watch everything they may see; returns when they are live, before anything is
        started."""
        for user, what in self.scenario.watch.items():
            if what == "everything":
                await self._subscribe(user, f"watch:{user}", None)

    async def watch_process(self, process: RunningProcess) -> None:
        """Subscribe the users who watch this process."""
        for user, what in self.scenario.watch.items():
            if what in (process.name, process.kind):
                await self._subscribe(user, f"watch:{user}:{process.name}", process.id)

    async def _subscribe(self, user: str, actor: str, process: str | None) -> None:
        bare = BareSubscription(
            self.history,
            actor=actor,
            user=user,
            url=self.target.get("SUPABASE_URL"),
            key=self.target.get("SUPABASE_ANON_KEY"),
            token=self.users[user].token,
            process=process,
        )
        self._bare.append(bare)
        try:
            await bare.open()
        except Exception as error:  # noqa: BLE001 - the judge of isolation then says unknown
            self.history.add("note", actor, "failed", process=process, error=f"{type(error).__name__}: {error}")
            self.say(f"? {user} could not subscribe: {error}")

    def client(self, user: str) -> GenerationClient:
        """The API client of a user's application; it reads for the stream only, and is not recorded."""
        if user not in self._clients:
            self._clients[user] = GenerationClient(self.api_url, self.users[user].tokens)
        return self._clients[user]

    # -- what happens meanwhile ---------------------------------------------------------------

    def on_event(self, process: RunningProcess) -> None:
        """Called after each event of an application: wake the steps that wait, and answer an open prompt if need be."""
        self.spawn(self._wake())
        prompt = process.tracker.open_prompt
        if prompt is None or process.spec.answers == "manual":
            return
        times = process.tracker.prompts_put[prompt]
        if (prompt, times) not in process.answered:
            process.answered.add((prompt, times))
            self.spawn(self._answer(process, InputType(prompt), times))

    async def give(self, process: RunningProcess, prompt: InputType | None, answer: Answer) -> HttpAnswer:
        """Send an answer over the process' transport; a 200 for the legacy one, which acknowledges nothing."""
        response_type, payload = request_of(prompt, answer)
        if not isinstance(answer, RawAnswer):
            payload = named(payload, process.name)
        if isinstance(process.session, SocketSession):
            await process.session.answer(response_type, payload)
            return HttpAnswer(200)
        assert process.id is not None
        return await self.caller.command(
            "answer",
            "POST",
            f"/api/articles/generation/{process.id}/user-input",
            process.spec.user,
            body={"response_type": response_type, "payload": payload},
            process=process.id,
        )

    async def _answer(self, process: RunningProcess, prompt: InputType, times: int) -> None:
        given = process.spec.answers
        assert given != "manual"
        answers = given.get(prompt) or DEFAULT_ANSWERS[prompt]
        answer = answers[min(times, len(answers)) - 1]
        title = f"{process.name}: the answer to {prompt} is accepted"
        try:
            got = await self.give(process, prompt, answer)
        except Exception as error:  # noqa: BLE001 - any error is the finding
            self.expectation(title, Verdict.FAIL, f"no answer came: {error}", process=process.id)
            return
        if got.status >= 300:
            self.expectation(title, Verdict.FAIL, got.words, process=process.id)

    async def _wake(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def expectation(
        self, title: str, verdict: Verdict, detail: str, *, process: str | None = None, remedy: str = ""
    ) -> None:
        """Record an expectation and its verdict; the report is made from these notes."""
        value = {"id": f"step-{next(self._notes)}", "title": title, "verdict": verdict, "detail": detail}
        self.history.add("note", "run", "expect", process=process, value={**value, "remedy": remedy})
        mark = {Verdict.PASS: "✔", Verdict.FAIL: "✘", Verdict.UNKNOWN: "?"}[verdict]
        self.say(f"{mark} {title}" + (f": {detail}" if verdict is not Verdict.PASS else ""))

    # -- tasks --------------------------------------------------------------------------------

    def spawn(self, work: Any) -> None:
        """Run a coroutine beside the steps; it is cancelled at the end of the run."""
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Close sessions and clients, and cancel everything that runs beside the steps."""
        await asyncio.gather(
            *(process.session.close() for process in self.processes.values() if process.session is not None),
            return_exceptions=True,
        )
        await asyncio.gather(*(bare.close() for bare in self._bare), return_exceptions=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(client.aclose() for client in self._clients.values()), return_exceptions=True)


def request_of(prompt: InputType | None, answer: Answer) -> tuple[str, dict[str, Any]]:
    """(response_type, payload) of an answer to `prompt`; without a prompt, those of the first prompt that takes such an
    answer."""
    if isinstance(answer, RawAnswer):
        return answer.response_type, answer.payload
    if isinstance(answer, EditAnswer):
        return "edit_and_proceed", {"edited_content": answer.edit}
    if isinstance(answer, SelectAnswer):
        key = "selected_index" if prompt is InputType.SELECT_THEME else "selected_id"
        return str(prompt or InputType.SELECT_PERSONA), {key: answer.select}
    if answer == "regenerate":
        return "regenerate", {}
    return str(prompt or InputType.APPROVE_PLAN), {"approved": answer == "approve"}
