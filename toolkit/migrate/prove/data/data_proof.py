"""The data proof: rows survive that existed before a migration, or were written between it and its rollback.

A dump of the schema cannot tell: a column that is dropped and added again looks the same. So every value is compared
before, after, after the rollback and after applying again; then rows are inserted, updated and deleted, and the version
is rolled back once more. What headers declare (`-- changes:` in a migration, `-- destroys:` in a rollback) is a note
and no violation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from toolkit.migrate.folder.files import Migration
from toolkit.migrate.folder.headers import Destroyed
from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.prove.data.added import Target, is_log, is_meant, meant
from toolkit.migrate.prove.data.counters import counters_behind, left_without_default, with_their_roots
from toolkit.migrate.prove.data.declared import undeclared
from toolkit.migrate.prove.data.written import Written, write_rows
from toolkit.migrate.prove.subject.claims import NO_ROLLBACK, Claim, Level, Outcome, Proof, Subject
from toolkit.migrate.row_comparison.pictures import Picture, compare, take_picture
from toolkit.migrate.row_comparison.table_rows import RowChanges
from toolkit.migrate.rows.inserting import RowRefused
from toolkit.migrate.rows.one_row import insert_row
from toolkit.migrate.rows.seeding import Seeded
from toolkit.migrate.rows.shapes import read_shapes
from toolkit.migrate.run.api import migrate_down, migrate_up
from toolkit.migrate.run.run_model import Progress, RunResult
from toolkit.postgres.connection import connected
from toolkit.report.record import counted, shortened

_PURPOSE = "toolkit migrate prove: data"
_TRIAL = 9001  # serial of the row that tests whether a table takes one

_UP_REMEDY = (
    "Leave what is there alone, or declare it in the migration's header: `-- changes: columns TABLE (A, B)` or "
    "`-- changes: rows TABLE`."
)
_ADDED_REMEDY = (
    "Insert rows by statements of the file, delete them in the rollback or insert `on conflict do nothing`; what comes "
    "about otherwise is declared in the migration's header: `-- changes: rows TABLE`."
)
_DOWN_REMEDY = (
    "Have the rollback bring the values back, or declare the loss in its header: `-- destroys: columns TABLE (A)`, "
    "`-- destroys: rows TABLE`."
)
_TITLES = {
    "up": "Rows that exist keep their values when it is applied",
    "down": "After the rollback every row has the values it had before",
    "again": "Applied again, it leaves rows as the rollback left them",
    "between": "Rows written between the migration and its rollback survive it",
    "added": "Rows that it adds to tables that were there are those that its statements insert, once",
}


_WHEN = {
    "up": "once applied",
    "down": "after the rollback",
    "again": "applied again",
    "between": "after the rollback",
}


@dataclass
class _Seen:
    """Violations by part of the claim's id, and notes."""

    violations: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)  # tables with rows that nothing inserts
    left: set[str] = field(default_factory=set)  # tables with inserted rows that the rollback leaves

    def add(self, part: str, lines: Iterable[str]) -> None:
        self.violations.setdefault(part, []).extend(lines)

    def judge(
        self, part: str, changes: Sequence[RowChanges], declared: Sequence[Destroyed], inserted: Iterable[Target] = ()
    ) -> None:
        """Undeclared changes become violations, declared ones notes. Added rows are a claim of their own: `inserted`
        are the tables into which rows were meant to come."""
        found = undeclared(changes, declared)
        self.add(part, (line for table in found for line in replace(table, added=()).lines()))
        for table in found:
            if table.added and table.table not in self.made:
                self._judge_added(part, RowChanges(table.table, added=table.added), frozenset(inserted))
        admitted = {line for table in changes for line in table.lines()} - set(self.violations.get(part, ()))
        admitted -= {line for table in found for line in RowChanges(table.table, added=table.added).lines()}
        self.notes += [f"{part}: declared: {line}" for line in sorted(admitted)]

    def _judge_added(self, part: str, rows: RowChanges, inserted: frozenset[Target]) -> None:
        (line,) = rows.lines()
        if not is_meant(rows.table, inserted):
            self.made.add(rows.table)
            self.add("added", [f"{_WHEN[part]}, {line}, and no statement inserts them as they are"])
        elif part == "again" and rows.table in self.left and not is_log(rows.table, inserted):
            self.add("added", [f"{line}: the rollback leaves what it inserts, and applied again it inserts it twice"])
        else:
            self.notes.append(f"{part}: inserted by its own statements: {line}")
        if part == "down":
            self.left.add(rows.table)


