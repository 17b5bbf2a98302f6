"""Carries out the process faults: an embedded system whose servers may be killed and started again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, Protocol

from toolkit.errors import EnvironmentError_
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.run.api import migrate_up
from toolkit.resources import migrations_dir
from toolkit.targets.embedded import EmbeddedTarget
from toolkit.targets.target import Target

Victim = Literal["worker", "api"]
EXIT_DEADLINE_S = 15.0
ROLES: dict[Victim, tuple[str, ...]] = {"api": ("api", "realtime"), "worker": ("worker",)}


class Control(Protocol):
    """Kills and starts the processes of a system; there is no Control for an external target."""

    async def kill(self, victim: Victim) -> bool:
        """Send SIGKILL; True once the process is gone."""
        ...

    async def revive(self, victim: Victim) -> None:
        """Start it again at its old address; returns when it is ready."""
        ...

    async def crash_database(self) -> bool:
        """Shut the database down as a crash would; True once it is gone."""
        ...

    async def revive_database(self) -> None:
        """Start the database again."""
        ...

    async def reconfigure(self, victim: Victim, settings: Mapping[str, str]) -> None:
        """Stop it gracefully and start it with `settings` added."""
        ...


class EmbeddedSystem:
    """The servers of an embedded target as scenarios want them: the API with Realtime, and one worker apart.

    `configure` brings them to a transport and settings, and does nothing when they have them.
    """

    def __init__(self, embedded: EmbeddedTarget) -> None:
        self.embedded = embedded
        self._wanted: tuple[str, dict[str, str]] | None = None
        self._settings: dict[Victim, dict[str, str]] = {}

    @property
    def target(self) -> Target:
        """The target as clients see it."""
        return self.embedded.target

    async def configure(self, transport: str, settings: Mapping[str, str]) -> None:
        """Servers for `transport` ("realtime", "websocket" or "both") with these settings, ready."""
        wanted = (transport, dict(settings))
        alive = all(name in self.embedded.servers and self.embedded.servers[name].running for name in ROLES)
        if wanted == self._wanted and alive and all(self._settings[name] == wanted[1] for name in ROLES):
            return
        # Both start at the same time, since starting is mostly waiting; an error in one lets the other finish.
        ends = await asyncio.gather(
            *(self._start(victim, transport, wanted[1]) for victim in ROLES), return_exceptions=True
        )
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        self._wanted = wanted

    async def kill(self, victim: Victim) -> bool:
        handle = self.embedded.servers[victim]
        handle.kill()
        try:
            await handle.wait_exited(EXIT_DEADLINE_S)
        except TimeoutError:
            return False
        return not handle.running

    async def revive(self, victim: Victim) -> None:
        await self.embedded.restart_server(victim)

    async def crash_database(self) -> bool:
        return await self.embedded.crash_postgres()

    async def revive_database(self) -> None:
        await self.embedded.start_postgres()

    async def reconfigure(self, victim: Victim, settings: Mapping[str, str]) -> None:
        assert self._wanted is not None, "configure first"
        await self._start(victim, self._wanted[0], {**self._settings[victim], **settings})

    async def _start(self, victim: Victim, transport: str, settings: dict[str, str]) -> None:
        port = 0
        old = self.embedded.servers.get(victim)
        if old is not None:
            await old.stop()
            port = int(old.url.rsplit(":", 1)[1])
        self._settings[victim] = settings
        await self.embedded.start_server(victim, roles=ROLES[victim], transport=transport, env=settings, port=port)


@asynccontextmanager
async def embedded_system(data_dir: Path) -> AsyncIterator[EmbeddedSystem]:
    """An embedded target of its own for scenarios; nothing of it is left when the block ends but its folder."""
    async with EmbeddedTarget(data_dir, schema="bare", throwaway=True) as embedded:
        result = await migrate_up(embedded.dsn, read_folder(migrations_dir()))
        if not result.ok:
            raise EnvironmentError_(
                "The migrations could not be applied to the embedded database.",
                "Run `toolkit migrate up` for the reason.",
            )
        yield EmbeddedSystem(embedded)
