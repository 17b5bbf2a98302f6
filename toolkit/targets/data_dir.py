"""The folder of an embedded target: its lock, its secrets, what runs there, and what a crash left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from toolkit.errors import EnvironmentError_, RefusalError, UsageError
from toolkit.report.record import shortened
from toolkit.tokens import mint_api_key

DEFAULT_DATA_DIR = Path(".toolkit") / "embedded"
_OURS = frozenset(
    {
        "lock",
        "starting",
        "secrets.json",
        "running.json",
        "servers.json",
        "up.log",
        "logs",
        "postgres",
        "postgres.password",
    }
)


@dataclass(frozen=True)
class ProjectKeys:
    """The secrets of a Supabase project: the JWT secret and the two API keys made with it."""

    jwt_secret: str = field(repr=False)
    anon_key: str = field(repr=False)
    service_role_key: str = field(repr=False)


@dataclass(frozen=True)
class RunningTarget:
    """What `toolkit up` records for other processes about a running target."""

    pid: int
    started_at: str
    api_url: str
    database_url: str = field(repr=False)
    transport: str
    servers: dict[str, str]
    postgres_port: int | None = None


class DataDir:
    """The folder; `with DataDir(path):` holds its lock.

    Raises EnvironmentError_ when another process holds the lock, UsageError when the folder holds something else.
    """

    def __init__(self, path: Path = DEFAULT_DATA_DIR) -> None:
        self.path = path.expanduser().resolve()
        self._lock_fd: int | None = None

    @property
    def postgres(self) -> Path:
        """The data folder of the Postgres cluster."""
        return self.path / "postgres"

    @property
    def logs(self) -> Path:
        """The folder of the logs, one for each server."""
        return self.path / "logs"

    # -- lock ---------------------------------------------------------------------------------

    def __enter__(self) -> DataDir:
        self._refuse_strangers()
        self.path.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _locked(fd):
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
            os.close(fd)
            raise self.in_use(holder)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._lock_fd = fd
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def holder(self) -> int | None:
        """The pid of the process that holds the lock, or None."""
        try:
            fd = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(fd, 32, 0).decode(errors="replace").strip()
            return int(text) if text.isdigit() else None
        finally:
            os.close(fd)
        return None

    def in_use(self, holder: int | str) -> EnvironmentError_:
        """The error for a folder that process `holder` has locked."""
        return EnvironmentError_(
            f"{self.path} is in use by process {holder or '(unknown)'}.",
            f"Stop it with `toolkit down --data {self.path}`, or choose another folder with --data.",
        )

    @property
    def was_started(self) -> bool:
        """Whether a target was ever started here in a process of its own."""
        return (self.path / "starting").exists()

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Exclude other starts of a target here for the length of the block: until the new process serves.

        The folder must exist. Raises EnvironmentError_ naming the process that is already starting one.
        """
        fd = os.open(self.path / "starting", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _locked(fd):
                starter = os.pread(fd, 32, 0).decode(errors="replace").strip()
                raise EnvironmentError_(
                    f"A target is being started in {self.path} by process {starter or '(unknown)'}.",
                    "Wait until it serves; then the same command shows its addresses.",
                )
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(fd)

    # -- secrets ------------------------------------------------------------------------------

    def keys(self) -> ProjectKeys:
        """The project's keys, made at the first call and kept in a file that only its owner can read.

        Raises EnvironmentError_ when that file is damaged.
        """
        path = self.path / "secrets.json"
        if path.exists():
            try:
                return ProjectKeys(**json.loads(path.read_text()))
            except (ValueError, TypeError) as error:
                raise EnvironmentError_(
                    f"The keys in {path} cannot be read: {type(error).__name__}.",
                    "Delete that file for new keys; tokens made with the old ones end with them.",
                ) from error
        secret = secrets.token_urlsafe(48)
        keys = ProjectKeys(secret, mint_api_key(secret, "anon"), mint_api_key(secret, "service_role"))
        self._write_private(path, asdict(keys))
        return keys

    # -- what runs ----------------------------------------------------------------------------

    def announce(self, running: RunningTarget) -> None:
        """Record for other processes what runs here."""
        self._write_private(self._running, asdict(running))

    def withdraw(self) -> None:
        """Remove that record."""
        self._running.unlink(missing_ok=True)

    def running(self) -> RunningTarget | None:
        """What runs here now, or None; a record whose process is gone does not count."""
        try:
            told = RunningTarget(**json.loads(self._running.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return told if self.holder() == told.pid else None

    def record_servers(self, pids: dict[str, int]) -> None:
        """Record the server processes, so that the next start can end those that a crash left behind."""
        self._write_private(self._servers, {name: [pid, _born(pid)] for name, pid in pids.items()})

    def end_leftovers(self) -> list[str]:
        """Kill the servers that a crashed run left behind; returns their names. The caller holds the lock."""
        try:
            recorded: dict[str, Any] = json.loads(self._servers.read_text())
        except (FileNotFoundError, ValueError):
            return []
        ended = []
        for name, (pid, born) in recorded.items():
            # The start time distinguishes our process from a later one with the same pid.
            if born is not None and _born(pid) == born:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                    ended.append(name)
        self._servers.unlink(missing_ok=True)
        self.withdraw()
        return ended

    def delete(self) -> None:
        """Remove the folder, which no process may be using. Raises RefusalError when it holds files that are not
        ours."""
        self._refuse_strangers()
        foreign = sorted(entry.name for entry in self.path.iterdir() if entry.name.removesuffix(".new") not in _OURS)
        if foreign:
            raise RefusalError(
                f"{self.path} also holds {', '.join(shortened(foreign, 5))}, which no target made; nothing was "
                "deleted.",
                "Move it elsewhere, or delete the folder yourself.",
            )
        shutil.rmtree(self.path)

    # -- plumbing -----------------------------------------------------------------------------

    @property
    def _lock(self) -> Path:
        return self.path / "lock"

    @property
    def _running(self) -> Path:
        return self.path / "running.json"

    @property
    def _servers(self) -> Path:
        return self.path / "servers.json"

    def _refuse_strangers(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise UsageError(f"{self.path} is a file, not a folder.", "Choose a folder with --data.")
        if any(self.path.iterdir()) and not self._lock.exists():
            raise UsageError(
                f"{self.path} holds files that are not of an embedded target.",
                "Choose an empty or a new folder with --data.",
            )

    def _write_private(self, path: Path, content: object) -> None:
        fresh = path.with_name(path.name + ".new")
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            json.dump(content, file)
        fresh.replace(path)


def _locked(fd: int) -> bool:
    # `holder` takes the lock for an instant to see whether it is free, so a failure is tried again.
    for _ in range(5):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.02)
    return False


def _born(pid: int) -> str | None:
    """When the process started, in the kernel's ticks; None when it is gone or the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rsplit(")", 1)[1].split()[19]
