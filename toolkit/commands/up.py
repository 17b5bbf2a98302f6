"""`toolkit up`: keep an embedded target running for a person."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import httpx

from toolkit.commands._options import data_option
from toolkit.commands._output import with_more
from toolkit.commands._run import run_async
from toolkit.contract.requests import Transport
from toolkit.errors import EnvironmentError_, ExitCode
from toolkit.redact import redact
from toolkit.report.record import Check, Report, Verdict, tool_version
from toolkit.server_process import ServerHandle
from toolkit.targets.data_dir import DataDir, Running
from toolkit.targets.embedded import EmbeddedTarget, Schema, running_target
from toolkit.targets.target import Target

DEMO_USER = "user_demo"
TOKEN_TTL_S = 24 * 3600
ANSWER_DEADLINE_S = 10.0
DETACH_DEADLINE_S = 120.0
# How the command line words an error, at the end of what the detached process said.
_ERROR = re.compile(r"^Error: (?P<what>.*)\n  → (?P<remedy>.*)\Z", re.DOTALL | re.MULTILINE)


@click.command("up")
@data_option
@click.option("--foreground", is_flag=True, help="Stay in the foreground until Ctrl-C.")
@click.option("--legacy", is_flag=True, help="The state before the migration: legacy schema, WebSocket transport.")
@click.option(
    "--transport",
    type=click.Choice([t.value for t in Transport]),
    default=None,
    help="GENERATION_TRANSPORT of the server. Default: realtime (websocket with --legacy).",
)
@click.option("--workers", type=click.IntRange(0, 64), default=0, help="Worker processes beside the server's own.")
@click.option(
    "--postgres-port",
    type=click.IntRange(1024, 65535),
    default=None,
    help="Also let Postgres listen on this loopback TCP port.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the server. Default: a free one.")
@click.option("--json", "as_json", is_flag=True, help="Print the addresses, keys and a token as JSON.")
def command(data_dir: Path, foreground: bool, as_json: bool, legacy: bool, transport: str | None, **rest: Any) -> None:
    """Start Postgres and the reference server, and keep them running.

    Returns when they serve; `toolkit down` stops them. The data stays in the folder named by --data.
    """
    started = datetime.now(UTC)
    if legacy and transport not in {None, Transport.WEBSOCKET}:
        raise click.UsageError("--legacy has no Realtime; use --transport websocket or leave --transport out.")
    if legacy and rest["workers"]:
        raise click.UsageError("--legacy has no background tasks, so --workers has nothing to do.")
    chosen = transport or (Transport.WEBSOCKET.value if legacy else Transport.REALTIME.value)
    wish = _Wish(legacy=legacy, transport=chosen, **rest)
    if foreground:
        run_async(_serve(data_dir, wish, as_json, started))
        return
    if (running := DataDir(data_dir).running()) is not None:
        # Whoever lost the addresses asks again; whoever wants other options has to stop it first.
        if running.transport != chosen:
            raise EnvironmentError_(
                f"It runs already, with transport {running.transport}.",
                f"Stop it first: toolkit down --data {data_dir}",
            )
        click.echo("It runs already, as it was started; this is where:", err=True)
    else:
        _detach(data_dir, wish.as_arguments())
    _show(data_dir, as_json, started, detached=True)


@dataclass(frozen=True)
class _Wish:
    legacy: bool
    transport: str
    workers: int
    postgres_port: int | None
    port: int

    def as_arguments(self) -> list[str]:
        arguments = ["--transport", self.transport, "--workers", str(self.workers), "--port", str(self.port)]
        arguments += ["--legacy"] if self.legacy else []
        return arguments + (["--postgres-port", str(self.postgres_port)] if self.postgres_port else [])


async def _serve(data_dir: Path, wish: _Wish, as_json: bool, started: datetime) -> None:
    schema: Schema = "legacy" if wish.legacy else "realtime"
    async with EmbeddedTarget(data_dir, schema=schema, postgres_port=wish.postgres_port) as embedded:
        if embedded.leftovers:
            click.echo(f"Ended what a crashed run had left: {', '.join(embedded.leftovers)}.", err=True)
        await embedded.start_server("api", transport=wish.transport, port=wish.port)
        for number in range(1, wish.workers + 1):
            await embedded.start_server(f"worker-{number}", roles=("worker",), transport=wish.transport)
        embedded.announce(wish.transport)
        _show(data_dir, as_json, started, detached=False)
        await _watch(list(embedded.servers.values()))


async def _watch(servers: list[ServerHandle]) -> None:
    """Return never; raise EnvironmentError_ when one of the servers ends by itself."""
    waits = {asyncio.ensure_future(server.wait_exited()): server for server in servers}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    ended = waits[done.pop()]
    raise EnvironmentError_(
        f"The server {ended.name} ended by itself with code {ended.returncode}.\n{ended.log_tail()}",
        f"Read the log: {ended.log_path}",
    )


def _detach(data_dir: Path, arguments: list[str]) -> None:
    data = DataDir(data_dir)
    with contextlib.ExitStack() as until_it_serves:
        if data.was_started:
            with data.starting():
                pass  # only to see that nobody else is at it: taking the lock below could get in that one's way
        if (holder := data.holder()) is not None:
            raise data.in_use(holder)
        with data:  # makes the folder, or says why it cannot be used
            until_it_serves.enter_context(data.starting())
            data.withdraw()
            log_path = data.path / "up.log"
            log_path.touch(mode=0o600)
        _launch(data, log_path, arguments)


def _launch(data: DataDir, log_path: Path, arguments: list[str]) -> None:
    argv = [sys.executable, "-m", "toolkit.cli", "up", "--foreground", "--json", "--data", str(data.path), *arguments]
    with log_path.open("wb") as log:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
        )
    try:
        _await_ready(data, child, log_path)
    except BaseException:
        child.terminate()
        child.wait(timeout=60)
        raise


def _await_ready(data: DataDir, child: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + DETACH_DEADLINE_S
    while True:
        running = data.running()
        if running is not None and running.pid == child.pid:
            return
        try:
            code: int | None = child.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            code = None
        if code is not None or time.monotonic() > deadline:
            if (holder := data.holder()) not in {None, child.pid}:
                raise data.in_use(holder or "")
            said = redact(log_path.read_text(errors="replace").strip())[-4000:]
            if code is not None and (told := _ERROR.search(said)) is not None:
                error = EnvironmentError_(told["what"], f"{told['remedy']}\n  Log: {log_path}")
                error.exit_code = ExitCode(code) if code in set(ExitCode) else ExitCode.ENVIRONMENT
                raise error
            how = f"ended with code {code}" if code is not None else f"was not ready within {DETACH_DEADLINE_S:g} s"
            raise EnvironmentError_(f"The target {how}:\n{said}", f"Logs: {data.logs}, {log_path}")


def _show(data_dir: Path, as_json: bool, started: datetime, *, detached: bool) -> None:
    data = DataDir(data_dir)
    running, target = data.running(), running_target(data_dir)
    if running is None or target is None:
        raise EnvironmentError_(f"What serves in {data.path} ended right after it was ready.", f"Logs: {data.logs}")
    url = f"{target.api_url}/health/live"
    # In the foreground its server was ready a moment ago, and is watched from now on.
    check = _answers(url) if detached else Check("api-answers", f"{url} answers", Verdict.PASS)
    token = target.user_token(DEMO_USER, ttl_s=TOKEN_TTL_S)
    if as_json:
        report = Report(
            "up",
            "The target is running",
            check.verdict,
            started,
            datetime.now(UTC),
            target.describe(),
            tool_version(),
            (check,),
        )
        click.echo(with_more(report, _facts(data, running, target, token)), nl=False)
    else:
        click.echo(_page(data, running, target, token, detached=detached))


def _answers(url: str) -> Check:
    try:
        httpx.get(url, timeout=ANSWER_DEADLINE_S, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise EnvironmentError_(
            f"The target runs, but {url} does not answer as it should: {error or type(error).__name__}.",
            "Stop it with `toolkit down` and start it again; `toolkit doctor` looks for the cause.",
        ) from error
    return Check("api-answers", f"{url} answers", Verdict.PASS)


def _facts(data: DataDir, running: Running, target: Target, token: str) -> dict[str, object]:
    return {
        "api_url": target.api_url,
        "docs_url": f"{target.api_url}/docs",
        "supabase_url": target.supabase_url,
        "realtime_url": f"{target.supabase_url}/realtime/v1",
        "database_url": target.database_url,
        "anon_key": target.anon_key,
        "service_role_key": target.service_role_key,
        "transport": running.transport,
        "servers": running.servers,
        "pid": running.pid,
        "data": str(data.path),
        "user": DEMO_USER,
        "token": token,
    }


def _page(data: DataDir, running: Running, target: Target, token: str, *, detached: bool) -> str:
    stop = f"toolkit down --data {shlex.quote(str(data.path))}" if detached else "Ctrl-C"
    body = json.dumps(
        {"initial_keywords": ["test", "article"], "target_age_group": "30代", "persona_type": "主婦"},
        ensure_ascii=False,
    )
    if running.transport == Transport.WEBSOCKET:
        first = f"curl -s {target.api_url}/api/articles/generation -H 'Authorization: Bearer {token}'"
    else:
        first = (
            f"curl -s -X POST {target.api_url}/api/articles/generation/start \\\n"
            f"    -H 'Content-Type: application/json' \\\n"
            f"    -H 'Authorization: Bearer {token}' \\\n"
            f"    -d '{body}'"
        )
    return f"""\
The target is running ({running.transport}); its data stays in {data.path}

  API              {target.api_url}/api/articles
  API reference    {target.api_url}/docs
  Realtime         {target.supabase_url}/realtime/v1
  Postgres         {target.database_url}
  anon key         {target.anon_key}
  service_role key {target.service_role_key}
  Logs             {data.logs}

Try it as {DEMO_USER} (the token is valid for a day):

  {first}

For other programs:  export SUPABASE_URL={target.supabase_url} API_URL={target.api_url}
Another token:       toolkit token --data {shlex.quote(str(data.path))} --sub user_x
Stop it:             {stop}"""
