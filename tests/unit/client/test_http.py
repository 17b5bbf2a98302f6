"""What is repeated, what is not, and what an error says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
import uvicorn

from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.sockets.router import uvicorn_options
from toolkit.client.auth import TokenSource
from toolkit.client.errors import ApiError, NotReached
from toolkit.client.generation import GenerationClient
from toolkit.client.http import KEEPALIVE_S, RetryPolicy
from toolkit.tokens import mint

PID = "7b1d2c3e-0000-0000-0000-000000000000"
QUICK = RetryPolicy(attempts=3, base_s=0.001, cap_s=0.002)
STARTED = {"process_id": PID, "realtime_channel": "c", "status": "started", "message": "", "subscription_info": {}}
STATE = {"process_id": PID, "status": "paused", "is_waiting_for_input": False}


class Server:
    """Answers from a list; an exception in it is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.tokens: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.tokens.append(request.headers["authorization"])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer


def client(server: Callable[[httpx.Request], httpx.Response], token: Any = "t") -> GenerationClient:
    http = httpx.AsyncClient(transport=httpx.MockTransport(server))
    return GenerationClient("http://api", token, http=http, retry=QUICK)


def ok(body: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=body, headers=headers)


async def test_a_read_is_repeated_when_there_is_no_answer() -> None:
    server = Server(httpx.ReadTimeout("slow"), httpx.Response(503), ok(STATE))
    assert (await client(server).get_state(PID)).status == "paused"
    assert len(server.requests) == 3


async def test_a_start_is_repeated_under_one_idempotency_key() -> None:
    server = Server(httpx.ReadError("cut"), ok(STARTED, 201))
    await client(server).start_article_generation(initial_keywords=["a"])
    keys = {request.headers["idempotency-key"] for request in server.requests}
    assert len(server.requests) == 2
    assert len(keys) == 1


async def test_what_is_not_safe_to_repeat_is_not_and_the_outcome_is_unknown() -> None:
    server = Server(httpx.ReadError("cut"))
    with pytest.raises(NotReached) as caught:
        await client(server).resume(PID)
    assert not caught.value.definite
    assert "may or may not" in caught.value.remedy


async def test_what_was_never_sent_is_safe_to_repeat() -> None:
    server = Server(*(httpx.ConnectError("refused") for _ in range(3)))
    with pytest.raises(NotReached) as caught:
        await client(server).resume(PID)
    assert len(server.requests) == 3
    assert caught.value.definite


async def test_a_refusal_is_typed_and_not_repeated() -> None:
    told = {"code": "illegal_transition", "message": "no", "remedy": "wait", "details": [1], "request_id": "r1"}
    server = Server(httpx.Response(409, json={"error": told}))
    with pytest.raises(ApiError) as caught:
        await client(server).pause(PID)
    error = caught.value
    assert (error.status, error.code, error.message, error.remedy) == (409, "illegal_transition", "no", "wait")
    assert (error.request_id, error.details, len(server.requests)) == ("r1", [1], 1)


async def test_another_servers_error_page_is_an_error_in_words() -> None:
    server = Server(httpx.Response(404, text="<html>Bearer abcdefghijkl not found"))
    with pytest.raises(ApiError) as caught:
        await client(server).get_state(PID)
    assert caught.value.code == "http_error"
    assert "abcdefghijkl" not in str(caught.value)


@pytest.mark.parametrize("body", [[], {"process_id": PID}, "text", None])
async def test_an_answer_of_another_shape_is_said(body: Any) -> None:
    with pytest.raises(ApiError) as caught:
        await client(Server(ok(body))).get_state(PID)
    assert caught.value.code == "bad_response"


async def test_a_refused_token_is_renewed_once() -> None:
    tokens = iter([mint("s" * 32, sub="u", ttl_s=1000), mint("s" * 32, sub="u", ttl_s=2000)])

    async def provide() -> str:
        return next(tokens)

    server = Server(httpx.Response(401), ok(STATE))
    await client(server, provide).get_state(PID)
    assert len(set(server.tokens)) == 2
    fixed = Server(httpx.Response(401))
    with pytest.raises(ApiError):
        await client(fixed).get_state(PID)


