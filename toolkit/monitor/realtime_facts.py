"""The doctor's facts about the Realtime endpoint: from requests, and from the events of a probe."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from contextlib import AsyncExitStack
from dataclasses import replace

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from toolkit.checks.absent import Absent
from toolkit.checks.facts import Answer, Delivery, Fact, Overheard, Realtime, Subscription
from toolkit.errors import ToolkitError
from toolkit.monitor.api_facts import answer, ask, http
from toolkit.monitor.probe import Subscriber, probe_process
from toolkit.monitor.probe_users import ProbeUsers
from toolkit.monitor.questions import not_set, why
from toolkit.targets.target import Target
from toolkit.tokens import mint_api_key

EVENTS = 3
# Seconds for which a subscriber who must receive nothing is watched after the owner has received everything.
SILENCE_S = 0.5
NOT_WRITTEN = Absent(
    "nothing was written, so nothing could arrive",
    "Allow a probe: it writes events to a process of its own and removes it (--yes, or say yes when asked).",
)


async def realtime_facts(target: Target, users: ProbeUsers | Absent, *, may_write: bool, deadline_s: float) -> Realtime:
    """Gather the facts. Without `may_write` a subscription is tried, but no event is written for it."""
    if target.supabase_url is None:
        return Realtime(*([not_set("SUPABASE_URL")] * 7))
    health = await _health(target)
    if target.anon_key is None:
        return Realtime(health, *([not_set("SUPABASE_ANON_KEY")] * 6))
    facts = Realtime(
        health=health,
        handshake=await _handshake(target, target.anon_key, deadline_s),
        wrong_key=await _wrong_key(target, deadline_s),
    )
    if isinstance(users, Absent):
        return replace(facts, subscription=users, delivery=users, anon=users, stranger=users)
    try:
        if may_write:
            return await _with_events(target, users, facts, deadline_s)
        return await _without_events(target, users, facts, deadline_s)
    except (ToolkitError, OSError) as error:
        absent = why(error)
        # How far the subscription came is known even when the writes failed.
        facts = await _without_events(target, users, facts, deadline_s)
        return replace(facts, delivery=absent, anon=absent, stranger=absent)


async def _health(target: Target) -> Fact[Answer]:
    async with http(target.get("SUPABASE_URL")) as client:
        client.headers["apikey"] = target.anon_key or ""
        return answer(target, await ask(client, target, "/realtime/v1/health"))


async def _handshake(target: Target, key: str, deadline_s: float) -> str | Absent:
    """Why the socket was refused; "" when it opened."""
    base = target.get("SUPABASE_URL").replace("http", "ws", 1)
    try:
        async with (
            asyncio.timeout(deadline_s),
            connect(f"{base}/realtime/v1/websocket?apikey={key}&vsn=1.0.0", proxy=None, open_timeout=deadline_s),
        ):
            return ""
    except InvalidStatus as refusal:
        return f"refused with {refusal.response.status_code}"
    except (InvalidHandshake, InvalidURI, OSError) as error:
        said = f"no socket: {type(error).__name__}" + (f": {error}" if str(error) else "")
        return target.redact(said.replace(key, "***"))


async def _wrong_key(target: Target, deadline_s: float) -> Fact[str]:
    said = await _handshake(target, mint_api_key(secrets.token_urlsafe(48), "anon"), deadline_s)
    if isinstance(said, str) and said.startswith("no socket"):
        return Absent(said, "See RT-2.")
    return said


async def _without_events(target: Target, users: ProbeUsers, facts: Realtime, deadline_s: float) -> Realtime:
    async with Subscriber(target, str(uuid.uuid4()), users.owner.token, deadline_s=deadline_s) as owner:
        await owner.settled()
        return replace(
            facts,
            subscription=_subscription(target, owner),
            delivery=NOT_WRITTEN,
            anon=NOT_WRITTEN,
            stranger=NOT_WRITTEN,
        )


async def _with_events(target: Target, users: ProbeUsers, facts: Realtime, deadline_s: float) -> Realtime:
    async with AsyncExitStack() as stack:
        probe = await stack.enter_async_context(probe_process(target, users.owner))
        tokens = {
            "owner": users.owner.token,
            "anon": target.get("SUPABASE_ANON_KEY"),
            "stranger": users.stranger.token,
        }
        owner, anon, stranger = [
            await stack.enter_async_context(Subscriber(target, probe.process_id, token, deadline_s=deadline_s))
            for token in tokens.values()
        ]
        live = (await asyncio.gather(owner.settled(), anon.settled(), stranger.settled()))[0]
        facts = replace(facts, subscription=_subscription(target, owner))
        if not live:
            absent = Absent("the owner's subscription was not live", "See RT-4.")
            return replace(facts, delivery=absent, anon=absent, stranger=absent)
        written = [await probe.write() for _ in range(EVENTS)]
        ids = frozenset(event.id for event in written)
        arrived = await owner.received(ids)
        sent = {event.id: event.sent_at for event in written}
        received = [(id, at) for id, at in owner.rows if id in sent]
        delivery = Delivery(
            tuple(sent),
            tuple(id for id, _ in received),
            tuple((at - sent[id]) * 1000 for id, at in received),
            deadline_s,
        )
        if not arrived:
            # That others receive nothing proves nothing unless the owner receives the events.
            absent = Absent("its owner did not receive the event either", "See RT-5.")
            leaks = [_overheard(target, other) if other.rows else absent for other in (anon, stranger)]
            return replace(facts, delivery=delivery, anon=leaks[0], stranger=leaks[1])
        await asyncio.sleep(max(SILENCE_S, 3 * max(delivery.latencies_ms, default=0) / 1000))
        return replace(facts, delivery=delivery, anon=_overheard(target, anon), stranger=_overheard(target, stranger))


def _subscription(target: Target, seen: Subscriber) -> Subscription:
    after = None if seen.live_after_s is None else seen.live_after_s * 1000
    return Subscription(seen.is_joined, seen.is_live, after, target.redact(seen.trouble))


def _overheard(target: Target, seen: Subscriber) -> Fact[Overheard]:
    if not seen.rows and not seen.is_joined and not seen.trouble:
        return Absent("it got no answer to its join, so its silence says nothing", "See RT-4.")
    return Overheard(len(seen.rows), target.redact(seen.trouble))
