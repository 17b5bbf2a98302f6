"""Server processes under supervision: started with their secrets in the environment, stopped for certain."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from toolkit.environment import HOW_TO_GET
from toolkit.errors import EnvironmentError_
from toolkit.redact import redact

READY_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
_READY = re.compile(rb"^ready (https?://\S+)")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ServerHandle:
    """One server process: its address, its log, and how to end it.

    The process leads a group of its own, so that Ctrl-C reaches it only through us. On Linux it is
    killed when the thread that started it ends, whatever ended that thread: start servers from the
    thread that outlives them.
    """

    def __init__(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], log_path: Path, *, cwd: Path | None = None
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.env = dict(env)
        self.log_path = log_path
        self.cwd = cwd
        self._process: asyncio.subprocess.Process | None = None
        self._pump: asyncio.Task[None] | None = None
        self._url: asyncio.Future[str] | None = None

    # -- facts --------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The address the server announced; it must be ready."""
        assert self._url is not None, "the server was never started"
        assert self._url.done(), "await wait_ready() first"
        return self._url.result()

    @property
    def pid(self) -> int:
        """The process id, also that of its group."""
        assert self._process is not None, "the server was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.returncode is None

    @property
    def returncode(self) -> int | None:
        """The exit code (negative: the signal that ended it), or None while it runs."""
        return None if self._process is None else self._process.returncode

    def log_tail(self, lines: int = 20) -> str:
        """The end of the log, secrets masked."""
        if not self.log_path.exists():
            return "(no log)"
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - 64 * 1024))
            text = log.read().decode(errors="replace")
        return redact("\n".join(text.splitlines()[-lines:]), *_secrets(self.env)) or "(the log is empty)"

    # -- life cycle ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the process; `wait_ready` tells when it serves."""
        assert not self.running, f"{self.name} runs already"
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        log = os.fdopen(os.open(self.log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "wb", buffering=0)
        # A pipe of our own: asyncio's would keep `wait` from returning while a grandchild holds it open.
        reading, writing = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=log,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),
            )
        except BaseException:
            os.close(reading)
            log.close()
            raise
        finally:
            os.close(writing)
        self._url = asyncio.get_running_loop().create_future()
        self._pump = asyncio.create_task(
            self._read_output(self._process, self._url, os.fdopen(reading, "rb", buffering=0), log),
            name=f"log of {self.name}",
        )

    async def wait_ready(self, deadline_s: float = READY_DEADLINE_S) -> str:
        """The server's address, once it serves.

        Raises EnvironmentError_ with the end of its log when it exits or takes longer than `deadline_s`.
        """
        assert self._url is not None, "the server was never started"
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.shield(self._url)
        except TimeoutError:
            raise EnvironmentError_(
                f"The server {self.name} was not ready within {deadline_s:g} s.\n{self.log_tail()}",
                f"Read the log: {self.log_path}",
            ) from None
        except ChildProcessError as error:
            raise EnvironmentError_(
                f"The server {self.name} {error}.\n{self.log_tail()}", f"Read the log: {self.log_path}"
            ) from None

    async def stop(self, grace_s: float = STOP_DEADLINE_S) -> None:
        """Ask it to end (SIGTERM), wait up to `grace_s` seconds, then kill its group. Harmless when it is gone."""
        if not self.running:
            return
        self.send_signal(signal.SIGTERM)
        try:
            await self.wait_exited(grace_s)
        except BaseException as error:
            self.kill()
            await self.wait_exited(STOP_DEADLINE_S)
            if not isinstance(error, TimeoutError):
                raise
        else:
            # What it may have left behind in its group has no business after it.
            self._signal_group(signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL to the whole group: what a crash looks like. Harmless when it is gone."""
        if self.running:
            self._signal_group(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone; harmless when it is gone."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait_exited(self, deadline_s: float | None = None) -> int:
        """The exit code, once the process has ended and its log is complete. Raises TimeoutError."""
        assert self._process is not None
        async with asyncio.timeout(deadline_s):
            code = await self._process.wait()
        if self._pump is not None:
            # A grandchild may hold the pipe open; the log is then as complete as it gets.
            await asyncio.wait({self._pump}, timeout=2)
            self._pump.cancel()
        return code

    async def _read_output(
        self, process: asyncio.subprocess.Process, url: asyncio.Future[str], output: IO[bytes], log: BinaryIO
    ) -> None:
        stream = asyncio.StreamReader(limit=1024 * 1024)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), output
        )
        with log, contextlib.closing(transport):
            try:
                while line := await _line(stream):
                    log.write(line)
                    if not url.done() and (ready := _READY.match(line)):
                        url.set_result(ready.group(1).decode().rstrip("/"))
            finally:
                if not url.done():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(5):
                            await process.wait()
                    url.set_exception(ChildProcessError(_ending(process.returncode)))
                    url.exception()  # nobody may be waiting; then the log alone tells

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


def server_environment(**values: str) -> dict[str, str]:
    """Our own environment without any target's settings, plus `values`."""
    inherited = {name: value for name, value in os.environ.items() if name not in HOW_TO_GET}
    return {**inherited, "PYTHONUNBUFFERED": "1", **values}


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # a line longer than the reader's limit
        return await stream.read(1024 * 1024)


def _ending(code: int | None) -> str:
    if code is None:
        return "closed its output before it was ready"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name} before it was ready"
    return f"exited with code {code} before it was ready"


def _secrets(env: Mapping[str, str]) -> list[str]:
    return [value for name, value in env.items() if "SECRET" in name or "KEY" in name or "PASSWORD" in name]


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    if _libc is None:
        return None
    libc = _libc

    def set_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return set_death_signal
