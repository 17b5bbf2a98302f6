"""The upgrade: a client that vanishes before it is answered is nobody's error."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import pytest

from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.sockets.socket import SocketEndpoint
from reference_server.realtime.standalone import create_service
from tests.support.golden import SECRET, mint


@pytest.mark.parametrize("key", ["", "potato", mint("authenticated:owner-a")])
async def test_a_client_that_is_gone_when_it_is_answered(key: str) -> None:
    limits = replace(Limits(), upgrade_refusal_delay_s=0)
    service = create_service("postgresql://nowhere.invalid/db", SECRET, limits=limits)
    attempts = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        attempts.append(message["type"])
        raise OSError("the client is gone")

    scope = {"query_string": f"apikey={key}".encode(), "headers": [], "extensions": {"websocket.http.response": {}}}
    await SocketEndpoint(service)(scope, receive, send)
    assert len(attempts) == 1
    assert service.facts().connections == 0
