"""The security proof: who reaches what after a version, compared with the state before it and with expectations."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from toolkit.migrate.access import against_expectations as held
from toolkit.migrate.access.expectations import NOTHING, Expectations, load
from toolkit.migrate.access.matrix import LEGEND, Matrix, compact, compact_calls
from toolkit.migrate.access.ownership import Ownership, held_in, merged, ownership_of
from toolkit.migrate.access.personas import (
    FEWER,
    PEOPLES,
    PERSONAS,
    REST,
    ROLES,
    SESSIONS,
    SHARED,
    PersonaSession,
    RowOwner,
)
from toolkit.migrate.access.privileges import AccessCatalog, read_access_catalog
from toolkit.migrate.access.rulings import Rulings, judge
from toolkit.migrate.access.staging import stage
from toolkit.migrate.access.try_cells import try_cells
from toolkit.migrate.prove.security.definers import MOST_CALLS, call_definers
from toolkit.migrate.prove.subject.claims import Claim, Level, Outcome, Proof, Subject
from toolkit.migrate.prove.subject.states import CannotBuild, States
from toolkit.migrate.run.run_model import Progress
from toolkit.postgres.connection import connected
from toolkit.report.record import Measurement, Table
from toolkit.resources import doc
from toolkit.sql import prove_security as sql

_MANY = 60  # tables and views; beyond that not every shape of claims is tried
_MOST_ROWS_SHOWN = 80
_MOST_LINES = 100
_TELL_EVERY_S = 2.0
_PURPOSE = "toolkit migrate prove: security"

_PARTS = {
    "rows": (
        "Nobody reads or writes other people's rows, and everybody reaches what they reached before",
        "Name the roles in the policy (TO authenticated), compare the owner column in USING and in WITH CHECK, and "
        "revoke what no client needs. What is meant to be so belongs into expectations.yaml "
        f"({doc('reference/expectations.md')}).",
    ),
    "claims": (
        "No claims make a policy fail",
        "Read the subject as nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub' and compare it "
        "as text; look memberships up in a SECURITY DEFINER function, not in a policy of the table itself.",
    ),
    "columns": (
        "Nobody may write columns they could not write before, no one lost any, and clients read none of operators",
        "Grant UPDATE on the columns that clients may write and on no others, and SELECT on those that they need "
        "(revoke select on the table first). What is meant to be so belongs into expectations.yaml as `readable`.",
    ),
    "views": (
        "No view shows rows that its tables would hide",
        "Give the view security_invoker = true; revoke materialized views from anon and authenticated.",
    ),
    "functions": (
        "No function with its owner's rights gives clients what they could not have themselves",
        "Check the caller inside, set search_path = '', and revoke execute from public, anon and authenticated.",
    ),
    "grants": (
        "No guard was taken away: row level security, restrictive policies, privileges, default privileges",
        "Enable row level security, and revoke what the policies do not limit.",
    ),
}


@dataclass(frozen=True)
class _Seen:
    """The matrix of one state, and how many calls were too many."""

    template: str
    matrix: Matrix
    left_out: int

    def serves(self, template: str, ownership: Ownership, sessions: tuple[PersonaSession, ...]) -> bool:
        """Whether this is the matrix of that state, looked at in that way."""
        return (self.template, self.matrix.ownership, self.matrix.sessions) == (template, ownership, sessions)


# The state after one version is the state before the next.
_LAST: WeakKeyDictionary[States, _Seen] = WeakKeyDictionary()


async def run(subject: Subject, version: str) -> Outcome:
    """The claims `security-<version>-<part>`; raises CannotBuild, and UsageError for a file of expectations that
    cannot be read."""
    expectations = load(subject.options.expectations) if subject.options.expectations else NOTHING
    states = subject.states
    label = subject.migration(version).label
    templates = await states.before(version), await states.after(version)
    async with states.clone(templates[0]) as old_dsn, states.clone(templates[1]) as new_dsn:
        old, new = await _catalog(old_dsn), await _catalog(new_dsn)
        ownership = merged(ownership_of(old, expectations.hints), ownership_of(new, expectations.hints))
        sessions = SESSIONS if max(len(old.judged()), len(new.judged())) <= _MANY else FEWER
        found: list[_Seen] = []
        told_at = time.monotonic()
        for template, dsn, catalog in zip(templates, (old_dsn, new_dsn), (old, new), strict=True):

            def tell(message: str, template: str = template) -> None:
                nonlocal told_at
                # A session or call takes milliseconds; a line each would drown the others.
                if time.monotonic() - told_at < _TELL_EVERY_S:
                    return
                told_at = time.monotonic()
                when = "before" if template == templates[0] else "after"
                subject.tell(Progress("statement", label, f"security {when} {version}: {message}"))

            remembered = _LAST.get(states)
            held_here = held_in(ownership, catalog)
            if remembered is None or not remembered.serves(template, held_here, sessions):
                admin = states.scratch.admin_of(dsn)
                remembered = await _look(dsn, template, catalog, held_here, sessions, admin=admin, tell=tell)
            _LAST[states] = remembered
            found.append(remembered)
    before, after = found[0].matrix, found[1].matrix
    rulings = judge(before, after, expectations, expectations.mended_by(version))
    _excuse_mended(rulings, expectations.mended_after(version, states.versions))
    claims = _claims(version, before, found[1], rulings)
    if expectations is not NOTHING:
        claims.append(await _held(subject, version, after, expectations))
    return Outcome(
        tuple(claims),
        _tables(version, before, after),
        _measured(version, after),
        notes=tuple(_notes(after, rulings)),
    )


def _excuse_mended(rulings: Rulings, later: Mapping[str, str]) -> None:
    """A version that is applied is not edited: what a later one is said to mend is looked at there."""
    for part, lines in rulings.violations.items():
        kept = []
        for line in lines:
            name = next((name for name in later if line.startswith(f"{name}: ")), None)
            if name is None:
                kept.append(line)
            else:
                rulings.notes.append(f"mended by version {later[name]}: {line}")
        rulings.violations[part] = kept


async def _catalog(dsn: str) -> AccessCatalog:
    async with connected(dsn, _PURPOSE) as conn:
        return await read_access_catalog(conn)


async def _look(
    dsn: str,
    template: str,
    catalog: AccessCatalog,
    ownership: Ownership,
    sessions: tuple[PersonaSession, ...],
    *,
    admin: str,
    tell: Callable[[str], None],
) -> _Seen:
    async with connected(admin, _PURPOSE) as conn:  # foreign keys of the platform's tables go too
        tell("staging rows")
        staging = await stage(conn, catalog, ownership)
    # Another connection: in the one that staged, the claims were set once.
    async with connected(dsn, _PURPOSE) as conn:
        await conn.execute(sql.PLAIN_MESSAGES, timeout=10)
        cells = await try_cells(conn, staging, sessions, tell)
    async with connected(dsn, _PURPOSE) as conn:
        calls, left_out = await call_definers(conn, staging, cells, tell)
    return _Seen(template, Matrix(catalog, ownership, cells, calls, staging.empty, sessions), left_out)


def _claims(version: str, before: Matrix, seen: _Seen, rulings: Rulings) -> list[Claim]:
    """A claim a part that there is anything to say of."""
    after, left_out, sessions = seen.matrix, seen.left_out, seen.matrix.sessions
    judged = after.catalog.judged()
    tables = [one for one in judged if one.is_table]
    kept = sum(one.name in before.catalog.relations for one in tables)
    views = [one for one in judged if not one.is_table]
    definers = [one for one in after.catalog.routines.values() if one.definer and one.callable]
    absent = [role for role in ROLES if role not in after.catalog.roles]
    limits = [f"there is no role {', '.join(absent)}"] if absent else []
    if sessions is not SESSIONS:
        limits.append(f"{len(sessions)} of {len(SESSIONS)} kinds of claims, since there are {len(judged)} objects")
    staged: dict[str, set[RowOwner]] = {}
    for (name, _, _), cell in after.cells.items():
        staged.setdefault(name, set()).update(cell.reached)
    # In a table whose rows belong to people, only theirs tell anything.
    bare = [
        one.name
        for one in tables
        if not one.partition
        and any(one.privileges.values())
        and not staged.get(one.name, set()) & ({*PEOPLES} if one.name in after.ownership.owned else {SHARED, REST})
    ]
    unowned = [f"no row could be staged in {', '.join(bare)}"] if bare else []
    if not after.ownership.owned and tables:
        unowned.append("nothing says whose rows are whose: name the owner columns in expectations.yaml")
    calls = sum(map(len, after.calls.values()))
    told = f"{len(after.cells)} cells: {len(judged)} tables and views, {len(sessions)} kinds of sessions"
    basis: dict[str, tuple[str, list[str], bool]] = {
        "rows": (f"{told}; each verb tried and taken back", limits + unowned, bool(tables)),
        "claims": (told, limits + unowned, bool(judged)),
        "columns": (f"the columns of {kept} tables that were there before", limits, bool(kept)),
        "views": (
            f"{len(views)} views, compared with their definition as the session itself",
            limits + unowned,
            bool(views),
        ),
        "functions": (
            f"{len(after.catalog.routines)} functions; {calls} calls of {len(definers)} that run with their owner's "
            "rights, with a few of the possible arguments",
            [*limits, *([f"{left_out} calls beyond {MOST_CALLS} were left out"] if left_out else [])],
            bool(after.catalog.routines),
        ),
        "grants": (
            "default privileges" + (f", and the privileges and guards of {len(tables)} tables" if tables else ""),
            limits,
            True,
        ),
    }
    claims = []
    for part, (title, remedy) in _PARTS.items():
        what, lacking, looked = basis[part]
        violations = rulings.violations.get(part, [])
        if not looked and not violations:
            continue  # there is nothing of that kind, so nothing is claimed of it
        level = Level.SAMPLED if lacking or (part == "functions" and calls) else Level.PROVED
        if len(absent) == len(ROLES):
            level, what, lacking = Level.NOT_CHECKED, "the server has none of the roles of a project", []
        basis_ = "; ".join([what, *lacking])
        claims.append(Claim.of(PROOF, version, part, title, level, basis_, violations, remedy, most=_MOST_LINES))
    return claims


async def _held(subject: Subject, version: str, after: Matrix, expectations: Expectations) -> Claim:
    """Expectations describe the schema as it ends; on the way there they excuse, and accuse nobody."""
    final = subject.states.versions[-1]
    violations: list[str] = []
    compared = 0
    known = {one.name for one in after.catalog.relations.values()} | set(after.catalog.routines)
    if version != final:
        try:
            async with subject.states.clone(await subject.states.after(final)) as dsn:
                ended = await _catalog(dsn)
            known |= {*ended.relations, *ended.routines}
        except CannotBuild:
            known = set()
    if known:
        violations += expectations.unknown(known)
    if version == final:
        found, compared = held.broken(after, expectations)
        violations += found
        level, basis = Level.PROVED, f"{compared} expected cells of {expectations.file}"
        if not compared:
            level, basis = Level.NOT_CHECKED, f"{expectations.file} speaks of no cell that exists"
    else:
        level, basis = Level.PROVED, f"the names in {expectations.file}; its cells are those of version {final}"
    return Claim.of(
        PROOF,
        version,
        "expectations",
        "Everybody may do what is expected of them, and no more",
        level,
        basis,
        violations,
        "Correct the migration, or the expectation that is wrong.",
        most=_MOST_LINES,
    )


def _tables(version: str, before: Matrix, after: Matrix) -> tuple[Table, ...]:
    names = [one.name for one in after.catalog.judged()]
    changed = [name for name in names if _rows_of(before, name) != _rows_of(after, name)]
    shown = names if len(names) <= _MOST_ROWS_SHOWN else changed[:_MOST_ROWS_SHOWN]
    part = "" if len(shown) == len(names) else f" ({len(shown)} of {len(names)}: what is new or changed)"
    found = []
    if shown:
        found.append(
            Table(
                f"Who reaches what after {version}{part}. {LEGEND}",
                ("object", *PERSONAS),
                tuple(compact(after, shown)),
                PROOF.name,
            )
        )
    routines = [
        one for one in after.catalog.routines.values() if one.definer or one.name not in before.catalog.routines
    ][:_MOST_ROWS_SHOWN]
    if routines:
        found.append(
            Table(
                f"Functions after {version}: new ones, and those with their owner's rights",
                ("function", "rights", "search_path pinned", *ROLES, "called"),
                tuple(compact_calls(after, routines)),
                PROOF.name,
            )
        )
    return tuple(found)


def _rows_of(matrix: Matrix, name: str) -> list[tuple[str, ...]]:
    return compact(matrix, [name]) if name in matrix.catalog.relations else []


def _measured(version: str, after: Matrix) -> tuple[Measurement, ...]:
    return (
        Measurement(f"security cells {version}", len(after.cells), "", PROOF.name),
        Measurement(f"security calls {version}", sum(map(len, after.calls.values())), "", PROOF.name),
    )


def _notes(after: Matrix, rulings: Rulings) -> list[str]:
    notes = list(rulings.notes)
    refused: dict[str, str] = {}
    for (table, row_owner), why in after.empty.items():
        if row_owner in {*PEOPLES[2:], SHARED}:
            refused.setdefault(table, f"{table} takes no row of {row_owner} ({why})")
    return notes + list(refused.values())


PROOF = Proof("security", "Security: who reaches what, with every kind of claims", run)
