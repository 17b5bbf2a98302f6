"""What the phases share: the embedded system, the traffic, and what was read before the migration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from toolkit.errors import EnvironmentError_
from toolkit.migrate.catalog import Snapshot
from toolkit.migrate.folder.files import Folder
from toolkit.rehearse.stage.chosen import Chosen
from toolkit.rehearse.stage.diary import Clock, Diary, Findings, Options, PhaseResult
from toolkit.rehearse.stage.populate import Population
from toolkit.rehearse.stage.progress import Progress
from toolkit.rehearse.stage.rows import Rows
from toolkit.rehearse.traffic.legacy_traffic import LegacyTraffic
from toolkit.rehearse.traffic.user_generation import Gate
from toolkit.report.record import Distribution, Verdict
from toolkit.scenarios.faults.control import EmbeddedSystem
from toolkit.server_process import ServerHandle
from toolkit.targets.embedded import EmbeddedTarget
from toolkit.targets.target import Target

LEASE_S = "2"
APPLIED = "file"  # label of the migration files' bands


@dataclass
class Stage:
    """One rehearsal under way. What an earlier phase provides is None until that phase was done.

    `chosen` is the folder as it was read at the start, as far as it is rehearsed.
    """

    options: Options
    chosen: Chosen
    embedded: EmbeddedTarget
    progress: Progress
    clock: Clock
    diary: Diary = field(default_factory=Diary)
    population: Population | None = None
    traffic: LegacyTraffic | None = None
    held: list[Gate] = field(default_factory=list)
    rows_before: Rows | None = None
    catalog_before: Snapshot | None = None
    catalog_after: Snapshot | None = None
    system: EmbeddedSystem | None = None
    failing_on_purpose: set[str] = field(default_factory=set)
    completed_at: datetime | None = None
    results: list[PhaseResult] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)

    @property
    def dsn(self) -> str:
        """The database's connection URL."""
        return self.embedded.dsn

    @property
    def api(self) -> ServerHandle:
        """The server of the API with Realtime. Raises EnvironmentError_ when it does not run."""
        handle = self.embedded.servers.get("api")
        if handle is None or not handle.running:
            raise EnvironmentError_("The API does not run any more.", "Read api.log in the run's folder.")
        return handle

    @property
    def migrations(self) -> Folder:
        """What is applied."""
        return self.chosen.folder

    @property
    def legacy_version(self) -> str:
        """The version before the migration."""
        return self.chosen.legacy

    def say(self, text: str) -> None:
        """Show what is being done now."""
        self.progress.say(text)

    def target(self, server: ServerHandle) -> Target:
        """The target as a client of `server` sees it."""
        return replace(self.embedded.target, api_url=server.url, supabase_url=server.url)

    def token(self, user: str) -> str:
        """A token of `user`."""
        return self.embedded.target.user_token(user)

    def writer_env(self) -> dict[str, str]:
        """The environment for the servers' language model: the same everywhere, so that transports can be compared."""
        return {
            "WRITER_SEED": str(self.options.seed),
            "WRITER_STEP_LATENCY_MS": str(self.options.size.step_latency_ms),
            "TASK_LEASE_SECONDS": LEASE_S,
            "TASK_POLL_SECONDS": "0.5",
            "WORKER_CONCURRENCY": "8",
        }

    async def stop_servers(self) -> None:
        """Stop the traffic, then every running server gracefully."""
        if self.traffic is not None:
            await self.traffic.aclose()
        for handle in self.embedded.servers.values():
            await handle.stop()

    def applied(self, found: Findings) -> None:
        """Note the moment at which the migration was complete, when it was applied and verified without failure."""
        good = found.verdict_of("apply") is Verdict.PASS and found.verdict_of("verify") is Verdict.PASS
        self.completed_at = datetime.now(UTC) if good else None
