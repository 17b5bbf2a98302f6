"""The locks proof: what each statement locks, and how long readers and writers of the old schema wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.migrate.folder.files import TRAFFIC_FILE, Migration
from toolkit.migrate.prove.locks.clients import RefusedStatement, newly_refused
from toolkit.migrate.prove.locks.modes import in_words
from toolkit.migrate.prove.locks.observed_runs import (
    Ahead,
    Inspection,
    ObservedRun,
    UnderTraffic,
    inspect,
    meets,
    under_traffic,
)
from toolkit.migrate.prove.locks.orders import of_file, opposite
from toolkit.migrate.prove.locks.report import figures, locks_table, timeline, traffic_tables
from toolkit.migrate.prove.locks.stalls import Stall, circle_in_words, harmed, over_budget, session_names, stalls
from toolkit.migrate.prove.locks.statement_locks import works_under_lock
from toolkit.migrate.prove.locks.traffic import streams
from toolkit.migrate.prove.subject.claims import NO_ROLLBACK, Claim, Level, Outcome, Proof, Subject
from toolkit.migrate.run.history import Direction
from toolkit.migrate.run.run_model import Progress
from toolkit.report.record import counted, shortened

NAME, TITLE = "locks", "Locks and stalls"
# Long enough ahead of the file that waiting it out breaks the budget three times over.
_AHEAD_TIMES_BUDGET = 3.0
_AFTERWARDS_S = 0.2

_SIZE_REMEDY = (
    "Build indexes with CREATE INDEX CONCURRENTLY in a file that begins with `-- toolkit: transaction=false`; add "
    "constraints NOT VALID and validate them in a later file (SET NOT NULL then finds the validated check); replace "
    "rewritten columns by a new one that is filled in batches. A table that stays small: write "
    "`-- locks: accepted (why)` before the statement."
)
_STALL_REMEDY = (
    "Take the lock last and by itself: move what takes long before the statement, or to another file; never wait, "
    "read or fill tables while it is held. Two tables that others use together belong in two files."
)
_ORDER_REMEDY = (
    "Each waits for the other until Postgres ends one of them. Take the tables in the order in which the application "
    "does, or change them in two files."
)
_AHEAD_REMEDY = (
    "Let the statement run in a transaction, where the runner's lock timeout ends its waiting, or use the form that "
    "waits beside readers and writers (CONCURRENTLY)."
)
_OLD_REMEDY = (
    "Let both versions of the application run: add (nullable, or with a default), have the application change over, "
    "remove in a later version."
)


async def run(subject: Subject, version: str) -> Outcome:
    """Inspect the locks, then run under traffic, then under traffic behind an open transaction. Raises CannotBuild."""
    found = await quietly(subject, version)
    inspection = found.inspection
    if inspection.clients and not any(look.failure for look in inspection.looks):
        found = await _under_traffic(subject, found)
    return found.outcome()


PROOF = Proof(NAME, TITLE, run)


async def quietly(subject: Subject, version: str) -> LocksSeen:
    """Inspect the locks only; the outcome makes no claim about stalls. Raises CannotBuild."""
    migration = subject.migration(version)
    subject.tell(Progress("statement", migration.label, "locks: each statement from inside"))
    return LocksSeen(version, migration, await inspect(subject, migration), subject.options.stall_budget_ms)


async def _under_traffic(subject: Subject, found: LocksSeen) -> LocksSeen:
    inspection, migration, label = found.inspection, found.migration, found.migration.label
    chosen = streams(inspection.clients, inspection.busy(), {refusal.said for refusal in inspection.unfit})
    subject.tell(Progress("statement", label, f"stalls: {len(chosen)} streams of readers and writers"))
    nobody = [None] * len(inspection.looks)
    plain = await under_traffic(subject, migration, chosen, nobody, subject.options.traffic_s)
    seconds = _AHEAD_TIMES_BUDGET * found.budget_ms / 1000
    in_the_way = tuple(meets(look, inspection.quoted, seconds) for look in inspection.looks)
    found = LocksSeen(found.version, migration, inspection, found.budget_ms, plain, None, in_the_way)
    if not any(in_the_way) or found.too_long():
        return found
    subject.tell(Progress("statement", label, f"stalls: the same behind a transaction of {seconds:.1f} s"))
    ahead = await under_traffic(subject, migration, chosen, in_the_way, min(subject.options.traffic_s, _AFTERWARDS_S))
    return LocksSeen(found.version, migration, inspection, found.budget_ms, plain, ahead, in_the_way)


@dataclass(frozen=True)
class LocksSeen:
    """Everything that was seen of a version, and what is to be said of it. `plain` and `ahead` are the runs under
    traffic, without and with the transactions of `in_the_way` (an entry a direction); None: there was no such run."""

    version: str
    migration: Migration
    inspection: Inspection
    budget_ms: float
    plain: UnderTraffic | None = None
    ahead: UnderTraffic | None = None
    in_the_way: tuple[Ahead | None, ...] = ()

    def outcome(self) -> Outcome:
        """Claims and what is shown beside them."""
        runs = [(title, one) for title, one in (("", self.plain), (" behind a transaction", self.ahead)) if one]
        statements = {look.direction: look.statements for look in self.inspection.looks}
        return Outcome(
            self._claims(),
            (locks_table(self.version, self.inspection, self.plain), *traffic_tables(self.version, runs)),
            figures(self.version, runs),
            tuple(
                timeline(
                    f"{self.version}: readers and writers{title}", one, self._stalls_of(one), statements, self.budget_ms
                )
                for title, one in runs
            ),
            (*self._notes(runs), *self._silent()),
        )

    def too_long(self) -> bool:
        """Whether the run without anybody ahead already broke the budget or failed."""
        assert self.plain is not None
        return any(passage.failure for passage in self.plain.passages) or any(
            stall.ms > self.budget_ms for stall in self._stalls_of(self.plain)
        )

    # -- claims -----------------------------------------------------------------------------------

    def _claims(self) -> tuple[Claim, ...]:
        found: list[Claim] = []
        for number, look in enumerate(self.inspection.looks):
            found.append(self._size(look))
            found += self._order(look)
            if look.failure:
                found.append(self._fails(look))
                continue
            if not self.inspection.clients:
                continue
            found.append(self._old(look))
            if self.plain is not None:
                found += [self._stall(look, number), self._behind(look, number)]
            else:
                why = "there was no run under traffic"
                if any(other.failure for other in self.inspection.looks):
                    why += ": the other direction does not run"
                found.append(self._claim(look.direction, "stall", _stall_title(look), Level.NOT_CHECKED, why))
        if len(self.inspection.looks) < 2:
            why = NO_ROLLBACK
            if self.migration.rollback is not None:
                why = "the file itself does not apply here, so there is nothing to roll back"
            found.append(self._claim("down", "", "Rolling back holds nobody up", Level.NOT_CHECKED, why))
        return tuple(found)

    def _claim(
        self,
        direction: Direction,
        part: str,
        title: str,
        level: Level,
        basis: str,
        *,
        violations: Sequence[str] = (),
        remedy: str = "",
    ) -> Claim:
        part = "-".join(filter(None, (direction, part)))
        return Claim.of(PROOF, self.version, part, title, level, basis, violations, remedy)

    def _size(self, look: ObservedRun) -> Claim:
        """From inside: what the statements do to tables while they stop somebody."""
        title = f"{_word(look)} does nothing that grows with a table while its readers or writers must wait"
        violations = [line for statement in look.statements for line in works_under_lock(statement)]
        outside = sum(statement.outside for statement in look.statements)
        basis = f"the locks of {counted(len(look.statements), 'statement')} on tables that are older than the file"
        if outside:
            basis += f"; {outside} refuse a transaction and were seen from outside"
        level = Level.SAMPLED if outside else Level.PROVED
        if not look.statements:
            level, basis = Level.NOT_CHECKED, "no statement ran to its end"
        return self._claim(look.direction, "size", title, level, basis, violations=violations, remedy=_SIZE_REMEDY)

    def _order(self, look: ObservedRun) -> list[Claim]:
        """Against the application's own transactions, where it gave them: a matter of order, not of time."""
        given = self.inspection.transactions
        if given is None:
            return []
        title = f"{_word(look)} takes no two tables in the opposite order of a transaction of the application"
        count = len(given.taken) + len(given.failed)
        basis = f"{len(given.taken)} of {counted(count, 'transaction')} in {TRAFFIC_FILE}, locks on tables, not on rows"
        if given.failed:
            basis += f"; the others do not run in the state before: {'; '.join(shortened(given.failed, 3))}"
        if not given.taken:
            return [self._claim(look.direction, "order", title, Level.NOT_CHECKED, basis)]
        violations = opposite(of_file(look.statements), given.taken)
        return [
            self._claim(
                look.direction, "order", title, Level.SAMPLED, basis, violations=violations, remedy=_ORDER_REMEDY
            )
        ]

    def _fails(self, look: ObservedRun) -> Claim:
        violations = (f"on a database with rows and without any traffic it fails: {look.failure}",)
        return self._claim(
            look.direction,
            "stall",
            _stall_title(look),
            Level.SAMPLED,
            "one run on seeded rows",
            violations=violations,
            remedy="Make it run, then prove again.",
        )

    def _stall(self, look: ObservedRun, number: int) -> Claim:
        assert self.plain is not None
        title = _stall_title(look)
        if number >= len(self.plain.passages):
            why = "the other direction did not get through under traffic"
            return self._claim(look.direction, "stall", title, Level.NOT_CHECKED, why)
        violations, basis = self._judged(self.plain, number)
        return self._claim(
            look.direction, "stall", title, Level.SAMPLED, basis, violations=violations, remedy=_STALL_REMEDY
        )

    def _behind(self, look: ObservedRun, number: int) -> Claim:
        title = f"{_stall_title(look)}, behind a long transaction either"
        meets_ = self.in_the_way[number]
        if meets_ is None:
            level = Level.SAMPLED if any(statement.outside for statement in look.statements) else Level.PROVED
            basis = f"none of {len(look.statements)} statements waits for the readers or writers of an older table"
            return self._claim(look.direction, "ahead", title, level, basis)
        if self.ahead is None or number >= len(self.ahead.passages):
            why = "it fails or takes too long already (see the claims beside this one)"
            return self._claim(look.direction, "ahead", title, Level.NOT_CHECKED, why)
        when = f", with a transaction open on {meets_.table} for {meets_.seconds:.1f} s"
        violations, basis = self._judged(self.ahead, number, when)
        return self._claim(
            look.direction,
            "ahead",
            title,
            Level.SAMPLED,
            f"{basis}{when} ({in_words(meets_.mode)})",
            violations=violations,
            remedy=_AHEAD_REMEDY,
        )

    def _old(self, look: ObservedRun) -> Claim:
        """Each statement of the old clients once, quietly: no matter of timing."""
        title = "The application of before keeps working after it"
        if look.direction == "down":
            title = "The application of before works after the rollback"
        clients, unfit = self.inspection.clients, self.inspection.unfit
        basis = (
            f"{sum(len(client.said) for client in clients) - len(unfit)} statements on {len(clients)} tables, once each"
        )
        silent = [client.table for client in clients if client.refused]
        if silent:
            basis += f"; {', '.join(shortened(silent, 5))} only read: no row was accepted"
        broken = newly_refused(unfit, look.refused)
        violations = tuple(dict.fromkeys(_broken(refusal, look.direction) for refusal in broken))
        return self._claim(
            look.direction, "old", title, Level.SAMPLED, basis, violations=violations, remedy=_OLD_REMEDY
        )

    def _judged(self, run_: UnderTraffic, number: int, when: str = "") -> tuple[list[str], str]:
        """Violations, and the basis in words."""
        passage, watched = run_.passages[number], run_.watched[number]
        found = self._stalls(run_, number)
        names = session_names(passage, run_.requests, run_.others)
        violations = [
            *harmed(passage, run_.requests, watched, names),
            *over_budget(found, self.budget_ms, when),
        ]
        reader, writer = (
            max((stall.ms for stall in found if stall.role == role), default=0.0) for role in ("reader", "writer")
        )
        seen = [one for one in run_.requests if one.ended >= passage.started and one.due <= passage.ended]
        basis = (
            f"{len(seen)} requests of {run_.streams} streams while it ran ({passage.ended - passage.started:.2f} s, "
            f"attempt {passage.attempts}), {watched.samples} looks at who waits; the longest waits for it: a reader "
            f"{reader:.0f} ms, a writer {writer:.0f} ms; budget {self.budget_ms:.0f} ms"
        )
        return violations, basis

    # -- beside them ------------------------------------------------------------------------------

    def _stalls(self, run_: UnderTraffic, number: int) -> tuple[Stall, ...]:
        statements = self.inspection.looks[number].statements
        return stalls(run_.passages[number], run_.watched[number], run_.requests, statements)

    def _stalls_of(self, run_: UnderTraffic) -> list[Stall]:
        return [stall for number in range(len(run_.passages)) for stall in self._stalls(run_, number)]

    def _notes(self, runs: Sequence[tuple[str, UnderTraffic]]) -> list[str]:
        notes = []
        for title, one in runs:
            for passage, watched in zip(one.passages, one.watched, strict=True):
                names = session_names(passage, one.requests, one.others)
                about = f"locks {self.version} {passage.direction}{title}"
                if watched.circles and not passage.failure:
                    notes.append(
                        f"{about}: {circle_in_words(watched.circles[0], names)}. The runner's lock timeout ended it "
                        "and the file got through later; a runner without one would have somebody killed."
                    )
                if len(watched.chain) > 2:
                    chain = " waits for ".join(names.get(pid, f"pid {pid}") for pid in watched.chain)
                    notes.append(f"{about}, the longest queue: {chain}.")
        return notes

    def _silent(self) -> list[str]:
        return [
            f"locks {self.version}: {client.table} takes no synthetic row, so it was only read: {client.refused}"
            for client in self.inspection.clients
            if client.refused
        ]


def _word(look: ObservedRun) -> str:
    return "Applying" if look.direction == "up" else "Rolling back"


def _stall_title(look: ObservedRun) -> str:
    return f"{_word(look)} holds no reader or writer up longer than the budget"


def _broken(refusal: RefusedStatement, direction: Direction) -> str:
    after = "the migration" if direction == "up" else "the rollback"
    said = refusal.said
    verb = "the commit of writes" if said.verb == "commit" else said.verb
    return f"after {after}, {verb} on {said.table} as before fails: {refusal.message} [{refusal.sqlstate}]"
