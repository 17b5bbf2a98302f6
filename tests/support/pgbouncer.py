"""A real pgbouncer on a loopback port, in front of a cluster of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from toolkit.postgres.cluster import free_port

START_DEADLINE_S = 30
MISSING = "no pgbouncer here; Debian's package `pgbouncer` would run this test"


@contextlib.asynccontextmanager
async def pooled(
    dsn: str, mode: Literal["transaction", "session"] = "transaction", *, size: int = 20
) -> AsyncIterator[str]:
    """The address of a pooler for the database at `dsn`, a unix socket's; `size` Postgres sessions at most."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(MISSING)
    parts = urlsplit(dsn)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    database, port = parts.path.removeprefix("/"), free_port()
    with tempfile.TemporaryDirectory(prefix="rmt-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        config = folder / "pgbouncer.ini"
        # As Debian ships it where nothing is said: unknown start-up parameters are refused.
        config.write_text(
            "[databases]\n"
            f"{database} = host={query['host']} port={query.get('port', '5432')} dbname={database} "
            f"user={parts.username or 'postgres'}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = {mode}\ndefault_pool_size = {size}\nmax_client_conn = 300\n"
        )
        # It does not run as root, and the folder of Postgres' socket is its owner's alone.
        as_user = ["-u", Path(query["host"]).owner()] if getpass.getuser() == "root" else []
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                program, *as_user, str(config), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            address = f"postgresql://me@127.0.0.1:{port}/{database}"
            await _answers(address, process, folder / "log")
            yield address
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


async def _answers(address: str, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(START_DEADLINE_S):
        while process.returncode is None:
            try:
                await (await asyncpg.connect(address, timeout=5, statement_cache_size=0)).close()
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.02)
            else:
                return
    raise AssertionError(f"pgbouncer does not answer:\n{log.read_text()}")
