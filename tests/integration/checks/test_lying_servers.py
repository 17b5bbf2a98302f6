"""An API that says yes to everybody, or that lives in another time: seen over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.integration.checks.conftest import results
from tests.support.pgbouncer import pooled
from toolkit.checks import ALL
from toolkit.checks.facts import Facts
from toolkit.monitor.api_facts import api_facts
from toolkit.monitor.probe_users import probe_users
from toolkit.monitor.realtime_facts import realtime_facts
from toolkit.report.record import Check, Verdict
from toolkit.targets.target import Target
from toolkit.tokens import mint_api_key

SECRET = "test-secret-that-is-at-least-32-bytes-long"


@asynccontextmanager
async def answering(status: str, *, body: str = "{}", ahead: timedelta = timedelta()) -> AsyncIterator[Target]:
    """A server that gives every request the same answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(20):
            await reader.readuntil(b"\r\n\r\n")
            date = format_datetime(datetime.now(UTC) + ahead, usegmt=True)
            head = f"HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Length: {len(body)}\r\nConnection: close"
            writer.write(f"{head}\r\n\r\n{body}".encode())
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield Target("external", None, url, url, mint_api_key(SECRET, "anon"), None, SECRET)
    finally:
        server.close()
        await server.wait_closed()


async def examine(target: Target) -> dict[str, Check]:
    async with probe_users(target, may_write=False) as users:
        api = await api_facts(target, users)
        realtime = await realtime_facts(target, users, may_write=False, deadline_s=2)
    facts = Facts(now=0, api=api, realtime=realtime)
    return {check.id: check.run(facts) for check in ALL}


def failing(found: dict[str, Check]) -> set[str]:
    return {id for id, check in found.items() if check.verdict is Verdict.FAIL}


async def test_an_api_that_lets_everybody_in() -> None:
    async with answering("200 OK", body='{"transport": "both"}') as target:
        found = await examine(target)
    assert failing(found) == {"API-4", "RT-2", "RT-4"}
    assert found["API-5"].verdict is Verdict.PASS


async def test_a_server_in_trouble_and_in_another_time() -> None:
    async with answering("503 Service Unavailable", body=f"no {SECRET}", ahead=timedelta(hours=-1)) as target:
        found = await examine(target)
    assert failing(found) == {"CLK-2", "API-1", "API-2", "API-6", "RT-1", "RT-2", "RT-4"}
    assert found["API-3"].verdict is found["API-4"].verdict is Verdict.UNKNOWN
    assert "-36" in found["CLK-2"].witness[0] or "-359" in found["CLK-2"].witness[0]
    assert not any(SECRET in f"{check.detail}{check.remedy}" for check in found.values())


async def test_a_transaction_pooler_is_a_finding(emptied_db: str) -> None:
    async with pooled(emptied_db) as address:
        found = {check.id: check for check in await results(address)}
    assert (found["DB-5"].verdict, "session pooler" in found["DB-5"].remedy) == (Verdict.FAIL, True)
    assert found["DB-1"].verdict is found["DB-6"].verdict is Verdict.PASS, "its other answers hold all the same"
    assert found["MIG-1"].verdict is Verdict.UNKNOWN
    assert "transaction pooler" in found["MIG-1"].detail


async def test_an_api_behind_a_transaction_pooler_is_ready_and_said_to_be_there() -> None:
    body = '{"transport": "both", "checks": {"database": {"connection": "transaction_pooler"}}}'
    async with answering("200 OK", body=body) as target:
        found = await examine(target)
    assert found["API-2"].verdict is Verdict.PASS
    assert "transaction pooler" in str(found["API-2"].evidence)
