"""What is attacked: the Realtime endpoint as a process, on a database with rows of two users; loopback only."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import jwt
from websockets.asyncio.client import ClientConnection, connect

SECRET = "red-team-secret-with-at-least-32-characters"
TABLES = """
create table public.red (id int primary key, owner text not null, note text not null);
alter table public.red enable row level security;
alter table public.red replica identity full;
create policy own on public.red for select to authenticated using (owner = (auth.jwt() ->> 'sub'));
alter publication supabase_realtime add table public.red;
"""
DEADLINE_S = 30.0


def token(sub: str | None, role: str = "authenticated", **claims: Any) -> str:
    """A token of the target's secret."""
    body = {"role": role, "exp": int(time.time()) + 3600, **({} if sub is None else {"sub": sub}), **claims}
    return jwt.encode(body, SECRET, "HS256")


@dataclass
class Socket:
    """A plain client of protocol 2.0.0."""

    connection: ClientConnection
    _refs: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def push(self, topic: str, event: str, payload: Any) -> None:
        ref = str(next(self._refs))
        await self.connection.send(json.dumps([ref, ref, topic, event, payload]))

    async def join(self, topic: str, *filters: str) -> None:
        """Ask to join, with a binding for each filter; an empty one means every row."""
        bindings = [
            {"event": "*", "schema": "public", "table": "red", **({"filter": text} if text else {})} for text in filters
        ]
        await self.push(topic, "phx_join", {"config": {"postgres_changes": bindings}})

    async def until(self, event: str) -> Any:
        """The payload of the next message of this event."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message = json.loads(await self.connection.recv())
                if message[3] == event:
                    return message[4]


@dataclass
class Target:
    """A running endpoint and connections to its database."""

    port: int
    pid: int
    pool: asyncpg.Pool
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def socket(self, raw_token: str) -> AsyncIterator[Socket]:
        url = f"ws://127.0.0.1:{self.port}/realtime/v1/websocket?vsn=2.0.0&apikey={raw_token}"
        async with connect(url, ping_interval=None, close_timeout=1, max_size=None) as connection:
            yield Socket(connection)

    async def insert(self, owner: str, note: str = "") -> int:
        """A row; its id."""
        number = next(self._ids)
        await self.pool.execute("insert into public.red values ($1, $2, $3)", number, owner, note)
        return number

    def memory_mb(self) -> float:
        """Resident memory of the endpoint."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@asynccontextmanager
async def running_target(dsn: str) -> AsyncIterator[Target]:
    """Start the endpoint on a bare database; it has ended afterwards."""
    pool = await asyncpg.create_pool(
        dsn, min_size=1, max_size=2, timeout=10, server_settings={"synchronous_commit": "on"}
    )
    await pool.execute(TABLES)
    environment = os.environ | {"DATABASE_URL": dsn, "SUPABASE_JWT_SECRET": SECRET, "LOG_LEVEL": "CRITICAL"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "reference_server.realtime"), env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), DEADLINE_S)
        yield Target(int(line.decode().rsplit(":", 1)[1]), process.pid, pool)
    finally:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10)
        if process.returncode is None:
            process.kill()
        pool.terminate()
