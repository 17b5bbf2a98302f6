"""The delivery proof: probe rows written before, during and after a migration and its rollback, and read back from the
write-ahead log as Realtime reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import asyncpg

from toolkit.migrate.prove.delivery.endpoint import Endpoint, endpoint_on
from toolkit.migrate.prove.delivery.endpoint_judge import PUBLICATION, judge_endpoint
from toolkit.migrate.prove.delivery.probe_writer import ADMINISTRATOR, Writer
from toolkit.migrate.prove.delivery.publications import Compared, Published, Violation, compare, read_published
from toolkit.migrate.prove.delivery.refusals import blamed, covered
from toolkit.migrate.prove.delivery.tallies import measurements, table_of
from toolkit.migrate.prove.delivery.wal_judge import OPERATIONS, Phase, Promise, WalJudgement, Write, judge_wal
from toolkit.migrate.prove.delivery.wal_reader import WalReader, reading
from toolkit.migrate.prove.subject.claims import NO_ROLLBACK, Claim, Level, Outcome, Proof, Subject
from toolkit.migrate.prove.subject.states import CannotBuild
from toolkit.migrate.rows.shapes import read_shapes
from toolkit.migrate.run.api import migrate_down, migrate_up
from toolkit.migrate.run.run_model import Progress, RunResult
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import prove_delivery as sql

_DEADLINE_S = 60
_ROUNDS = 2
# At most this many tables are written to, those that the migration changes first: 200 tables would take minutes.
MOST_TABLES = 40
_SERIAL_SHIFT = 1001  # above the serials of seeded rows

UP: tuple[Phase, ...] = ("before", "during the migration", "after it")
DOWN: tuple[Phase, ...] = ("during the rollback", "after the rollback")


@dataclass
class _Seen:
    """What a run gathers. `states`: phase → what was published at its end."""

    states: dict[Phase, Published]
    promised: dict[Phase, frozenset[Promise]]
    broken: dict[Phase, list[str]]
    left_out: tuple[str, ...] = ()


async def run(subject: Subject, version: str) -> Outcome:
    """Prove one version. Raises CannotBuild when it does not apply to the seeded rows under traffic."""
    template = await subject.states.seeded(version)
    async with subject.states.clone(template) as dsn:
        return await _Delivery(subject, version, dsn).run()


PROOF = Proof("delivery", "Changes are delivered before, during and after", run)


class _Delivery:
    """The proof of one version on one scratch database."""

    def __init__(self, subject: Subject, version: str, dsn: str) -> None:
        self.subject, self.version, self.dsn = subject, version, dsn
        self.migration = subject.migration(version)
        self.readers: dict[str, WalReader] = {}
        self.ended: set[str] = set()
        self.unreadable = ""
        self.not_rolled_back = NO_ROLLBACK
        self.endpoint: Endpoint | None = None
        self.seen = _Seen({}, {}, {})

    async def run(self) -> Outcome:
        async with AsyncExitStack() as stack:
            look = await stack.enter_async_context(connected(self.dsn, "toolkit migrate prove: looking"))
            conn = await stack.enter_async_context(connected(self.dsn, "toolkit migrate prove: probes"))
            before = self.seen.states["before"] = await read_published(look)
            writer = Writer(conn, self.subject.options.rows_each + _SERIAL_SHIFT)
            await writer.prepare()
            # Slots are made before any traffic, since making one waits for every open transaction.
            await self._follow(stack, look, before)
            if self.subject.options.endpoint:
                self.endpoint = await stack.enter_async_context(endpoint_on(self.dsn, look))
                writer.given = await self.endpoint.owners(look, before, await read_shapes(look))
                await self.endpoint.listen(before, writer.writes)
            await self._phase(writer, look, "before", before.written)
            after = await self._run_files(writer, look, "during the migration", "after it", self._up)
            await self._follow(stack, look, after)
            if self.endpoint is not None:
                await self.endpoint.listen(after, writer.writes)
            await self._phase(writer, look, "after it", (*before.written, *after.written))
            finally_ = None
            if self.migration.rollback is not None:
                finally_ = await self._roll_back(writer, look, before)
            await self._received(writer, after)
        return self._outcome(writer.writes, before, after, finally_)

    # -- doing --------------------------------------------------------------------------------

    async def _follow(self, stack: AsyncExitStack, look: Connection, state: Published) -> None:
        """Open a reader for each publication without one; none when the server has no logical decoding."""
        level = await look.fetchval(sql.WAL_LEVEL, timeout=_DEADLINE_S)
        if level != "logical":
            self.unreadable = f"the scratch server has wal_level={level}; probe rows are read with wal_level=logical"
            return
        for name in state.publications:
            if name not in self.readers and not self.unreadable:
                try:
                    self.readers[name] = await stack.enter_async_context(reading(self.dsn, name))
                except (asyncpg.InsufficientPrivilegeError, asyncpg.ConfigurationLimitExceededError) as error:
                    self.unreadable = f"the scratch server gives no replication slot: {error}"

    async def _phase(self, writer: Writer, look: Connection, phase: Phase, tables: Iterable[str]) -> None:
        """Write a few rounds to the existing tables while no file runs."""
        state = self.seen.states[phase]
        self._promise(phase, state)
        if self.unreadable:
            return
        shapes = await read_shapes(look)
        chosen = self._chosen(state, tables)
        self._tell(f"{phase}: probe rows through {len(chosen)} tables")
        for _ in range(_ROUNDS):
            await writer.round(phase, shapes, chosen, lambda: self._received(writer, state))
        await self._read(phase)

    async def _received(self, writer: Writer, state: Published) -> None:
        if self.endpoint is not None:
            await self.endpoint.settle(writer.writes, self.seen.promised, state)

    async def _run_files(
        self, writer: Writer, look: Connection, during: Phase, then: Phase, files: Callable[[], Awaitable[RunResult]]
    ) -> Published:
        """Write while the runner works; returns what is published afterwards."""
        start = self.seen.states["before" if during == "during the migration" else "after it"]
        self.seen.states[during] = start
        chosen = self._chosen(start, start.written)
        enough = asyncio.Event()
        traffic = None
        if chosen and not self.unreadable:
            shapes = await read_shapes(look)
            writer.wrote.clear()
            traffic = asyncio.create_task(writer.keep_on(during, shapes, chosen, enough), name="probe rows")
        try:
            if traffic is not None:
                await _first_of(traffic, writer.wrote)
            self._tell(f"{during}: {self.migration.label}")
            result = await files()
        finally:
            enough.set()
            if traffic is not None:
                await asyncio.wait({traffic})
        if traffic is not None:
            traffic.result()
        if not result.ok:
            failure = next((step.failure for step in result.steps if step.failure), None)
            raise CannotBuild(
                f"it does not go through on seeded rows while they are written to: {failure}",
                "Correct the file; delivery is looked at afterwards.",
            )
        state = self.seen.states[then] = await read_published(look)
        # While files run, a new partition counts as its root as well.
        self.seen.states[during] = replace(start, roots={**state.roots, **start.roots})
        self._promise(during, start, ending=state)
        await self._read(during)
        return state

    async def _roll_back(self, writer: Writer, look: Connection, before: Published) -> Published | None:
        """Roll back; returns what is published afterwards, or None when the rollback failed, which leaves the other
        claims valid."""
        if self.endpoint is not None:
            taken = self.seen.states["after it"].members.keys() - before.members.keys()
            self.endpoint.taking_back = frozenset(table for _, table in taken)
        try:
            state = await self._run_files(writer, look, "during the rollback", "after the rollback", self._down)
        except CannotBuild as failed:
            self.not_rolled_back = failed.what
            return None
        await self._phase(writer, look, "after the rollback", (*before.written, *state.written))
        return state

    async def _up(self) -> RunResult:
        return await migrate_up(
            self.dsn, self.subject.folder, to=self.version, include_all=True, options=self.subject.states.options
        )

    async def _down(self) -> RunResult:
        return await migrate_down(self.dsn, self.subject.folder, last=1, options=self.subject.states.options)

    async def _read(self, phase: Phase) -> None:
        for name, reader in self.readers.items():
            await reader.read()
            if reader.broken and name not in self.ended and name in self.seen.states["before"].publications:
                self.ended.add(name)
                self.seen.broken.setdefault(phase, []).append(
                    f"the stream of {name} breaks off {phase}: {reader.broken}"
                )

    def _chosen(self, state: Published, tables: Iterable[str]) -> tuple[str, ...]:
        text = self.migration.up.text + (self.migration.rollback.text if self.migration.rollback else "")
        there = [table for table in dict.fromkeys(tables) if table in state.roots]
        there.sort(key=lambda table: table.rpartition(".")[2] not in text)
        self.seen.left_out = tuple(dict.fromkeys((*self.seen.left_out, *there[MOST_TABLES:])))
        return tuple(there[:MOST_TABLES])

    def _promise(self, phase: Phase, state: Published, ending: Published | None = None) -> None:
        """Note what must arrive in a phase: what was published before, and what is published now.

        While files run (`ending` is the state they lead to): what was published when they began, except what a rollback
        withdraws that the migration had published.
        """
        before = self.seen.states["before"]
        promised = _published(state) | {p for p in _published(before) if p[1] in state.roots}
        if ending is not None and phase in DOWN:
            kept = _published(before) | _published(ending)
            promised = frozenset(
                p for p in promised if p in kept or (p[0] in ending.publications and p[1] not in ending.roots)
            )
        self.seen.promised[phase] = frozenset(promised)

    def _tell(self, message: str) -> None:
        self.subject.tell(Progress("statement", self.migration.label, message))

    # -- telling ------------------------------------------------------------------------------

    def _outcome(
        self, writes: Sequence[Write], before: Published, after: Published, finally_: Published | None
    ) -> Outcome:
        judged = judge_wal(
            writes,
            {name: reader.arrivals for name, reader in self.readers.items()},
            self.seen.promised,
            self.seen.states,
        )
        up = compare(before, after)
        claims = [*self._published("published", before, after, up), *self._probed("up", UP, writes, judged)]
        notes = list(up.notes)
        if not (before.members or after.members):
            notes.append("no table is published before or after, so there is nothing to deliver")
        if finally_ is None or self.migration.rollback is None:
            claims.append(self._claim("rollback", _ROLLBACK, Level.NOT_CHECKED, self.not_rolled_back))
        else:
            declared = frozenset(entry.table for entry in self.migration.rollback.destroys if entry.whole_table)
            down = compare(before, finally_, previous=after, dropped_by_design=declared)
            claims += self._published("rollback-published", before, finally_, down)
            claims += self._probed("rollback", DOWN, writes, judged)
            notes += down.notes
        notes += blamed(writes, (*UP, *DOWN))[1]
        notes += self._circumstances(writes, before, after)
        if self.seen.left_out:
            notes.append(f"not written to, being more than {MOST_TABLES}: {', '.join(self.seen.left_out)}")
        claims += self._endpoint(writes, after)
        label = f"{self.version}: probe rows, written and delivered"
        return Outcome(
            tuple(claims),
            table_of(judged.tallies, label),
            measurements(judged.tallies, self.version),
            notes=tuple(dict.fromkeys(f"{self.version}: {note}" for note in notes)),
        )

    def _circumstances(self, writes: Sequence[Write], before: Published, after: Published) -> Iterator[str]:
        """Who wrote, and what could not be counted."""
        alone = sorted({write.table for write in writes if write.committed and write.role == ADMINISTRATOR})
        if alone:
            yield f"written by the administrator, as no role of an application may: {', '.join(alone)}"
        filtered = sorted({m.table for state in (before, after) for m in state.members.values() if m.row_filter})
        if filtered:
            yield f"published with a row filter, so that a row may rightly stay out: {', '.join(filtered)}"

    def _published(self, part: str, before: Published, after: Published, compared: Compared) -> list[Claim]:
        if not (before.members or after.members or compared.violations):
            return []  # nothing can be said of no table; a note says that there is none
        what = "what was published stays published, under the same identity"
        title = f"After the rollback, {what}" if part.startswith("rollback") else what[0].upper() + what[1:]
        basis = (
            f"the catalog's {_count(len(before.publications), 'publication')} with "
            f"{_count(len(before.members), 'published table')} before, {len(after.members)} after"
        )
        return [self._claim(part, title, Level.PROVED, basis, compared.violations)]

    def _probed(
        self, part: str, phases: tuple[Phase, ...], writes: Sequence[Write], judged: WalJudgement
    ) -> list[Claim]:
        title = _ROLLBACK if part == "rollback" else _UP
        written = {table for phase in phases for table in self._tables(phase)}
        if not written:
            return []  # nothing is published, so there is nothing to deliver
        if self.unreadable:
            return [self._claim(part, title, Level.NOT_CHECKED, self.unreadable)]
        found, _ = blamed(writes, phases)
        lines = [line for phase in phases for line in self.seen.broken.get(phase, [])] + list(judged.of(phases))
        violations = (*(Violation(line, _LOOK) for line in lines), *found)
        mine = [write for write in writes if write.phase in phases]
        done = sum(write.committed for write in mine)
        parts = []
        complete = not self.seen.left_out
        for phase in phases:
            tables = self._tables(phase)
            if not tables:
                continue
            reached, pairs = covered(writes, phase, tables)
            parts.append(f"{reached} of {pairs} {phase}")
            # While files run, the number of rounds depends on how long they take.
            complete &= reached > 0 if phase.startswith("during") else reached == pairs
        basis = (
            f"{_count(done, 'write')} of {_count(len(written), 'table')} decoded from the log; pairs of table and "
            f"operation: {', '.join(parts)}"
        )
        if not done:
            why = next((write.refused for write in mine if not write.committed), "no write came to pass")
            return [self._claim(part, title, Level.NOT_CHECKED, f"no probe row could be written: {why}", violations)]
        return [self._claim(part, title, Level.PROVED if complete else Level.SAMPLED, basis, violations)]

    def _tables(self, phase: Phase) -> tuple[str, ...]:
        """The tables to write to in a phase: those that exist and from which something must arrive."""
        promised = self.seen.promised.get(phase, frozenset())
        return tuple(sorted({table for _, table, _ in promised if table in self.seen.states[phase].roots}))

    def _endpoint(self, writes: Sequence[Write], after: Published) -> list[Claim]:
        if self.endpoint is None or not self.endpoint.wanted:
            return []
        title = "Probe rows reach subscribers of the Realtime endpoint once each, in order"
        if self.endpoint.off:
            return [self._claim("endpoint", title, Level.NOT_CHECKED, self.endpoint.off)]
        reader = self.readers.get(PUBLICATION)
        log = reader.arrivals if reader is not None else ()
        result = judge_endpoint(writes, self.endpoint.subscribers, self.seen.promised, after, log)
        if not result.expected:
            return [
                self._claim("endpoint", title, Level.NOT_CHECKED, "no row that a subscriber could know was written")
            ]
        violations = tuple(Violation(line, _ENDPOINT) for line in result.violations)
        return [self._claim("endpoint", title, Level.SAMPLED, result.basis, violations)]

    def _claim(self, part: str, title: str, level: Level, basis: str, found: Sequence[Violation] = ()) -> Claim:
        remedies = " ".join(dict.fromkeys(violation.remedy for violation in found))
        lines = (violation.text for violation in found)
        return Claim.of(PROOF, self.version, part, title, level, basis, lines, remedies)


_UP = "Every probe row is delivered once and in order before, during and after the migration"
_ROLLBACK = "Every probe row is delivered once and in order during and after the rollback"
_LOOK = "Compare the publication before and after: the claim on what is published names what changed."
_ENDPOINT = "Look at the policies of the table and at its publication: what the log holds, the endpoint must send."


async def _first_of(traffic: asyncio.Task[None], wrote: asyncio.Event) -> None:
    """Return when the traffic has begun, or has ended early."""
    waiting = asyncio.create_task(wrote.wait())
    await asyncio.wait({traffic, waiting}, timeout=_DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _published(state: Published) -> frozenset[Promise]:
    """What must arrive in a state, except from publications with row filters: what these hold back is a loss only if
    they are new."""
    return frozenset(
        (publication, table, operation)
        for publication in state.publications
        for table in state.written
        for operation in OPERATIONS
        if state.publishes(publication, table, operation) and not state.filtered(publication, table)
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
