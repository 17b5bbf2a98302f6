"""Measures Realtime from a subscriber's side: new connections, one that is kept, and the delivery of events."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from prometheus_client.parser import text_string_to_metric_families

from toolkit.checks.absent import Absent
from toolkit.checks.facts import Answer, Fact
from toolkit.client.connection import Frame
from toolkit.client.errors import ClientError
from toolkit.client.stream import ProcessEventStream
from toolkit.errors import ToolkitError
from toolkit.monitor.api_facts import answer, ask, http
from toolkit.monitor.figures import Connections, Delivered, Realtime, Reconnections
from toolkit.monitor.probe import ProbeProcess, Subscriber, probe_process
from toolkit.monitor.questions import not_set, why
from toolkit.monitor.realtime_facts import NOT_WRITTEN
from toolkit.targets.target import Target

# Ends before its probe process is an hour old, from when on other runs may remove it.
OLDEST_S = 45 * 60.0
_SHOWN = ("realtime_", "worker_", "background_tasks_", "process_events_")


class RealtimeWatch:
    """A subscription kept as long as the watch; see `watching`."""

    def __init__(self, target: Target, probe: ProbeProcess, token: str, since: int, deadline_s: float) -> None:
        self._probe = probe
        self._deadline_s = deadline_s
        self._begun = time.monotonic()
        self._arrived: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self.stream = ProcessEventStream(
            target.get("SUPABASE_URL"),
            target.get("SUPABASE_ANON_KEY"),
            probe.process_id,
            token=token,
            fetch=probe.page,
            since=since,
            tap=self._see,
            join_timeout_s=max(1, round(deadline_s)),
        )

    @property
    def age_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._begun

    async def start(self) -> None:
        """Subscribe. Raises TimeoutError when nothing goes live within the deadline."""
        self._reader = asyncio.create_task(self._read(), name="probe stream")
        await self.stream.wait_live(self._deadline_s)

    async def aclose(self) -> None:
        """Close everything and remove what was made."""
        await self.stream.aclose()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})

    async def deliver(self, events: int) -> Delivered:
        """Write events one after another; returns the time of each from sending the write to the callback."""
        written = [await self._probe.write() for _ in range(events)]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._deadline_s):
                while not all(event.id in self._arrived for event in written):
                    self._changed.clear()
                    await self._changed.wait()
        arrived = [(self._arrived.pop(e.id) - e.sent_at) * 1000 for e in written if e.id in self._arrived]
        return Delivered(events, tuple(arrived))

    def reconnections(self) -> Reconnections:
        """The number of reconnections since the beginning."""
        return Reconnections(self.stream.reconnects, self.age_s)

    async def _read(self) -> None:
        # Delivery is timed from frames; the stream is read only so that its queue does not fill.
        with suppress(ClientError):
            async for _ in self.stream:
                pass

    def _see(self, frame: Frame) -> None:
        if frame.kind == "postgres_changes":
            record = frame.payload["data"].get("record") or {}
            self._arrived.setdefault(str(record.get("id")), frame.at)
            self._changed.set()


def token_for(target: Target, user: str) -> str | Absent:
    """A token that may read the events of `user`: the user's own, else the service_role key."""
    if target.jwt_secret is not None:
        return target.user_token(user)
    return target.service_role_key or not_set("SUPABASE_JWT_SECRET")


@asynccontextmanager
async def watching(target: Target, *, may_write: bool, deadline_s: float) -> AsyncIterator[RealtimeWatch | Absent]:
    """A watch for the length of the block, or the reason why there is none."""
    for name, value in (("SUPABASE_URL", target.supabase_url), ("SUPABASE_ANON_KEY", target.anon_key)):
        if value is None:
            yield not_set(name)
            return
    if not may_write:
        yield NOT_WRITTEN
        return
    watch: RealtimeWatch | Absent
    opened = probe_process(target)
    try:
        probe = await opened.__aenter__()
    except (ToolkitError, OSError) as error:
        yield why(error)
        return
    try:
        token = token_for(target, probe.user)
        if isinstance(token, Absent):
            yield token
            return
        try:
            history = (await probe.page(probe.process_id, 0)).events
        except ToolkitError as error:
            yield why(error)
            return
        watch = RealtimeWatch(target, probe, token, history[-1].sequence if history else 0, deadline_s)
        try:
            await watch.start()
        except (TimeoutError, ToolkitError) as error:
            await watch.aclose()
            said = error.what if isinstance(error, ToolkitError) else str(error)
            yield Absent(
                target.redact(f"the probe's subscription did not go live: {said}"), "toolkit doctor shows why."
            )
            return
        try:
            yield watch
        finally:
            await watch.aclose()
    finally:
        await opened.__aexit__(None, None, None)


async def realtime_sample(
    target: Target, watch: RealtimeWatch | Absent, *, connections: int, events: int, deadline_s: float
) -> Realtime:
    """One sample of Realtime; with a watch, delivery and reconnections are included."""
    delivered: Fact[Delivered]
    reconnections: Fact[Reconnections]
    if isinstance(watch, Absent):
        delivered = reconnections = watch
    else:
        try:
            delivered = await watch.deliver(events)
        except (ToolkitError, OSError) as error:
            delivered = why(error)
        reconnections = watch.reconnections()
    return Realtime(
        connections=await _connect(target, connections, deadline_s),
        delivered=delivered,
        reconnections=reconnections,
        health=await _health(target),
        server=await _metrics(target),
    )


async def _connect(target: Target, count: int, deadline_s: float) -> Fact[Connections]:
    """Time new connections until they are live; they subscribe to a process that does not exist, so nothing is read."""
    for name, value in (("SUPABASE_URL", target.supabase_url), ("SUPABASE_ANON_KEY", target.anon_key)):
        if value is None:
            return not_set(name)
    token = token_for(target, f"toolkit_probe_{uuid.uuid4().hex[:12]}")
    if isinstance(token, Absent):
        return token

    async def one() -> Subscriber:
        async with Subscriber(target, str(uuid.uuid4()), token, deadline_s=deadline_s) as subscriber:
            await subscriber.settled()
            return subscriber

    tried = await asyncio.gather(*(one() for _ in range(count)))
    times = tuple(s.live_after_s * 1000 for s in tried if s.live_after_s is not None)
    trouble = next((s.trouble for s in tried if s.live_after_s is None and s.trouble), "")
    return Connections(count, len(times), times, target.redact(trouble))


async def _health(target: Target) -> Fact[Answer]:
    if target.supabase_url is None:
        return not_set("SUPABASE_URL")
    async with http(target.supabase_url) as client:
        client.headers["apikey"] = target.anon_key or ""
        return answer(target, await ask(client, target, "/realtime/v1/health"))


async def _metrics(target: Target) -> Fact[Mapping[str, float]]:
    if target.api_url is None:
        return not_set("API_URL")
    async with http(target.api_url) as client:
        response = await ask(client, target, "/metrics")
    if isinstance(response, Absent):
        return response
    if response.status_code != 200:
        return Absent(f"/metrics answers {response.status_code}", "Open it to the machine that monitors.")
    try:
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
            if sample.name.startswith(_SHOWN) and not sample.labels and not sample.name.endswith("_created")
        }
    except ValueError as error:
        return Absent(f"/metrics is not in Prometheus' format: {error}", "Check the address of the API.")
