"""What the tests of a session share: an event loop of its own, the system, and the scratch databases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from toolkit.errors import ToolkitError, UsageError
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.folder.project_mode import mode_of_folder
from toolkit.migrate.prove.run import PROOFS, prove
from toolkit.migrate.prove.subject.claims import Claim, ProveOptions, Subject
from toolkit.migrate.prove.subject.states import States
from toolkit.migrate.run.run_model import Options
from toolkit.migrate.scratch.databases import embedded_scratch
from toolkit.migrate.scratch.needs import extensions_of
from toolkit.migrate.scratch.start import empty_project
from toolkit.postgres.servers import version_for, wheel_bin_dir
from toolkit.postgres.throwaway import throwaway_folder
from toolkit.probes.chosen import probes_of
from toolkit.report.record import Verdict
from toolkit.scenarios.faults.control import EmbeddedSystem, embedded_system
from toolkit.scenarios.model.scenario_file import Scenario
from toolkit.scenarios.run import ScenarioResult, run_scenario
from toolkit.targets.settings import load_settings
from toolkit.targets.target import Target

T = TypeVar("T")
# What must hold of a folder before tests may rely on it; the others take minutes and are tests of their own.
NEEDED_PROOFS = ("replay", "round-trip")


class Refuted(ToolkitError):
    """The migrations that a scratch database is made with do not hold what they should."""


class Stage:
    """Everything is made when it is first asked for, and ended by `close`.

    Its event loop runs in a thread of its own, so that it lives between tests and disturbs no loop of theirs, and
    servers, which die with the thread that started them, live as long.
    """

    def __init__(self, kind: Literal["embedded", "external"], addresses: dict[str, str | None], runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._external = _external(addresses) if kind == "external" else None
        self._stack = AsyncExitStack()
        self._system: EmbeddedSystem | None = None
        self._subjects: dict[Path, Subject] = {}
        self._proved: dict[Path, str | Refuted] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="toolkit stage", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which an interruption of the test cancels."""
        future = asyncio.run_coroutine_threadsafe(_whole(work), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End whatever was started."""
        try:
            self.run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=30)
            self._loop.close()

    # -- a system -----------------------------------------------------------------------------

    async def target(self, transport: str = "both") -> Target:
        """The target: the external one, or an embedded one with its servers up on `transport`."""
        if self._external is not None:
            return self._external
        system = await self.system()
        await system.configure(transport, {})
        return system.target

    async def system(self) -> EmbeddedSystem:
        """The embedded system, whose servers are not yet configured."""
        if self._system is None:
            folder = self._stack.enter_context(throwaway_folder("toolkit-pytest-"))
            self._system = await self._stack.enter_async_context(embedded_system(folder))
        return self._system

    async def scenario(self, scenario: Scenario, transport: str) -> ScenarioResult:
        """One run, with power over the servers where they are ours."""
        if self._external is not None:
            return await run_scenario(scenario, self._external, runs_dir=self.runs_dir, transport=transport)
        system = await self.system()
        await system.configure("both" if transport == "websocket" else "realtime", scenario.environment)
        return await run_scenario(scenario, system.target, runs_dir=self.runs_dir, transport=transport, control=system)

    # -- migrations ---------------------------------------------------------------------------

    async def subject(self, migrations: Path) -> Subject:
        """A folder's migrations on scratch databases that begin as an empty Supabase project."""
        if migrations not in self._subjects:
            folder = await asyncio.to_thread(read_folder, migrations)
            scratch = await self._stack.enter_async_context(
                embedded_scratch(wheel_bin_dir(version_for(extensions_of(folder))))
            )
            start = await empty_project(scratch, mode_of_folder(migrations) or "old")
            exports = self._stack.enter_context(throwaway_folder("toolkit-pytest-exports-"))
            expectations = migrations / "expectations.yaml"
            options = ProveOptions(
                expectations=expectations if expectations.is_file() else None,
                probes=probes_of(folder),
            )
            versions = tuple(migration.version for migration in folder.migrations)
            states = States(
                scratch,
                start.template,
                folder,
                versions,
                rows_each=options.rows_each,
                options=Options(export_dir=exports),
            )
            self._subjects[migrations] = Subject(folder, versions, states, options)
        return self._subjects[migrations]

    async def proof(self, migrations: Path, version: str, name: str) -> tuple[Claim, ...]:
        """What one proof says of one version."""
        subject = replace(await self.subject(migrations), versions=(version,))
        found = await prove(subject, wanted=(name,))
        return tuple(claim for one in found for claim in one.outcome.claims if not claim.by_request)

    @asynccontextmanager
    async def scratch_database(self, migrations: Path) -> AsyncIterator[str]:
        """The URL of a fresh database with every migration. Raises Refuted when they do not replay and return."""
        subject = await self.subject(migrations)
        if migrations not in self._proved:
            self._proved[migrations] = await _proved(subject)
        proved = self._proved[migrations]
        if isinstance(proved, Refuted):
            raise Refuted(proved.what, proved.remedy)
        async with subject.states.clone(proved) as dsn:
            yield dsn


async def _proved(subject: Subject) -> str | Refuted:
    """The template of the last state, which every later database is copied from; or what was refuted on the way."""
    for version in subject.versions:
        for proof in (one for one in PROOFS if one.name in NEEDED_PROOFS):
            outcome = await proof.run(subject, version)
            refuted = [claim for claim in outcome.claims if claim.verdict is Verdict.FAIL]
            if refuted:
                lines = [f"{claim.title} [{claim.id}]: {'; '.join(claim.violations)}" for claim in refuted]
                return Refuted("\n".join(lines), refuted[0].remedy)
    return await subject.states.after(subject.versions[-1])


def _external(addresses: dict[str, str | None]) -> Target:
    settings = load_settings(**addresses)
    if not settings.any_given:
        raise UsageError(
            "--toolkit-target=external needs at least one URL.",
            "Set API_URL, SUPABASE_URL or DATABASE_URL in the environment or toolkit.toml, or give --toolkit-api-url.",
        )
    return Target.from_settings(settings)


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    return await work
