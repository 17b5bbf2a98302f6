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
from typing import TYPE_CHECKING, Any

import click
import httpx

from toolkit.commands._click import json_option, option, toolkit_command
from toolkit.commands._options import data_option
from toolkit.commands._output import with_more
from toolkit.commands._project_mode import project_mode_option
from toolkit.commands._run import run_async
from toolkit.contract.requests import Transport
from toolkit.errors import EnvironmentError_, ExitCode
from toolkit.redact import redact
from toolkit.report.record import Check, Report, Verdict, tool_version
from toolkit.server_process import ServerHandle
from toolkit.targets.data_dir import DEFAULT_DATA_DIR, DataDir, RunningTarget
from toolkit.targets.embedded import EmbeddedTarget, Schema, running_target
from toolkit.targets.target import Target

if TYPE_CHECKING:
    from toolkit.migrate.folder.project_mode import ProjectMode

DEMO_USER = "user_demo"
ANSWER_DEADLINE_S = 10.0
DETACH_DEADLINE_S = 120.0
# How the command line words an error, at the end of what the detached process said.
_ERROR = re.compile(r"^Error: (?P<what>.*)\n  → (?P<remedy>.*)\Z", re.DOTALL | re.MULTILINE)


@toolkit_command("up", examples=("toolkit up", 'eval "$(toolkit up --env)"'))
@option("--foreground", is_flag=True, help="Stay in the foreground until Ctrl-C.")
@option("--env", "as_env", is_flag=True, help="Print addresses and keys, secrets too, as lines for the shell.")
@option("--legacy", is_flag=True, help="Make the system as it was before the migration, with WebSockets.")
@option(
    "--transport",
    type=click.Choice([t.value for t in Transport]),
    default=None,
    metavar="NAME",
    help="Offer websocket, both or realtime; realtime unless --legacy.",
)
@option(
    "--workers",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    metavar="N",
    help="Start this many worker processes beside the server's own.",
)
@option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Serve on this port, not on a free one.")
@option(
    "--postgres-port",
    type=click.IntRange(1024, 65535),
    default=None,
    metavar="N",
    help="Also let Postgres listen on this loopback TCP port.",
)
@project_mode_option
@json_option
@data_option(help="Keep the embedded target in this folder.")
def command(
    *, data_dir: Path, foreground: bool, as_env: bool, as_json: bool, legacy: bool, transport: str | None, **rest: Any
) -> None:
    """Start Postgres and the reference server, and keep them running.

    Each folder has its own: the system lives in --data of the folder you are in, and commands find it from there only.

    Returns when they serve, and shows where; one that runs already is shown again. `toolkit down` stops them. Keys are
    printed with --env only, as lines for the shell: API_URL, SUPABASE_URL, SUPABASE_ANON_KEY,
    SUPABASE_SERVICE_ROLE_KEY, SUPABASE_JWT_SECRET and DATABASE_URL.
    """
    started = datetime.now(UTC)
    if legacy and transport not in {None, Transport.WEBSOCKET}:
        raise click.UsageError("--legacy has no Realtime; use --transport websocket or leave --transport out.")
    if legacy and rest["workers"]:
        raise click.UsageError("--legacy has no background tasks, so --workers has nothing to do.")
    if as_env and (as_json or foreground):
        raise click.UsageError(
            "--env prints lines for the shell and returns, so it goes neither with --json nor with --foreground; ask "
            "again with --env once the target runs."
        )
    chosen = transport or (Transport.WEBSOCKET.value if legacy else Transport.REALTIME.value)
    wish = _Wish(legacy=legacy, transport=chosen, **rest)
    if foreground:
        run_async(_serve(data_dir, wish, as_json, started))
        return
    if (running := DataDir(data_dir).running()) is not None:
        # Whoever lost the addresses asks again; whoever wants other options has to stop it first.
        if running.transport != chosen and (legacy or transport):
            raise EnvironmentError_(
                f"It runs already, with transport {running.transport}.",
                f"Stop it first: toolkit down --data {data_dir}",
            )
        if not as_env:
            click.echo("It runs already, as it was started; this is where:", err=True)
    else:
        _detach(data_dir, wish.as_arguments())
    if as_env:
        _, _, target = _found(data_dir)
        click.echo(
            "".join(f"export {name}={_quoted(value)}\n" for name, value in target.environment().items()), nl=False
        )
    else:
        _show(data_dir, as_json, started, detached=True)


