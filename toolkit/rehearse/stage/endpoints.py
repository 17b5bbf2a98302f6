"""Calls every endpoint of the guide, once with a valid request and once with one that it must refuse."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from toolkit.client.errors import ApiError, ClientError
from toolkit.client.generation import GenerationClient
from toolkit.contract.prompts import InputType
from toolkit.rehearse.traffic.user_generation import ANSWERS, BODY
from toolkit.targets.target import Target

DEADLINE_S = 60.0
POLL_S = 0.05


@dataclass(frozen=True)
class Asked:
    """One request and its outcome; `error` is '' when the answer was the expected one."""

    endpoint: str
    error: str = ""
    milliseconds: float = 0.0


class _Wrong(Exception):
    pass


async def ask_every_endpoint(target: Target, user: str = "user_endpoints") -> tuple[Asked, ...]:
    """Call all of them, on processes of `user`; the first two processes are paused, finished and cancelled on the
    way."""
    asked: list[Asked] = []

    async def ask(endpoint: str, work: Callable[[], Awaitable[None]]) -> None:
        began = time.monotonic()
        error = ""
        try:
            async with asyncio.timeout(DEADLINE_S):
                await work()
        except (ClientError, _Wrong, TimeoutError, OSError) as failure:
            error = f"{type(failure).__name__}: {str(failure).splitlines()[0] if str(failure) else 'no answer in time'}"
        asked.append(Asked(endpoint, error, (time.monotonic() - began) * 1000))

    async with GenerationClient(target.get("API_URL"), target.user_token(user)) as client:
        tour = _Tour(client)
        for endpoint, work in tour.stations:
            await ask(endpoint, work)
    return tuple(asked)


class _Tour:
    """The calls, in an order that matters: each uses what those before it left."""

    def __init__(self, client: GenerationClient) -> None:
        self.client = client
        self.process = str(uuid.UUID(int=0))
        self.other = self.process
        self.stations: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("POST /generation/start", self.start),
            ("POST /generation/start, invalid", self.invalid_start),
            ("GET /generation/{id}", self.state),
            ("GET /generation/{id}, unknown", self.unknown),
            ("GET /generation", self.listing),
            ("GET /generation/{id}/realtime-info", self.realtime_info),
            ("POST /generation/{id}/user-input", self.user_input),
            ("POST /generation/{id}/user-input, not asked", self.wrong_input),
            ("GET /generation/{id}/events", self.events),
            ("POST /generation/{id}/events/{event_id}/acknowledge", self.acknowledge),
            ("POST /generation/{id}/test-event", self.test_event),
            ("POST /generation/{id}/pause", self.pause),
            ("POST /generation/{id}/resume", self.resume),
            ("DELETE /generation/{id}", self.cancel),
            ("GET /internal/background-tasks/status", self.tasks),
        )

    async def start(self) -> None:
        started = await self.client.start_article_generation(**BODY)
        expected = {"table": "process_events", "filter": f"process_id=eq.{started.process_id}"}
        given = {name: started.subscription_info.get(name) for name in expected}
        _expect(started.status, "started")
        _expect(started.realtime_channel, f"process_{started.process_id}")
        _expect(given, expected)
        self.process = started.process_id

    async def invalid_start(self) -> None:
        await self._refused(422, lambda: self.client.start_article_generation(initial_keywords=[]))

    async def state(self) -> None:
        _expect((await self.client.get_state(self.process)).process_id, self.process)

    async def unknown(self) -> None:
        await self._refused(404, lambda: self.client.get_state(str(uuid.uuid4())))

    async def listing(self) -> None:
        listed = await self.client.list_processes(limit=10)
        _expect(self.process in {row["process_id"] for row in listed.processes}, True)

    async def realtime_info(self) -> None:
        _expect((await self.client.realtime_info(self.process)).realtime_channel, f"process_{self.process}")

    async def user_input(self) -> None:
        asked = await self._until_asked(self.process)
        response, payload = ANSWERS[asked]
        answered = await self.client.submit_user_input(self.process, response, payload)
        _expect(answered.status, "input_received")

    async def wrong_input(self) -> None:
        await self._until_asked(self.process)
        await self._refused(
            409, lambda: self.client.submit_user_input(self.process, "select_persona", {"selected_id": 0})
        )

    async def events(self) -> None:
        events = await self.client.events_since(self.process)
        _expect([event.sequence for event in events], list(range(1, len(events) + 1)))
        page = await self.client.events(self.process, since_sequence=2, limit=3)
        _expect([event.sequence for event in page.events], [3, 4, 5])
        kinds = await self.client.events(self.process, event_types=["process_created"])
        _expect({event.type for event in kinds.events}, {"process_created"})

    async def acknowledge(self) -> None:
        first = (await self.client.events(self.process, limit=1)).events[0]
        await self.client.acknowledge(self.process, first.id)

    async def test_event(self) -> None:
        made = await self.client.test_event(self.process, "rehearsal")
        found = await self.client.events(self.process, since_sequence=made.event_sequence - 1, limit=1)
        _expect([event.type for event in found.events], ["test_event"])

    async def pause(self) -> None:
        _expect((await self.client.pause(self.process)).status, "paused")
        _expect((await self.client.get_state(self.process)).status, "paused")

    async def resume(self) -> None:
        resumed = await self.client.resume(self.process)
        _expect(resumed.status in {"resuming", "user_input_required"}, True)

    async def cancel(self) -> None:
        _expect((await self.client.cancel(self.process)).status, "cancelled")
        _expect((await self.client.get_state(self.process)).status, "cancelled")

    async def tasks(self) -> None:
        status = await self.client.background_tasks_status()
        _expect({"queue", "by_type", "workers", "expired_leases"} <= status.keys(), True)
        _expect(status["queue"]["completed"] > 0, True)

    async def _until_asked(self, process: str) -> InputType:
        while not (state := await self.client.get_state(process)).is_waiting_for_input:
            if state.status == "error":
                raise _Wrong(f"the process failed: {state.error_message}")
            await asyncio.sleep(POLL_S)
        return InputType(str(state.input_type))

    async def _refused(self, status: int, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except ApiError as error:
            _expect(error.status, status)
            _expect(bool(error.code and error.message and error.remedy), True)
            return
        raise _Wrong(f"it was accepted, and should have been refused with {status}")


def _expect(got: object, expected: object) -> None:
    if got != expected:
        raise _Wrong(f"expected {expected!r}, got {got!r}")
