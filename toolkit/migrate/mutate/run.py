"""Apply each mutant to a scratch database and show it to the judges, the cheapest first, until one notices it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import asyncpg

from toolkit.errors import ToolkitError
from toolkit.migrate.catalog import CatalogMemory, take_snapshot
from toolkit.migrate.folder.files import Folder, SqlFile, script_of
from toolkit.migrate.mutate.judges import Judge, Ruling
from toolkit.migrate.mutate.mutant import Mutant
from toolkit.migrate.mutate.outcome import Fate, Outcome, Outcomes
from toolkit.migrate.run.api import migrate_up
from toolkit.migrate.run.run_model import Options
from toolkit.migrate.scratch.databases import Scratch
from toolkit.postgres.connection import connected
from toolkit.sql.mutants import ROWS, TABLES

# Statements of these objects change rows, which a catalog does not show.
_ROWS = ("rows of ", "DO block")
_TROUBLE = (ToolkitError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


@dataclass(frozen=True)
class Settings:
    """`judges_of`: the judges for a mutant of a version, cheapest first. `deadline_s` bounds one mutant, `budget_s` all
    of them; `workers` mutants are looked at side by side."""

    judges_of: Callable[[str], Sequence[Judge]]
    options: Options
    deadline_s: float = 60.0
    budget_s: float = float("inf")
    workers: int = 2


@dataclass
class Judged:
    """`outcomes`: mutant → what became of it; those that the budget left no time for are not among them. `baseline`:
    judge → what it says of the folder as it is. `trouble`: why nothing could be judged."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    baseline: dict[str, Ruling] = field(default_factory=dict)
    trouble: str = ""
    from_before: int = 0


async def judge_mutants(
    scratch: Scratch,
    template: str,
    folder: Folder,
    mutants: Sequence[Mutant],
    *,
    settings: Settings,
    outcomes: Outcomes,
    on_outcome: Callable[[Judged, Outcome], None],
) -> Judged:
    """What becomes of each mutant. `template` is the database before the folder's first version; `on_outcome` is told
    of each one that was judged."""
    run = _Run(scratch, template, folder, settings=settings, outcomes=outcomes, on_outcome=on_outcome)
    await run.look_at_the_folder(sorted({mutant.version for mutant in mutants}))
    if run.judged.trouble:
        return run.judged
    queue: asyncio.Queue[Mutant] = asyncio.Queue()
    for mutant in mutants:
        if (known := outcomes.get(mutant)) is not None:
            run.judged.outcomes[mutant.id] = replace(known, mutant=mutant.id)
            run.judged.from_before += 1
        else:
            queue.put_nowait(mutant)
    ends = time.monotonic() + settings.budget_s

    async def take_turns() -> None:
        while time.monotonic() < ends and not queue.empty():
            await run.look_at(queue.get_nowait())

    async with asyncio.TaskGroup() as group:
        for _ in range(max(1, min(settings.workers, queue.qsize()))):
            group.create_task(take_turns())
    return run.judged