def _quoted(value: str) -> str:
    """As the shell reads it, in double quotes."""
    return '"' + re.sub(r'(["\\$`])', r"\\\1", value) + '"'


@dataclass(frozen=True)
class _Wish:
    legacy: bool
    transport: str
    workers: int
    postgres_port: int | None
    port: int
    project_mode: ProjectMode | None

    def as_arguments(self) -> list[str]:
        arguments = ["--transport", self.transport, "--workers", str(self.workers), "--port", str(self.port)]
        arguments += ["--legacy"] if self.legacy else []
        arguments += ["--project-mode", self.project_mode] if self.project_mode else []
        return arguments + (["--postgres-port", str(self.postgres_port)] if self.postgres_port else [])


async def _serve(data_dir: Path, wish: _Wish, as_json: bool, started: datetime) -> None:
    schema: Schema = "legacy" if wish.legacy else "realtime"
    async with EmbeddedTarget(
        data_dir, schema=schema, postgres_port=wish.postgres_port, project_mode=wish.project_mode or "old"
    ) as embedded:
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


def _found(data_dir: Path) -> tuple[DataDir, RunningTarget, Target]:
    data = DataDir(data_dir)
    running, target = data.running(), running_target(data_dir)
    if running is None or target is None:
        raise EnvironmentError_(f"What serves in {data.path} ended right after it was ready.", f"Logs: {data.logs}")
    return data, running, target


def _show(data_dir: Path, as_json: bool, started: datetime, *, detached: bool) -> None:
    data, running, target = _found(data_dir)
    url = f"{target.api_url}/health/live"
    # In the foreground its server was ready a moment ago, and is watched from now on.
    check = _answers(url) if detached else Check("api-answers", f"{url} answers", Verdict.PASS)
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
        click.echo(with_more(report, _facts(data, running, target)), nl=False)
    else:
        click.echo(_page(data, running, target, detached=detached))


def _answers(url: str) -> Check:
    try:
        httpx.get(url, timeout=ANSWER_DEADLINE_S, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise EnvironmentError_(
            f"The target runs, but {url} does not answer as it should: {error or type(error).__name__}.",
            "Stop it with `toolkit down` and start it again; `toolkit doctor` looks for the cause.",
        ) from error
    return Check("api-answers", f"{url} answers", Verdict.PASS)


def _facts(data: DataDir, running: RunningTarget, target: Target) -> dict[str, object]:
    return {
        "api_url": target.api_url,
        "docs_url": f"{target.api_url}/docs",
        "supabase_url": target.supabase_url,
        "realtime_url": f"{target.supabase_url}/realtime/v1",
        "database_url": redact(target.get("DATABASE_URL")),
        "transport": running.transport,
        "servers": running.servers,
        "pid": running.pid,
        "data": str(data.path),
    }


def _page(data: DataDir, running: RunningTarget, target: Target, *, detached: bool) -> str:
    here = "" if data.path == DEFAULT_DATA_DIR.resolve() else f" --data {shlex.quote(str(data.path))}"
    stop = f"toolkit down{here}" if detached else "Ctrl-C"
    body = json.dumps(
        {"initial_keywords": ["test", "article"], "target_age_group": "30代", "persona_type": "主婦"},
        ensure_ascii=False,
    )
    bearer = f'-H "Authorization: Bearer $(toolkit token{here})"'
    if running.transport == Transport.WEBSOCKET:
        first = f"curl -s {target.api_url}/api/articles/generation {bearer}"
    else:
        first = (
            f"curl -s -X POST {target.api_url}/api/articles/generation/start \\\n"
            f"    -H 'Content-Type: application/json' \\\n"
            f"    {bearer} \\\n"
            f"    -d '{body}'"
        )
    return f"""\
The target is running ({running.transport}); its data stays in {data.path}

  API            {target.api_url}/api/articles
  API reference  {target.api_url}/docs
  Realtime       {target.supabase_url}/realtime/v1
  Postgres       {redact(target.get("DATABASE_URL"))}
  Logs           {data.logs}

Try it as {DEMO_USER}:

  {first}

For other programs, with keys:  eval "$(toolkit up --env{here})"
Another user's token:           toolkit token{here} --sub user_x
Stop it:                        {stop}"""