@dataclass(frozen=True)
class _Start:
    """The state before: its template, its rows, and the sequences that are behind already."""

    template: str
    rows: Picture
    behind: Mapping[str, str]


async def run(subject: Subject, version: str) -> Outcome:
    """Prove one version, on copies of the state before it."""
    migration = subject.migration(version)
    template = await subject.states.seeded(version)
    seeding = subject.states.seeding(version)
    seen = _Seen()
    written = Written()
    async with subject.states.clone(template) as dsn:
        before = await _look(dsn)
        start = _Start(template, before, await _behind(dsn))
        await _there_and_back(subject, migration, dsn, start, seen)
        if migration.rollback is not None and not seen.stopped:
            written = await _with_rows_between(subject, migration, dsn, start, seen)
    if seen.stopped.keys() == {"again"}:
        async with subject.states.clone(template) as dsn:
            await _up(subject, migration, dsn)
            written = await _with_rows_between(subject, migration, dsn, start, seen)
    return Outcome(_claims(migration, before, seeding, written, seen), notes=tuple(seen.notes))


async def _look(dsn: str, reference: Picture | None = None) -> Picture:
    async with connected(dsn, _PURPOSE) as conn:
        return await take_picture(conn, await read_shapes(conn), reference)


async def _there_and_back(subject: Subject, migration: Migration, dsn: str, start: _Start, seen: _Seen) -> None:
    """A → up → B → down → A′ → up → B′."""
    tell = _teller(subject, migration)
    before, behind = start.rows, start.behind
    tell("applying")
    result = await _up(subject, migration, dsn)
    if not result.ok:
        seen.add("up", [f"it does not apply to a database with rows: {_failure(result)}"])
        seen.stopped |= dict.fromkeys(("up", "down", "again", "between"), "it does not apply to a database with rows")
        return
    changes = migration.up.changes
    after = await _look(dsn, before)
    inserted = await _meant(dsn, migration.up.statements)
    seen.judge("up", compare(before, after, only_common=True), changes, inserted)
    seen.add("up", await _counted(dsn, behind))
    async with connected(dsn, _PURPOSE) as conn:
        declared = {(entry.table, name) for entry in changes for name in entry.columns}
        seen.add("up", await left_without_default(conn, before.shapes, declared))
    if migration.rollback is None:
        return
    tell("rolling back")
    result = await _down(subject, dsn)
    if not result.ok:
        seen.add("down", [f"the rollback fails on a database with rows: {_failure(result)}"])
        seen.stopped |= dict.fromkeys(("down", "again", "between"), "the rollback fails on a database with rows")
        return
    back = await _look(dsn, before)
    put_back = await _meant(dsn, migration.rollback.statements)
    seen.judge("down", compare(before, back), (*changes, *migration.rollback.destroys), inserted | put_back)
    seen.add("down", await _counted(dsn, behind))
    tell("applying again")
    result = await _up(subject, migration, dsn)
    if not result.ok:
        seen.add("again", [f"it does not apply again: {_failure(result)}"])
        seen.stopped["again"] = "it does not apply again"
        return
    again = await _look(dsn, back)
    seen.judge("again", compare(back, again, only_common=True), changes, inserted)
    seen.add("again", await _counted(dsn, behind))


async def _with_rows_between(subject: Subject, migration: Migration, dsn: str, start: _Start, seen: _Seen) -> Written:
    """Apply, insert, update and delete rows in every table, roll back: the rows must be as they were written."""
    assert migration.rollback is not None
    tell = _teller(subject, migration)
    tell("writing rows before the rollback")
    async with connected(dsn, _PURPOSE) as conn:
        written = await write_rows(conn, await read_shapes(conn), start.rows.shapes)
        wrote = await take_picture(conn, await read_shapes(conn), start.rows)
        declared = await with_their_roots(conn, migration.rollback.destroys)
    tell("rolling back with them")
    result = await _down(subject, dsn)
    if not result.ok:
        seen.add("between", [f"the rollback fails once rows were written: {_failure(result)}"])
        return written
    put_back = await _meant(dsn, migration.rollback.statements)
    seen.judge("between", compare(wrote, await _look(dsn, wrote)), declared, put_back)
    seen.add("between", await _counted(dsn, start.behind))
    if refused := await _refusals(dsn, start.rows.tables):
        async with subject.states.clone(start.template) as untouched:
            always = await _refusals(untouched, refused)
        lines = (
            f"after the rollback {table} takes no row: {why}" for table, why in refused.items() if table not in always
        )
        seen.add("between", lines)
    return written