async def test_a_token_is_renewed_before_it_expires() -> None:
    calls = []

    async def provide() -> str:
        calls.append(1)
        return mint("s" * 32, sub="u", ttl_s=1 if len(calls) == 1 else 3600)

    source = TokenSource(provide)
    first = await source.get()
    assert source.renew_at() is not None
    source._obtained -= 100  # as if it had been used for a while
    assert await source.get() != first
    assert await source.get() == await source.get()
    assert len(calls) == 2


async def test_a_provider_that_fails_is_asked_again_like_a_server_that_is_away() -> None:
    outcomes = iter([httpx.ConnectError("auth is away"), KeyError("x"), "good"])

    async def provide() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    server = Server(ok(STATE))
    await client(server, provide).get_state(PID)
    assert server.tokens == ["Bearer good"]


@pytest.mark.parametrize("returned", [None, "", b"token"])
async def test_a_provider_that_gives_up_ends_in_words(returned: Any) -> None:
    async def provide() -> Any:
        return returned

    server = Server(ok(STATE))
    with pytest.raises(NotReached, match=f"the provider returned {type(returned).__name__}") as caught:
        await client(server, provide).test_event(PID)
    assert caught.value.definite
    assert server.tokens == []


@pytest.mark.parametrize("skew_s", [-7200, -30, 0, 30, 7200])
async def test_a_token_is_renewed_in_time_whatever_our_clock_says(monkeypatch: pytest.MonkeyPatch, skew_s: int) -> None:
    """`skew_s`: how far our clock is ahead of the issuer's."""
    real, passed = time.time(), [0.0]
    monkeypatch.setattr("toolkit.client.auth.time.time", lambda: real + skew_s + passed[0])
    calls: list[float] = []

    async def provide() -> str:
        calls.append(passed[0])
        issued = int(real + passed[0])
        return jwt.encode({"iat": issued, "exp": issued + 3600, "sub": "u", "n": len(calls)}, "s" * 32)

    source = TokenSource(provide)
    for minute in range(180):
        passed[0] = minute * 60.0
        token = await source.get()
        expires = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})["exp"]
        assert expires > real + passed[0], "the server would refuse it"
    assert len(calls) == 4, "renewed about once an hour, neither never nor always"


async def test_events_come_with_what_the_headers_say() -> None:
    rows = [{"id": "e1", "event_type": "t", "event_sequence": 3, "event_data": {"a": 1}, "process_id": PID}]
    server = Server(ok(rows, **{"X-Last-Sequence": "9", "X-Oldest-Sequence": "3"}))
    page = await client(server).events(PID, 2, 50, ["a", "b"])
    assert (page.last_sequence, page.oldest_sequence, page.events[0].sequence) == (9, 3, 3)
    assert dict(server.requests[0].url.params) == {"since_sequence": "2", "limit": "50", "event_types": "a,b"}


async def test_all_events_are_read_page_by_page() -> None:
    def rows(*sequences: int) -> httpx.Response:
        return ok([{"id": f"e{s}", "event_type": "t", "event_sequence": s} for s in sequences])

    server = Server(rows(1, 2), rows(3), rows())
    assert [e.sequence for e in await client(server).events_since(PID)] == [1, 2, 3]
    assert [r.url.params["since_sequence"] for r in server.requests] == ["0", "2", "3"]


def test_who_sends_lets_go_of_an_idle_connection_before_any_server_closes_it() -> None:
    """A request that meets the close is lost without an answer: our clients are sooner than a server's five seconds,
    our servers later than other clients and load balancers."""
    usual = uvicorn.Config(app="none").timeout_keep_alive
    assert KEEPALIVE_S < usual < 60 < uvicorn_options(Limits())["timeout_keep_alive"]
