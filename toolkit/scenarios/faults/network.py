"""Puts a proxy into each connection that the network faults of a run break."""

from __future__ import annotations

from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from toolkit.errors import EnvironmentError_
from toolkit.scenarios.faults.proxy import TcpProxy
from toolkit.scenarios.model.scenario_file import NETWORK, Scenario
from toolkit.targets.target import Target

Links = dict[str, TcpProxy]


async def open_links(stack: AsyncExitStack, scenario: Scenario, target: Target, transport: str, seed: int) -> Links:
    """Start a proxy for each of `websocket` and `http` that a fault of the scenario breaks.

    `websocket` carries the application's events: Realtime, or the API's legacy WebSocket. The proxies see plain TCP, so
    an https address raises EnvironmentError_.
    """
    links: Links = {}
    for name in sorted({fault.target for fault in scenario.faults if fault.op in NETWORK}):
        setting = "SUPABASE_URL" if name == "websocket" and transport == "realtime" else "API_URL"
        parts = urlsplit(target.get(setting))
        if parts.scheme != "http":
            raise EnvironmentError_(
                f"The network to {parts.hostname} cannot be broken from here: it is encrypted.",
                f"Run the scenario on --target embedded, or give an http:// {setting}.",
            )
        proxy = TcpProxy(parts.hostname or "127.0.0.1", parts.port or 80, path=parts.path, seed=seed)
        links[name] = await stack.enter_async_context(proxy)
    return links
