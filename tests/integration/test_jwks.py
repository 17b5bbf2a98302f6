"""Keys fetched from a real HTTP server: rotated, missing, late, and a server that is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reference_server.tokens.token import BadSignature, KeysUnavailable
from reference_server.tokens.verifier import TokenVerifier
from tests.support.golden import serving
from tests.support.waiting import Gate
from toolkit.postgres.cluster import free_port

KEYS = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("first", "second")}


class KeyServer:
    """A JWKS endpoint; the verifier's clock is ours, so that ages need no waiting."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.published = ["first"]
        self.status = 200
        self.requests = 0
        self.answering = Gate()
        self.answering.open()
        self.asked = Gate()
        self.port = 0

    async def answer(self, _: Request) -> Response:
        self.requests += 1
        self.asked.open()
        await self.answering.wait()
        algorithm = jwt.get_algorithm_by_name("ES256")
        keys = [algorithm.to_jwk(KEYS[kid].public_key(), as_dict=True) | {"kid": kid} for kid in self.published]
        return JSONResponse({"keys": keys}, self.status)

    def verifier(self, timeout_s: float = 5.0) -> TokenVerifier:
        url = f"http://127.0.0.1:{self.port}/auth/v1/.well-known/jwks.json"
        return TokenVerifier(jwks_url=url, clock=lambda: self.now, timeout_s=timeout_s)


def token(kid: str) -> str:
    claims = {"role": "authenticated", "sub": kid, "exp": 1_000_000}
    return jwt.encode(claims, KEYS[kid], "ES256", headers={"kid": kid})


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    keys = KeyServer()
    app = Starlette(routes=[Route("/auth/v1/.well-known/jwks.json", keys.answer)])
    async with serving(app) as port:
        keys.port = port
        yield keys
        keys.answering.open()


async def test_keys_are_rotated_without_a_restart(server: KeyServer) -> None:
    async with server.verifier() as verifier:
        assert (await verifier.verify(token("first"))).subject == "first"
        with pytest.raises(BadSignature):
            await verifier.verify(token("second"))
        server.published, server.now = ["first", "second"], server.now + 11
        assert (await verifier.verify(token("second"))).subject == "second"
        assert (await verifier.verify(token("first"))).subject == "first"
        server.published, server.now = ["second"], server.now + 601
        with pytest.raises(BadSignature):
            await verifier.verify(token("first"))
        assert (await verifier.verify(token("second"))).subject == "second"
        assert server.requests == 3


@pytest.mark.parametrize("trouble", ["refused", "500", "silent"])
async def test_without_the_key_server_a_token_is_neither_good_nor_bad(server: KeyServer, trouble: str) -> None:
    if trouble == "refused":
        server.port = free_port()
    elif trouble == "500":
        server.status = 500
    else:
        server.answering.close()
    async with server.verifier(timeout_s=0.2) as verifier:
        for _ in range(2):  # the second within the time in which nothing is asked again
            with pytest.raises(KeysUnavailable):
                await verifier.verify(token("first"))


async def test_a_new_key_is_not_called_wrong_while_the_key_server_is_away(server: KeyServer) -> None:
    async with server.verifier() as verifier:
        await verifier.verify(token("first"))
        server.published, server.status, server.now = ["first", "second"], 503, server.now + 11
        for _ in range(2):
            with pytest.raises(KeysUnavailable):
                await verifier.verify(token("second"))
        assert (await verifier.verify(token("first"))).subject == "first"
        server.status, server.now = 200, server.now + 11
        assert (await verifier.verify(token("second"))).subject == "second"


async def test_a_slow_key_server_delays_one_request_and_not_all(server: KeyServer) -> None:
    async with server.verifier() as verifier:
        await verifier.verify(token("first"))
        server.now += 601
        server.answering.close()
        server.asked.close()
        refreshing = asyncio.create_task(verifier.verify(token("first")))
        await server.asked.wait()
        assert (await asyncio.wait_for(verifier.verify(token("first")), 2)).subject == "first"
        assert not refreshing.done()
        server.answering.open()
        assert (await refreshing).subject == "first"
