"""Checks of the API and of the Realtime endpoint."""

from __future__ import annotations

from toolkit.checks.absent import known
from toolkit.checks.facts import Answer, Facts
from toolkit.checks.named_check import check, failed, none_of, passed, unknown
from toolkit.report.record import Check

API, REALTIME = "API", "Realtime"
_REFUSED = frozenset({401, 403})
_PROXY = "Check the address, that the server runs, and what stands between here and it."


def _said(answer: Answer) -> str:
    return f"{answer.status} {answer.body}".strip()


@check("API-1", "The API answers", group=API, remedy=_PROXY)
def api_alive(facts: Facts) -> Check:
    answer = known(facts.api.live)
    return passed(_said(answer)) if answer.status == 200 else failed(_said(answer))


@check(
    "API-2",
    "The API says it is ready",
    group=API,
    remedy="Its answer names what it lacks: the database, the replication stream, the workers.",
)
def api_ready(facts: Facts) -> Check:
    answer = known(facts.api.ready)
    if answer.status == 404:
        raise unknown("it has no /health/ready", "Ask its makers how it says that it is ready.")
    if answer.status != 200:
        return failed(_said(answer))
    pooled = facts.api.connection == "transaction_pooler"
    warning = "it reaches its database through a transaction pooler: workers poll for tasks" if pooled else ""
    return passed("ready", warning=warning)


@check(
    "API-3",
    "A user's token is accepted",
    group=API,
    remedy="The API verifies tokens with another secret: give it this project's SUPABASE_JWT_SECRET (or JWKS).",
)
def token_accepted(facts: Facts) -> Check:
    answer = known(facts.api.with_token)
    if answer.status in _REFUSED:
        return failed(_said(answer))
    if answer.status != 200:
        raise unknown(f"it answered {_said(answer)}, which says nothing about the token", "See API-1 and API-2.")
    return passed("accepted")


@check(
    "API-4",
    "A wrong token and no token are refused",
    group=API,
    remedy="Stop the API and make it verify signatures: whoever can reach it is every user now.",
)
def wrong_token_refused(facts: Facts) -> Check:
    answers = {
        "a token of another secret": known(facts.api.with_wrong_token),
        "no token": known(facts.api.with_no_token),
    }
    let_in = [f"{what}: {answer.status}" for what, answer in answers.items() if answer.status < 300]
    if not let_in and not all(answer.status in _REFUSED for answer in answers.values()):
        seen = ", ".join(f"{what}: {answer.status}" for what, answer in answers.items())
        raise unknown(f"neither let in nor refused ({seen})", "See API-1 and API-2.")
    return none_of(let_in, "let in", "refused")


@check(
    "API-5",
    "New processes may use Realtime",
    group=API,
    remedy="Set GENERATION_TRANSPORT to both or realtime, or PUT /api/internal/transport on each API process.",
)
def transport_allows(facts: Facts) -> Check:
    transport = known(facts.api.transport)
    if transport == "websocket":
        return failed("GENERATION_TRANSPORT is websocket: starts over HTTP are refused with 409")
    return passed(f"GENERATION_TRANSPORT is {transport}")


@check(
    "API-6",
    "The background task queue can be asked for",
    group=API,
    remedy="Its answer says what is wrong; on a legacy schema: toolkit migrate up.",
)
def queue_answers(facts: Facts) -> Check:
    answer = known(facts.api.queue)
    return passed(answer.body) if answer.status == 200 else failed(_said(answer))


@check(
    "RT-1",
    "Realtime says it is healthy",
    group=REALTIME,
    remedy="Its answer says what is away; on Supabase look at the project's status page.",
)
def realtime_healthy(facts: Facts) -> Check:
    answer = known(facts.realtime.health)
    if answer.status == 404:
        raise unknown("there is no /realtime/v1/health", "The checks below show whether it works.")
    return passed(_said(answer)) if answer.status == 200 else failed(_said(answer))


