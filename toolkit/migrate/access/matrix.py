"""The security matrix: what each session reached of each object, as records and as tables to read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from toolkit.migrate.access.ownership import Ownership
from toolkit.migrate.access.personas import (
    EMPTY_SUB,
    MALFORMED,
    MINE,
    MINE_TEXT,
    NOBODY,
    PERSONAS,
    REST,
    SHARED,
    TEAM,
    THEIRS,
    Persona,
    PersonaSession,
    RowOwner,
)
from toolkit.migrate.access.privileges import AccessCatalog, Relation, Routine

# "refer": put somebody else's row into a reference of a row of one's own.
Verb = Literal["select", "insert", "update", "delete", "give away", "refer"]
VERBS: tuple[Verb, ...] = ("select", "insert", "update", "delete", "give away", "refer")
Kind = Literal["denied", "refused", "rows", "error"]

_WORDS = {
    MINE: "own",
    MINE_TEXT: "own",
    TEAM: "org",
    THEIRS: "others'",
    NOBODY: "nobody's",
    SHARED: "shared",
    REST: "rest",
}


@dataclass(frozen=True)
class Cell:
    """The result of one verb of one session on one object.

    `denied`: no privilege. `refused`: by row level security. `rows`: it ran; `reached`: RowOwner → (rows reached, rows
    there are). `error`: `code` is the SQLSTATE. `lines`: digests of the rows that a view showed; `beyond`: how many of
    them the session cannot read through the view's definition with its own rights. `refers`: the references that took
    a row which the session does not see.
    """

    kind: Kind
    reached: Mapping[RowOwner, tuple[int, int]] = field(default_factory=dict)
    code: str = ""
    said: str = ""
    lines: frozenset[str] = frozenset()
    beyond: int = 0
    refers: frozenset[str] = frozenset()

    @property
    def row_owners(self) -> frozenset[RowOwner]:
        """The owners of whom any row was reached."""
        return frozenset(row_owner for row_owner, (rows, _) in self.reached.items() if rows)

    @property
    def any(self) -> bool:
        """Whether anything was reached."""
        return bool(self.row_owners or self.lines)

    def __str__(self) -> str:
        if self.kind == "error":
            return f"error {self.code}: {self.said}"
        if self.kind != "rows":
            return "no privilege" if self.kind == "denied" else "refused by row level security"
        if self.refers:
            return ", ".join(sorted(self.refers))
        if self.lines:
            return f"{len(self.lines)} rows"
        found = [
            f"{rows} of {total} {_WORDS.get(row_owner, row_owner)}"
            for row_owner, (rows, total) in self.reached.items()
            if rows
        ]
        return ", ".join(found) or f"0 of {sum(total for _, total in self.reached.values())} rows"


Key = tuple[str, PersonaSession, Verb]


@dataclass(frozen=True)
class Call:
    """The result of calling a function as one session. `leaks`: what it showed or changed of other people's rows."""

    session: PersonaSession
    code: str = ""
    said: str = ""
    leaks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matrix:
    """One state of a schema as all sessions see it. `calls`: function → its calls; `empty`: what could not be staged;
    `sessions`: the sessions that tried."""

    catalog: AccessCatalog
    ownership: Ownership
    cells: Mapping[Key, Cell]
    calls: Mapping[str, tuple[Call, ...]]
    empty: Mapping[tuple[str, RowOwner], str]
    sessions: tuple[PersonaSession, ...]

    def of(self, name: str, session: PersonaSession, verb: Verb) -> Cell | None:
        """The cell, or None when it was not tried."""
        return self.cells.get((name, session, verb))


def same(before: Cell, after: Cell) -> bool:
    """Whether two cells mean the same. The two states have different rows, so only the owners are compared, and only
    those who have rows in both."""
    if {before.kind, after.kind} <= {"rows", "refused"} and not before.any and not after.any:
        return True
    if before.kind != after.kind:
        return False
    if before.kind == "error":
        return before.code == after.code
    if before.kind != "rows":
        return True
    both = {w for w, (_, total) in before.reached.items() if total} & {w for w, (_, t) in after.reached.items() if t}
    return (
        before.row_owners & both == after.row_owners & both
        and bool(before.lines) == bool(after.lines)
        and bool(before.beyond) == bool(after.beyond)
        and after.refers <= before.refers
    )


_ORDER = (MINE, MINE_TEXT, TEAM, THEIRS, NOBODY, SHARED, REST)
_LETTERS: Mapping[Verb, str] = {"select": "S", "insert": "I", "update": "U", "delete": "D"}
LEGEND = (
    "S select, I insert, U update, D delete: own, org (the organisation's), others', shared (nobody's table), all; "
    "– nothing (row level security), x no privilege, ! an error"
)


def compact(matrix: Matrix, names: Iterable[str]) -> list[tuple[str, ...]]:
    """A row for each object: its name, and the most that each persona reaches, whatever the claims."""
    rows = []
    for name in names:
        relation = matrix.catalog.relations[name]
        verbs: tuple[Verb, ...] = VERBS[:4] if relation.is_table else ("select",)
        rows.append((name, *(" ".join(_brief(matrix, name, persona, verb) for verb in verbs) for persona in PERSONAS)))
    return rows


def _brief(matrix: Matrix, name: str, persona: Persona, verb: Verb) -> str:
    met = [
        (session, cell)
        for session in matrix.sessions
        if session.persona == persona and (cell := matrix.of(name, session, verb)) is not None
    ]
    cells = [cell for _, cell in met]
    # Malformed claims are refused with an error, which is no fault of the table.
    failing = any(cell.kind == "error" and session.shape not in {MALFORMED, EMPTY_SUB} for session, cell in met)
    if not cells:
        return f"{_LETTERS[verb]}:?"
    row_owners = frozenset[RowOwner]().union(*(cell.row_owners for cell in cells))
    there = frozenset(row_owner for cell in cells for row_owner, (_, total) in cell.reached.items() if total)
    error = "!" if failing else ""
    if any(cell.lines for cell in cells):
        what = f"{max(len(cell.lines) for cell in cells)} rows"
    elif row_owners:
        words = dict.fromkeys(_WORDS[row_owner] for row_owner in _ORDER if row_owner in row_owners)
        what = "all" if row_owners == there and len(words) > 1 else "+".join(words)
    else:
        what = "x" if all(cell.kind == "denied" for cell in cells) else "–"
    return f"{_LETTERS[verb]}:{what}{error}"


def compact_calls(matrix: Matrix, routines: Iterable[Routine]) -> list[tuple[str, ...]]:
    """A row for each function: who may call it, whether it runs with its owner's rights, and what its calls showed."""
    rows = []
    for routine in routines:
        calls = matrix.calls.get(routine.name, ())
        leaks = sum(bool(call.leaks) for call in calls)
        told = f"{len(calls)} calls, {leaks} reached other people's rows" if calls else "not called"
        rows.append(
            (
                routine.name,
                "owner's" if routine.definer else "caller's",
                "yes" if routine.pinned else "no",
                *("x" if role in routine.executors else "–" for role in ("anon", "authenticated", "service_role")),
                told if routine.callable else "fired by triggers",
            )
        )
    return rows


def effective(matrix: Matrix, relation: Relation, role: str) -> frozenset[str]:
    """The columns a role can really write: privileges, and an update of some session that reached a row."""
    goes = any(
        cell.any
        for session in matrix.sessions
        if session.role == role and (cell := matrix.of(relation.name, session, "update")) is not None
    )
    return relation.writable(role) if goes else frozenset()