async def _meant(dsn: str, statements: Sequence[Statement]) -> frozenset[Target]:
    async with connected(dsn, _PURPOSE) as conn:
        return await meant(conn, statements)


async def _up(subject: Subject, migration: Migration, dsn: str) -> RunResult:
    return await migrate_up(dsn, subject.folder, to=migration.version, include_all=True, options=subject.states.options)


async def _down(subject: Subject, dsn: str) -> RunResult:
    return await migrate_down(dsn, subject.folder, last=1, options=subject.states.options)


def _failure(result: RunResult) -> str:
    return str(next(step.failure for step in result.steps if step.failure))


async def _behind(dsn: str) -> dict[str, str]:
    async with connected(dsn, _PURPOSE) as conn:
        return await counters_behind(conn)


async def _counted(dsn: str, before: Mapping[str, str]) -> list[str]:
    """Sequences that will give out a number in use, and would not have before."""
    return [line for column, line in (await _behind(dsn)).items() if column not in before]


async def _refusals(dsn: str, tables: Iterable[str]) -> dict[str, str]:
    """Table → why it takes no row; every insert is rolled back."""
    found = {}
    async with connected(dsn, _PURPOSE) as conn:
        shapes = await read_shapes(conn)
        for table in tables:
            if table not in shapes:
                continue
            transaction = conn.transaction()
            await transaction.start()
            try:
                await insert_row(conn, shapes, table, _TRIAL)
            except RowRefused as refused:
                found[table] = refused.why
            finally:
                await transaction.rollback()
    return found


def _teller(subject: Subject, migration: Migration) -> Callable[[str], None]:
    def tell(what: str) -> None:
        subject.tell(Progress("statement", migration.label, f"data: {what}"))

    return tell


# -- claims -----------------------------------------------------------------------------------------------------------


def _claims(migration: Migration, before: Picture, seeding: Seeded, written: Written, seen: _Seen) -> tuple[Claim, ...]:
    claims = []
    for part, title in _TITLES.items():
        level, basis = _basis(part, migration, seen) or (
            written.basis() if part == "between" else _extent(before, seeding)
        )
        lines = seen.violations.get(part, [])
        remedy = {"up": _UP_REMEDY, "again": _UP_REMEDY, "added": _ADDED_REMEDY}.get(part, _DOWN_REMEDY)
        claims.append(Claim.of(PROOF, migration.version, part, title, level, basis, lines, remedy))
    return tuple(claims)


def _basis(part: str, migration: Migration, seen: _Seen) -> tuple[Level, str] | None:
    """Why a part was not compared; None when it was."""
    if part not in {"up", "added"} and migration.rollback is None:
        return Level.NOT_CHECKED, NO_ROLLBACK
    stopped = seen.stopped.get(part) or seen.stopped.get("up")
    if stopped is not None and part not in seen.violations:
        return Level.NOT_CHECKED, stopped
    return None


def _extent(before: Picture, seeding: Seeded) -> tuple[Level, str]:
    tables = {name: table for name, table in before.tables.items() if table.rows}
    if not before.tables:
        return Level.PROVED, "no table existed before it, so no row did"
    if not tables:
        return Level.NOT_CHECKED, f"no table holds a row: {_reasons(seeding)}"
    basis = f"every value of {counted(before.rows, 'row')} in {counted(len(tables), 'table')}"
    empty = sorted(before.tables.keys() - tables.keys())
    partly = [f"{table.table} (one row in {table.one_in})" for table in tables.values() if table.one_in > 1]
    if partly:
        basis += f"; of large tables a part: {', '.join(partly)}"
    if empty:
        basis += f"; no row in {counted(len(empty), 'table')}: {', '.join(shortened(empty, 5))}"
        basis += f" ({_reasons(seeding)})" if seeding.refused else ""
    return (Level.SAMPLED if empty or partly else Level.PROVED), basis


def _reasons(seeding: Seeded) -> str:
    return "; ".join(shortened((f"{table}: {why}" for table, why in seeding.refused.items()), 3)) or "none was seeded"


PROOF = Proof("data", "Rows survive the migration and its rollback", run)