@check(
    "RT-2",
    "The socket opens with the anon key",
    group=REALTIME,
    remedy="Check SUPABASE_URL and SUPABASE_ANON_KEY, that proxies pass WebSockets on, and that the project is not "
    "paused.",
)
def handshake(facts: Facts) -> Check:
    trouble = known(facts.realtime.handshake)
    return failed(trouble) if trouble else passed("opened")


@check(
    "RT-3",
    "The socket does not open with a key of somebody else",
    group=REALTIME,
    remedy="Make Realtime verify the key: give it the project's JWT secret.",
)
def wrong_key_refused(facts: Facts) -> Check:
    refused = known(facts.realtime.wrong_key)
    return passed(refused) if refused else failed("a key signed with another secret was accepted")


@check(
    "RT-4",
    "A subscription is joined and goes live",
    group=REALTIME,
    remedy="An error names the table or the token. Joined and never live: the publication or the replication stream "
    "(PUB-1, PUB-2, DB-2, DB-3).",
)
def subscription_live(facts: Facts) -> Check:
    seen = known(facts.realtime.subscription)
    if seen.live:
        return passed("live" if seen.live_after_ms is None else f"live after {seen.live_after_ms:.0f} ms")
    return failed(f"{'joined, but never live' if seen.joined else 'not joined'}: {seen.trouble or 'no answer in time'}")


@check(
    "RT-5",
    "An event reaches its owner",
    group=REALTIME,
    remedy="Joined and silent: the table is not published (PUB-2), the trigger is off (TRG-1), or row security hides "
    "the row from its owner (RLS-2, GRT-1). Subscribe with the user's token, not with the anon key.",
)
def event_delivered(facts: Facts) -> Check:
    delivery = known(facts.realtime.delivery)
    missing = len(set(delivery.written) - set(delivery.received))
    seen = f"{len(delivery.written) - missing} of {len(delivery.written)} events"
    if missing:
        return failed(f"{seen} within {delivery.deadline_s:g} s")
    worst = f", at the latest after {max(delivery.latencies_ms):.0f} ms" if delivery.latencies_ms else ""
    return passed(f"{seen}{worst}")


@check(
    "RT-6",
    "Events arrive once and in the order they were written",
    group=REALTIME,
    remedy="Number events by create_process_event alone; clients must order by event_sequence and drop doubles "
    "(ProcessEventStream does).",
)
def event_order(facts: Facts) -> Check:
    delivery = known(facts.realtime.delivery)
    if not delivery.received:
        raise unknown("nothing arrived", "See RT-5.")
    doubled = len(delivery.received) - len(set(delivery.received))
    ordered = tuple(sorted(set(delivery.received), key=delivery.written.index)) == tuple(
        dict.fromkeys(delivery.received)
    )
    if doubled or not ordered:
        return failed(f"{doubled} doubled{'' if ordered else ', out of order'}")
    return passed("they did")


@check(
    "RT-7",
    "The anon key alone does not show events",
    group=REALTIME,
    remedy="Enable row level security on process_events and revoke select from anon (RLS-1, GRT-2).",
)
def anon_hears_nothing(facts: Facts) -> Check:
    heard = known(facts.realtime.anon)
    if heard.received:
        return failed(f"{heard.received} events reached a subscriber without a user")
    return passed(f"refused: {heard.refused}" if heard.refused else "joined, and heard nothing")


@check(
    "RT-8",
    "Another user's token does not show events",
    group=REALTIME,
    remedy="The SELECT policies of process_events and generated_articles_state must compare the owner with "
    "auth.jwt() ->> 'sub'.",
)
def stranger_hears_nothing(facts: Facts) -> Check:
    heard = known(facts.realtime.stranger)
    if heard.received:
        return failed(f"{heard.received} events reached another user")
    return passed(f"refused: {heard.refused}" if heard.refused else "joined, and heard nothing")