class _Run:
    def __init__(
        self,
        scratch: Scratch,
        template: str,
        folder: Folder,
        *,
        settings: Settings,
        outcomes: Outcomes,
        on_outcome: Callable[[Judged, Outcome], None],
    ) -> None:
        self._scratch, self._settings, self._outcomes, self._tell = scratch, settings, outcomes, on_outcome
        self._folder = folder
        self._states = {folder.migrations[0].version: template}
        self._catalogs: dict[str, str] = {}  # digest → what it came of
        self.judged = Judged()
        self._options = replace(settings.options, catalogs=CatalogMemory())

    async def look_at_the_folder(self, versions: Sequence[str]) -> None:
        """Make the states before these versions, and ask the judges what they say of the folder as it is."""
        name = await self._scratch.create(self._states[self._folder.migrations[0].version])
        for migration in self._folder.migrations:
            if migration.version in versions and migration.version not in self._states:
                self._states[migration.version] = await self._scratch.create(name)
            try:
                result = await migrate_up(
                    self._scratch.dsn(name), self._folder, to=migration.version, options=self._options
                )
            except ToolkitError as error:
                self.judged.trouble = f"{migration.label} does not apply as it is: {error.what}"
                return
            if not result.ok:
                self.judged.trouble = f"{migration.label} does not apply as it is"
                return
        self._catalogs[await self._digest(name, rows=False)] = "the folder as it is"
        self._catalogs[await self._digest(name, rows=True)] = "the folder as it is"
        for version in versions:
            for judge in self._settings.judges_of(version):
                if judge.name not in self.judged.baseline:
                    async with asyncio.timeout(self._settings.deadline_s):
                        self.judged.baseline[judge.name] = await judge.rule(self._scratch.dsn(name), self._folder)
        await self._scratch.drop(name)

    async def look_at(self, mutant: Mutant) -> None:
        """Judge one mutant, and keep what became of it."""
        started = time.monotonic()
        name = await self._scratch.create(self._states[mutant.version])
        try:
            async with asyncio.timeout(self._settings.deadline_s):
                outcome = await self._judge(mutant, name)
        except TimeoutError:
            outcome = Outcome(mutant.id, Fate.HUNG, detail=f"not over within {self._settings.deadline_s:g} s")
        finally:
            await asyncio.shield(self._scratch.drop(name))
        outcome = replace(outcome, seconds=round(time.monotonic() - started, 3))
        self._outcomes.put(mutant, outcome)
        self.judged.outcomes[mutant.id] = outcome
        self._tell(self.judged, outcome)

    async def _judge(self, mutant: Mutant, name: str) -> Outcome:
        folder = mutated(self._folder, mutant)
        dsn = self._scratch.dsn(name)
        try:
            result = await migrate_up(dsn, folder, options=self._options)
        except ToolkitError as error:
            return Outcome(mutant.id, Fate.REFUSED, detail=error.what)
        if not result.ok:
            failure = next((step.failure for step in result.steps if step.failure is not None), None)
            return Outcome(mutant.id, Fate.REFUSED, detail=str(failure.message) if failure is not None else "")
        if not mutant.in_body:
            digest = await self._digest(name, rows=mutant.object.startswith(_ROWS))
            same = self._catalogs.setdefault(digest, mutant.id)
            if same != mutant.id:
                return Outcome(mutant.id, Fate.EQUAL, detail=same)
        undecided: list[str] = []
        for judge in self._settings.judges_of(mutant.version):
            before = self.judged.baseline[judge.name]
            try:
                ruling = await judge.rule(dsn, folder)
            except _TROUBLE as error:
                undecided.append(f"{judge.name}: {error}")
                continue
            if failed := [one for one in ruling.failed if one not in before.failed]:
                return Outcome(mutant.id, Fate.NOTICED, judge.name, failed[0])
            undecided += [f"{judge.name}: {one}" for one in ruling.undecided if one not in before.undecided]
        if undecided:
            return Outcome(mutant.id, Fate.UNDECIDED, detail="; ".join(undecided[:3]))
        return Outcome(mutant.id, Fate.SURVIVED)

    async def _digest(self, name: str, *, rows: bool) -> str:
        """Of the catalog, and with `rows` of every row of the user's own tables."""
        async with connected(self._scratch.dsn(name)) as conn:
            whole = hashlib.sha256((await take_snapshot(conn, memory=self._options.catalogs)).digest().encode())
            for row in await conn.fetch(TABLES, timeout=30) if rows else ():
                content = await conn.fetchval(ROWS.format(table=row["name"]), timeout=30)
                whole.update(f"{row['name']}\0{content}\n".encode())
        return whole.hexdigest()


def mutated(folder: Folder, mutant: Mutant) -> Folder:
    """The folder with the mutant in the place of its file."""
    return replace(
        folder,
        migrations=tuple(
            replace(one, up=script_of(SqlFile(one.up.path, mutant.content.encode())))
            if one.version == mutant.version
            else one
            for one in folder.migrations
        ),
    )
