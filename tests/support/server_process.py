"""Server processes for tests: started as a user starts them, stopped for certain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import asyncpg
import httpx
import jwt

from toolkit.resources import migrations_dir

SECRET = "test-secret-that-is-at-least-32-bytes-long"
START_DEADLINE_S = 30


def token(sub: str | None = "user_1", role: str = "authenticated", *, ttl_s: int = 3600, secret: str = SECRET) -> str:
    claims = {"role": role, "exp": int(time.time()) + ttl_s} | ({} if sub is None else {"sub": sub})
    return jwt.encode(claims, secret, algorithm="HS256")


def bearer(sub: str | None = "user_1", role: str = "authenticated") -> dict[str, str]:
    return {"Authorization": f"Bearer {token(sub, role)}"}


class RunningServer:
    def __init__(self, process: asyncio.subprocess.Process, url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self._log = log

    @property
    def ws_url(self) -> str:
        return self.url.replace("http://", "ws://", 1)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def wait(self, deadline_s: float = 20) -> int:
        async with asyncio.timeout(deadline_s):
            return await self.process.wait()

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.signal(signal.SIGTERM)
        return await self.wait()

    def client(self, sub: str | None = "user_1", role: str = "authenticated") -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=bearer(sub, role), timeout=20)


@contextlib.asynccontextmanager
async def running_server(
    dsn: str, *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[RunningServer]:
    """`python -m reference_server --port 0 …`, ready; killed at the end if it still runs."""
    with tempfile.TemporaryDirectory(prefix="rmt-server-") as folder:
        log = Path(folder) / "log"
        process = await launch(dsn, *arguments, env=env, log=log)
        try:
            yield RunningServer(process, await _ready(process, log), log)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def launch(dsn: str, *arguments: str, env: Mapping[str, str] | None, log: Path) -> asyncio.subprocess.Process:
    variables = {"PATH": os.environ["PATH"], "DATABASE_URL": dsn, "SUPABASE_JWT_SECRET": SECRET, **(env or {})}
    with log.open("wb") as stderr:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "reference_server",
            "--port",
            "0",
            *arguments,
            env=variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )


async def _ready(process: asyncio.subprocess.Process, log: Path) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(START_DEADLINE_S):
        line = (await process.stdout.readline()).decode()
    assert line.startswith("ready http://"), f"no ready line but {line!r}:\n{log.read_text()[-4000:]}"
    return line.split()[1]


async def apply_migrations(dsn: str) -> None:
    """The Realtime migration on a legacy database, each file as its header asks."""
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        for file in sorted(migrations_dir().glob("*.sql"))[1:]:
            text = file.read_text()
            if "-- toolkit: transaction=false" in text:
                for statement in filter(str.strip, text.split(";\n")):
                    await conn.execute(statement)
            else:
                await conn.execute(text)  # several statements at once are one transaction
    finally:
        await conn.close(timeout=5)
